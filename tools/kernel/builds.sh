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

# A signal ends all of this, not only one build.
trap 'exit 1' INT TERM HUP
setup "${names[0]}"
for name in "${names[@]}"; do
	kernel "$name"
	say kernel "$name"
	try module compile module
	try lab compile lab RFUTEX_LAB=y
	# On make's command line, it wins over the kernel's configuration.
	try "no word about CONFIG_FUTEX" \
		refused no-futex "rfutex needs a kernel with CONFIG_FUTEX=y" CONFIG_FUTEX=
done
[ "${#failed[@]}" = 0 ] || die "did not build: $(printf '%s; ' "${failed[@]}")"
say builds "the module builds for all of: ${names[*]}"
