#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tells rust-analyzer what kbuild does not: where the module's bindings are,
and that a lab build is what one wants to see all of."""

import json
import sys


def main(path, bindings):
    with open(path, encoding="utf-8") as file:
        project = json.load(file)
    ours = [crate for crate in project["crates"] if crate["root_module"].endswith("rust/rfutex_main.rs")]
    if not ours:
        sys.exit(f"{path} does not have the module")
    for crate in ours:
        crate["env"]["RFUTEX_BINDINGS"] = bindings
        crate["cfg"] += ["RFUTEX_LAB", "RFUTEX_KUNIT"]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(project, file, indent=4)


main(*sys.argv[1:])
