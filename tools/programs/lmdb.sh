#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# LMDB, whose processes share a map and a robust lock.
. "$(dirname "$0")/lib.sh"
mkdir map
measured "$here/built/lmdb" map
