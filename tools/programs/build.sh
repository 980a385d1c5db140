# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds, below build/programs, what `make check-programs` runs that is not a package.
# Sourced, after setup, by vm.sh.

# build_programs_to_run: prints the directory.
build_programs_to_run() {
	local to=$TOP/build/programs source=$TOP/tools/programs/src
	mkdir -p "$to"
	locked with_spinner programs "$TOP/build/programs-to-run.log" bash -euc "
		cc -O2 -Wall -Wextra -o '$to/lmdb' '$source/lmdb/lmdb.c' -llmdb -pthread
		javac -Xlint:all -d '$to' '$source/java/Threads.java'
		cargo fetch -q --locked --manifest-path '$source/rust/Cargo.toml'"
	printf '%s\n' "$to"
}
