# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by what needs a kernel to work with: makes sure that programs,
# toolchain and kernel are there.

# shellcheck source=tools/kernel/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# setup FLAVOUR: prepares everything. Sets PATH and what compilers look for, and
# what kernel() sets.
setup() {
	environment
	kernel "$1"
}

# environment: prepares everything but a kernel.
environment() {
	local llvm=${LLVM:-} environment
	# Programs would look for the job server of a make that called this.
	unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL MO RFUTEX_LAB ARCH
	"$TOOLS_KERNEL/packages.sh"
	environment=$("$TOOLS_KERNEL/toolchain.sh")
	eval "$environment"
	# The Makefile finds out what compiler the kernel wants.
	unset LLVM
	[ -z "$llvm" ] || export LLVM=$llvm
	# A make that this runs is told its kernel.
	export -n NAMED_KDIR
	mkdir -p "$TOP/build"
}

# kernel FLAVOUR: sets, for all that follows,
#   KDIR     the kernel's build directory: the one that the user named, else
#            the one of FLAVOUR in the cache
#   MODULES  where modules for this kernel are built
kernel() {
	local flavour=$1
	if [ -n "${NAMED_KDIR:-}" ]; then
		KDIR=$(cd "$NAMED_KDIR" && pwd) || die "there is no directory KDIR=$NAMED_KDIR"
		MODULES=$TOP/build/kdir-$(printf '%s' "$KDIR" | sha256sum | cut -c 1-12)
	else
		KDIR=$("$TOOLS_KERNEL/build.sh" "$flavour")
		MODULES=$TOP/build/$flavour${RFUTEX_KERNEL:+-$RFUTEX_KERNEL}
	fi
	export KDIR MODULES
}

# locked COMMAND...: runs it while no other run builds in this checkout.
locked() { alone "$TOP/build/lock" "building in this checkout" "$@"; }

# build_module NAME [VARIABLE=VALUE...]: builds the module of this checkout, or
# of the one in SOURCE, into $MODULES/NAME.
build_module() {
	local name=$1
	shift
	mkdir -p "$(dirname "$MODULES/$name")"
	locked with_spinner module "$MODULES/$name.log" \
		make -C "${SOURCE:-$TOP}" --no-print-directory modules KDIR="$KDIR" \
		MO="$MODULES/$name" "$@"
}
