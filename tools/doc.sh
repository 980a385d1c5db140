#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the documentation of the module and of the programs, and fails on any
# warning. It needs the tree of a kernel with Rust: the one the user names with
# KDIR=, else the debug kernel.

. "$(dirname "$0")/kernel/setup.sh"

target=x86_64-unknown-linux-gnu
setup debug
out=$TOP/build/doc
mkdir -p "$MODULES"

# Through kbuild, which alone knows the flags; RFUTEX_DOC has Kbuild do it. It builds the
# module as well: the lab build, which the tests need.
rm -rf "$out" "$MODULES/lab/rust/doc.stamp"
locked with_spinner doc "$MODULES/doc.log" make -C "$TOP" --no-print-directory modules \
	KDIR="$KDIR" MO="$MODULES/lab" RFUTEX_LAB=y RFUTEX_DOC="$out/module"
with_spinner doc "$MODULES/cargo-doc.log" env --chdir="$TOP/tools" RUSTDOCFLAGS=-Dwarnings \
	cargo doc --workspace --no-deps --document-private-items --locked --target "$target"
mkdir -p "$out"
cp -r "$TOP/build/target/$target/doc" "$out/programs"
say doc "the module: $out/module/rfutex/index.html"
say doc "the user crate: $out/programs/rfutex/index.html"
