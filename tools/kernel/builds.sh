#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# builds.sh [PART]: compiles the module and the lab module for each of the kernels in
# config/builds (those with PART in their name), without a warning. These kernels have
# no vmlinux, so modpost cannot know whether they export what a module uses.

. "$(dirname "$0")/setup.sh"

# Whatever kernel the user has named, it is not one of these.
NAMED_KDIR=
names=() failed=()
for file in "$TOOLS_KERNEL"/config/builds/*"${1:-}"*.config; do
	[ ! -f "$file" ] || names+=("$(basename "$file" .config)")
done
[ "${#names[@]}" != 0 ] || die "no configuration in $TOOLS_KERNEL/config/builds has \"$1\" in its name"

# compile BUILD [VARIABLE=VALUE...]: one build of the module for the present kernel.
compile() {
	local options
	options=$(make_options "$name")
	# What is there may be of another kernel of this name.
	rm -rf "${MODULES:?}/$1"
	# shellcheck disable=SC2086 # one word an option
	build_module "$1" $options KBUILD_MODPOST_WARN=1 KRUSTFLAGS=-Dwarnings KCFLAGS=-Werror "${@:2}"
}

# refused BUILD SENTENCE [VARIABLE=VALUE...]: kbuild must not build that, and has to say SENTENCE.
refused() {
	! (compile "$1" "${@:3}") 2>/dev/null && grep -qF "$2" "$MODULES/$1.log"
}

# try WHAT COMMAND...: goes on with the others when COMMAND fails.
try() {
	"${@:2}" || failed+=("$name: $1")
}

# compiler: chooses the rustc that the name asks for (rust-VERSION), else the usual one.
# Only rustup has others. Fails where it is not to be had.
compiler() {
	export RUST_LIB_SRC=$usual_source RUSTUP_TOOLCHAIN=$usual_toolchain
	[ -n "$usual_toolchain" ] || unset RUSTUP_TOOLCHAIN
	[[ $name = rust-* ]] || return 0
	have rustup || return 1
	local version=${name#rust-}.0
	alone "$CACHE/locks/rust.lock" "adding a compiler" \
		with_spinner rust "$CACHE/rust.log" \
		rustup toolchain install "$version" --profile minimal --component rust-src
	export RUSTUP_TOOLCHAIN=$version
	RUST_LIB_SRC=$(rustc --print sysroot)/lib/rustlib/src/rust/library
}

# A signal ends all of this, not only one build.
trap 'exit 1' INT TERM HUP
environment
usual_source=$RUST_LIB_SRC usual_toolchain=${RUSTUP_TOOLCHAIN:-}
built=()
for name in "${names[@]}"; do
	compiler || { say skip "$name: there is no rustup to get that compiler from"; continue; }
	built+=("$name")
	kernel "$name"
	say kernel "$name"
	try module compile module
	try lab compile lab RFUTEX_LAB=y
	# On make's command line, it wins over the kernel's configuration.
	try "no word about CONFIG_FUTEX" \
		refused no-futex "rfutex needs a kernel with CONFIG_FUTEX=y" CONFIG_FUTEX=
done
[ "${#failed[@]}" = 0 ] || die "did not build: $(printf '%s; ' "${failed[@]}")"
say builds "the module builds for all of: ${built[*]}"
