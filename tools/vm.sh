#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# vm.sh check|peers|bench|bench-compare|profile|boots|demo|splats|run|recording|gdb [OPTION...]: prepares the kernel, the module
# and the programs, then runs rfutex-vm, which boots the VM. The environment may
# name a built kernel (NAMED_KDIR) or a kernel's source (KSRC).

. "$(dirname "$0")/kernel/setup.sh"

target=x86_64-unknown-linux-gnu
usage() { die "usage: vm.sh check|peers|bench|bench-compare|profile|boots|demo|splats|run|recording|gdb [OPTION...]"; }

[ $# -gt 0 ] || usage
command=$1
shift
case $command in
check) flavour=debug builds='module lab' packages='selftests samples ctl' ;;
splats) flavour=debug builds=lab packages= ;;
peers) flavour=${FLAVOUR:-lean} builds=module packages= ;;
# Instructions are counted on this kernel; time is taken on another, see below.
bench | profile) flavour=count builds='module lab' packages=bench ;;
bench-compare) flavour=count builds=module packages=bench ;;
boots) flavour=${FLAVOUR:-lean} builds=module packages= ;;
demo) flavour=lean builds=module packages=samples ;;
run | recording) flavour=${FLAVOUR:-lean} builds='module lab' packages='selftests samples ctl' ;;
gdb) flavour=${FLAVOUR:-lean} builds=symbols packages='selftests samples ctl' ;;
*) usage ;;
esac

# build_modules BUILD...: these of the module, for the present kernel.
build_modules() {
	local build
	for build in "$@"; do
		case $build in
		lab) build_module lab RFUTEX_LAB=y ;;
		# What a debugger shows of the module, whatever the kernel was built with.
		symbols) build_module symbols KCFLAGS=-g KRUSTFLAGS=-Cdebuginfo=2 ;;
		*) build_module "$build" ;;
		esac
	done
}

[ "$command" != gdb ] || "$TOOLS_KERNEL/packages.sh" gdb
setup "$flavour"
# shellcheck disable=SC2086 # one word a build
build_modules $builds
kdir=$KDIR modules=$MODULES options=()
if [ "$command" = bench ] && [[ " $* " != *" --quick "* ]]; then
	kernel lean
	build_modules module lab
	options=(--time-kdir "$KDIR" --time-modules "$MODULES")
fi
# shellcheck disable=SC2046,SC2086 # one word a package
with_spinner programs "$modules/programs-$command.log" \
	env --chdir="$TOP/tools" cargo build --locked --target "$target" \
	$(printf -- '-p rfutex-%s ' vm guest $packages)

if [ "$command" = peers ]; then
	# shellcheck source=tools/peers/build.sh
	. "$TOP/tools/peers/build.sh"
	built=$(peers_options "$target")
	mapfile -t options <<<"$built"
fi

if [ "$command" = bench-compare ]; then
	revision=$(git -C "$TOP" rev-parse --verify --quiet "${BASE:-}^{commit}") ||
		die "bench-compare wants BASE=, a revision of git; \"${BASE:-}\" is none"
	# Its source, as it was.
	sources=$TOP/build/base/$revision
	[ -d "$sources" ] || {
		rm -rf "$sources.new"
		mkdir -p "$sources.new"
		git -C "$TOP" archive "$revision" | tar -x -C "$sources.new"
		mv "$sources.new" "$sources"
	}
	SOURCE=$sources build_module "base-$revision/module"
	options=(--base "$BASE" --base-modules "$MODULES/base-$revision")
fi

if [ "$command" = recording ]; then
	options=(--to "$TOP/Documentation/turns.svg")
fi

programs=$TOP/build/target/$target/debug
exec "$programs/rfutex-vm" --kdir "$kdir" --top "$TOP" --modules "$modules" \
	--programs "$programs" --cache "$CACHE" "$command" ${options[@]+"${options[@]}"} "$@"
