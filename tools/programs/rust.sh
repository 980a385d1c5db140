#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# rustc and cargo build a program with the libraries that it uses; then it runs.
. "$(dirname "$0")/lib.sh"

cp -r "$here/src/rust" source
# Not by way of rustup, which would be another program for each of the compiler's.
PATH=$(rustc --print sysroot)/bin:$PATH
build() {
	CARGO_TARGET_DIR=$work/target CARGO_NET_OFFLINE=true \
		cargo build -q --locked --jobs 2 --manifest-path source/Cargo.toml
}
measured build
echo "result: $(target/debug/built), $(find target/debug/deps -name '*.rmeta' | wc -l) libraries"
