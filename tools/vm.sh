#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# vm.sh check|coverage|fuzz|peers|programs|bench|bench-compare|profile|boots|demo|check-harness|run|recording|gdb [OPTION...]: prepares the kernel, the module
# and the programs, then runs rfutex-vm, which boots the VM. The environment may
# name a built kernel (NAMED_KDIR) or a kernel's source (KSRC).

. "$(dirname "$0")/kernel/setup.sh"

target=x86_64-unknown-linux-gnu
# What the programs in the VM are built for.
guest_target=$target
usage() { die "usage: vm.sh check|coverage|fuzz|peers|programs|bench|bench-compare|profile|boots|demo|check-harness|run|recording|gdb [OPTION...]"; }

# counts OPTION...: whether make bench with these counts instructions. Without any that choose, it
# does; but some experiments do not.
counts() {
	local chosen=
	while [ $# -gt 0 ]; do
		case $1 in
		--quick | --only) return 0 ;;
		--experiment)
			case $2 in threads | crowd | watches) return 0 ;; esac
			chosen=y
			shift
			;;
		esac
		shift
	done
	[ -z "$chosen" ]
}

[ $# -gt 0 ] || usage
command=$1
shift
case $command in
check) flavour=${FLAVOUR:-debug${RFUTEX_ARCH:+-$RFUTEX_ARCH}} builds='module lab' packages='selftests samples ctl' ;;
check-harness | coverage) flavour=debug builds='module lab' packages='selftests samples ctl' ;;
fuzz) flavour=debug builds=lab packages='selftests ctl' ;;
peers) flavour=${FLAVOUR:-lean} builds=module packages=ctl ;;
# Instructions are counted on the one kernel; time goes by on the other, see below.
programs) flavour=count builds=module packages=ctl ;;
# Instructions are counted on one kernel; the rest is measured on another, see below.
bench)
	flavour=lean builds='module lab' packages=bench
	! counts "$@" || flavour=count
	;;
profile) flavour=count builds='module lab' packages=bench ;;
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
		lab) build_module lab RFUTEX_LAB=y "${more[@]}" ;;
		# What a debugger shows of the module, whatever the kernel was built with.
		symbols) build_module symbols KCFLAGS=-g KRUSTFLAGS=-Cdebuginfo=2 ;;
		*) build_module "$build" "${more[@]}" ;;
		esac
	done
}

case $command in gdb | peers | programs) "$TOOLS_KERNEL/packages.sh" "$command" ;; esac
# What the build of a module is given besides.
more=() options=()
case ${RFUTEX_ARCH:-} in
'') ;;
arm64)
	[ "$command" = check ] || die "ARCH=arm64 is known to make check alone"
	# shellcheck source=tools/kernel/arm64.sh
	. "$TOOLS_KERNEL/arm64.sh"
	"$TOOLS_KERNEL/packages.sh" arm64
	guest_target=$ARM64_TARGET more=(ARCH=arm64) ;;
*) die "ARCH=$RFUTEX_ARCH is not known; there is ARCH=arm64" ;;
esac
case $flavour in
stock | stock-rt)
	[ "$command/${RFUTEX_ARCH:-}" = check/ ] ||
		die "FLAVOUR=$flavour is known to make check alone, and without ARCH="
	# shellcheck source=tools/kernel/stock.sh
	. "$TOOLS_KERNEL/stock.sh"
	environment
	stock_kernel "${flavour#stock}"
	options+=(--stock "$STOCK_ROOT" --release "$STOCK_RELEASE")
	# The one that was installed.
	builds= ;;
*) setup "$flavour" ;;
esac
if [ "${RFUTEX_ARCH:-}" = arm64 ]; then
	arm64_std
	tools=$(arm64_tools)
	options+=(--guest-tools "$tools")
fi
if [ "$command" = coverage ] || [ "$command" = fuzz ]; then
	MODULES=$MODULES/coverage more+=(RFUTEX_COVERAGE=y)
	mkdir -p "$MODULES"
fi
# shellcheck disable=SC2086 # one word a build
build_modules $builds
kdir=$KDIR modules=$MODULES
if [[ $command = @(bench|programs) && " $* " != *" --quick "* ]]; then
	if [ "$flavour" != lean ]; then
		kernel lean
		# shellcheck disable=SC2086 # one word a build
		build_modules $builds
		options+=(--time-kdir "$KDIR" --time-modules "$MODULES")
	fi
	if [ "$command" = bench ]; then
		# shellcheck source=tools/lines/build.sh
		. "$TOP/tools/lines/build.sh"
		plugin=$(lines_plugin)
		options+=(--lines "$plugin")
	fi
fi
# build_programs TARGET PACKAGE...
build_programs() {
	local target=$1
	shift
	# shellcheck disable=SC2046 # one word a package
	with_spinner programs "$modules/programs-$command.log" \
		env --chdir="$TOP/tools" cargo build --locked --target "$target" \
		$(printf -- '-p rfutex-%s ' "$@")
}
# shellcheck disable=SC2086 # one word a package
if [ "$guest_target" = "$target" ]; then
	build_programs "$target" vm guest $packages
else
	build_programs "$target" vm
	# No sample: those in C are built by the harness, for the host.
	build_programs "$guest_target" guest ${packages/samples/}
fi

case $command/$guest_target in
check/"$target" | check-harness/* | programs/* | coverage/* | fuzz/* | run/* | recording/* | gdb/*)
	# shellcheck source=tools/preload/build.sh
	. "$TOP/tools/preload/build.sh"
	build_preload "$target"
	[[ $flavour != stock* ]] || build_preload_tests "$target"
	# Where rfutexctl looks for it, in a VM that has the host's files.
	install "$TOP/build/preload/$target/preload/librfutex_preload.so" \
		"$TOP/build/target/$target/debug"
	;;
esac

if [ "$command" = peers ]; then
	# shellcheck source=tools/peers/build.sh
	. "$TOP/tools/peers/build.sh"
	built=$(peers_options "$target")
	mapfile -t options <<<"$built"
fi

if [ "$command" = programs ]; then
	# shellcheck source=tools/programs/build.sh
	. "$TOP/tools/programs/build.sh"
	built=$(build_programs_to_run)
	options+=(--built "$built")
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

# What does not depend on the kernel is tested with the usual one.
if [ "$command" = check ] && [ "$flavour${RFUTEX_KERNEL:-}" != debug ]; then
	options+=(--only-module)
fi
if [ "$command" = recording ]; then
	options=(--to "$TOP/Documentation/turns.svg")
fi

programs=$TOP/build/target/$guest_target/debug
exec "$TOP/build/target/$target/debug/rfutex-vm" --kdir "$kdir" --top "$TOP" --modules "$modules" \
	--programs "$programs" --cache "$CACHE" "$command" ${options[@]+"${options[@]}"} "$@"
