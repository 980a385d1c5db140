# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds the preloaded library and what tests it, below build/preload/TARGET, where
# TARGET is what cargo calls the host. Sourced, after setup.

# The library is dynamic, and so are its tests: not as cargo's configuration has it
# for what else runs in the VM. It is initialised before all other libraries.
preload_cargo() {
	local target=$1 command=$2
	shift 2
	env --chdir="$TOP/tools" RUSTFLAGS=-Ctarget-feature=-crt-static cargo "$command" \
		--locked --target "$target" --target-dir "$TOP/build/preload" "$@"
}

# preload_library TARGET PACKAGE
preload_library() {
	locked with_spinner preload "$TOP/build/$2.log" preload_cargo "$1" rustc -p "rfutex-$2" --lib \
		--crate-type cdylib --profile preload -- -Clink-arg=-Wl,-z,initfirst
}

# build_preload TARGET: the library, and programs in C and C++ for tests of what the
# C library does.
build_preload() {
	local to=$TOP/build/preload/$1/programs
	preload_library "$1" preload
	mkdir -p "$to"
	locked with_spinner preload "$TOP/build/preload-programs.log" \
		make -s -C "$TOP/tools/preload/check/programs" TO="$to"
}

# build_preload_tests TARGET: the library's own tests, and another library for them.
build_preload_tests() {
	preload_library "$1" preload-tracer
	locked with_spinner preload "$TOP/build/preload-check.log" \
		preload_cargo "$1" build -p rfutex-preload-check --release
}
