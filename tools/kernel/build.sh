#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# build.sh FLAVOUR: builds the kernel of that flavour in the cache, where it is not
# there yet, and prints its build directory (a KDIR). The environment is
# toolchain.sh's. The flavours are lean, count, debug, debug-rt and debug-arm64, and
# those in config/builds, of which only what a module is compiled with is made.

. "$(dirname "$0")/lib.sh"

flavour=${1:-}
case $flavour in
lean | count | debug | debug-rt | debug-arm64) builder=build ;;
*)
	builder=prepare
	[ -f "$TOOLS_KERNEL/config/builds/$flavour.config" ] ||
		die "usage: build.sh lean|count|debug|debug-rt|debug-arm64, or a name in config/builds" ;;
esac
source_dir=$("$TOOLS_KERNEL/source.sh")
jobs=$(nproc)

# The files in config whose options a flavour has, and the one for what differs in this
# version of Linux. Where two of them differ on an option, the later one wins.
configs() {
	case $flavour in
	lean) echo base expert lean ;;
	count) echo base expert lean count ;;
	debug) echo base debug ;;
	debug-rt) echo base debug expert rt ;;
	debug-arm64) echo base debug arm64 ;;
	*) echo builds "builds/$flavour" ;;
	esac
	[ ! -f "$TOOLS_KERNEL/config/$KERNEL_SERIES.config" ] || echo "$KERNEL_SERIES"
}

fragment() {
	local name
	for name in $(configs); do
		cat "$TOOLS_KERNEL/config/$name.config"
	done
	# KASAN would not see into what is inlined. INLINE_HELPERS=n: a kernel that does without.
	case $flavour in
	lean | count)
		[ "${INLINE_HELPERS:-y}" = n ] || [ "$(rust_llvm)" != "$(clang_llvm)" ] ||
			echo CONFIG_RUST_INLINE_HELPERS=y ;;
	esac
}

# The major version of clang.
clang_llvm() { clang -dumpversion | sed 's/\..*//'; }

# What the build depends on; another answer to any of it is another kernel.
inputs() {
	fragment
	declare -f "$builder"
	(cd "$source_dir" && make -s kernelversion && sha256sum Makefile init/Kconfig rust/Makefile)
	cat "$(dirname "$source_dir")/version" 2>/dev/null || printf '%s\n' "$source_dir"
	# A tree of the user's own may change under its name.
	[ -z "${KSRC:-}" ] || (cd "$source_dir" && find . -name .git -prune -o -type f -printf '%P %s %T@\n' | sort)
	rustc --version
	bindgen --version
	clang --version | sed -n 1p
	[ "$builder" = build ] || { make_options "$flavour" && gcc --version | sed -n 1p; }
}

# wanted: the fragment's options, each as the last file that names it has it.
wanted() {
	fragment | awk '
		/^CONFIG_/ { name = $0; sub(/=.*/, "", name); line[name] = $0 }
		/^# CONFIG_[A-Z0-9_]+ is not set$/ { line[$2] = $0 }
		END { for (name in line) print line[name] }'
}

# check_config DIR: every option of the fragment has to be in the .config as asked. One
# that is to be off need not exist there.
check_config() {
	local lost
	lost=$({
		wanted | grep '^CONFIG_' | grep -vxF -f "$1/.config"
		wanted | sed -n 's/^# \(.*\) is not set$/^\1=/p' | grep -f - "$1/.config"
	} || true)
	[ -z "$lost" ] || die "these options did not take: $(printf '%s' "$lost" | tr '\n' ' ')"
}

# shellcheck disable=SC2317 # make_entry calls it
build() {
	local dir=$1 options image
	options=$(make_options "$flavour")
	image=$(kernel_image "$flavour")
	mkdir "$dir/build"
	fragment >"$dir/fragment"
	# shellcheck disable=SC2086 # one word an option
	kmake() { make -C "$source_dir" O="$dir/build" $options "$@"; }
	with_spinner rust "$dir/rustavailable.log" kmake rustavailable
	with_spinner configure "$dir/config.log" kmake KCONFIG_ALLCONFIG="$dir/fragment" allnoconfig
	check_config "$dir/build"
	say kernel "$flavour: 20 to 40 minutes on two processors, once"
	with_spinner "$flavour" "$dir/build.log" kmake -j"$jobs" "${image##*/}" modules
	entry_finish "$dir" build/.config build/Makefile build/Module.symvers "build/$image" \
		build/rust/libkernel.rmeta build/rust/libcore.rmeta build/include/generated/autoconf.h \
		build/include/config/auto.conf build/scripts/mod/modpost build/scripts/basic/fixdep
}

# shellcheck disable=SC2317 # make_entry calls it
prepare() {
	local dir=$1 options
	options=$(make_options "$flavour")
	mkdir "$dir/build"
	fragment >"$dir/fragment"
	# shellcheck disable=SC2086 # one word an option
	kmake() { make -C "$source_dir" O="$dir/build" $options "$@"; }
	with_spinner configure "$dir/config.log" kmake KCONFIG_ALLCONFIG="$dir/fragment" allnoconfig
	check_config "$dir/build"
	say kernel "$flavour, without vmlinux: a minute on two processors, once"
	with_spinner "$flavour" "$dir/build.log" kmake -j"$jobs" modules_prepare
	entry_finish "$dir" build/.config build/Makefile build/scripts/module.lds \
		build/rust/libkernel.rmeta build/rust/libcore.rmeta build/include/generated/autoconf.h \
		build/include/config/auto.conf build/scripts/mod/modpost build/scripts/basic/fixdep
}

entry=kernel-$flavour-$(inputs | sha256sum | cut -c 1-12)
# A build directory names its source by its path: in a cache that was moved it
# is of no use.
if [ -L "$CACHE/$entry/build/source" ] && ! [ "$CACHE/$entry/build/source" -ef "$source_dir" ]; then
	rm -f "$CACHE/$entry/.complete"
fi
dir=$(make_entry "$entry" "$builder")
printf '%s/build\n' "$dir"
