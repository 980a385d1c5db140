#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# stock-install.sh: builds the module for the kernel that is running, if that is one of
# Debian's with CONFIG_RUST=y, installs it and loads it. RELEASE= names another one that is
# installed, for which the module is not loaded.
#
# The headers of such a kernel lack what rustc has to know of the kernel's crates (the .rmeta
# files). So these are made from the kernel's source, with its configuration and by its
# compilers. The names of what a crate exports depend on all of that, and modpost compares
# those that the module uses with those that the kernel has.

. "$(dirname "$0")/kernel/lib.sh"

running=$(uname -r)
release=${RELEASE:-$running}
headers=/usr/src/linux-headers-$release
# What the user has before Debian's own programs is of no use here, and neither is what a
# make that called this was told.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL MO LLVM RUSTUP_TOOLCHAIN RUST_LIB_SRC

# get PACKAGE[=VERSION]...: makes sure that these are installed. If they are, no network is
# needed.
get() {
	local package version lacking=()
	for package; do
		version=$(installed "${package%%=*}") || version=
		case $package in
		*=*) [ "$version" = "${package#*=}" ] ;;
		*) [ -n "$version" ] ;;
		esac || lacking+=("$package")
	done
	[ "${#lacking[@]}" != 0 ] || return 0
	with_spinner apt "$CACHE/packages.log" apt-get update -q
	apt_install "$CACHE/packages.log" "${lacking[@]}"
}

# option NAME: its value in the kernel's configuration, without quotes.
option() { sed -n "s/^CONFIG_$1=//p" "$headers/.config" | tr -d '"'; }

# What the kernel's source is compiled with, besides its compiler in C, which comes with the
# headers.
packages='make xz-utils flex bison bc cpio rsync kmod python3 libelf-dev libssl-dev pahole
	rustc rust-src bindgen'

# unpack DIR: the kernel's source.
# shellcheck disable=SC2317 # make_entry calls it
unpack() {
	mkdir "$1/linux"
	with_spinner unpack "$1/unpack.log" \
		tar -C "$1/linux" --strip-components=1 -xf "/usr/src/linux-source-$series.tar.xz"
	entry_finish "$1" linux/Makefile linux/Kbuild linux/Kconfig
}

# prepare DIR: makes what a module is built against.
# shellcheck disable=SC2317 # make_entry calls it
prepare() {
	local dir=$1
	mkdir "$dir/build"
	cp "$headers/.config" "$dir/build"
	kmake() {
		make -C "$source" O="$dir/build" CC="$compiler" HOSTCC="$compiler" \
			LOCALVERSION="${release#"$(make -s -C "$source" kernelversion)"}" "$@"
	}
	with_spinner rust "$dir/rustavailable.log" kmake rustavailable
	with_spinner configure "$dir/config.log" kmake olddefconfig
	with_spinner prepare "$dir/build.log" kmake -j"$(nproc)" modules_prepare
	[ "$(cat "$dir/build/include/config/kernel.release")" = "$release" ] ||
		die "the source of $version is not that of the kernel $release"
	# Those of the kernel itself, which was not built here.
	cp "$headers/Module.symvers" "$headers/vmlinux" "$dir/build"
	entry_finish "$dir" build/.config build/Makefile build/Module.symvers \
		build/rust/libkernel.rmeta build/rust/libcore.rmeta build/scripts/mod/modpost
}

# modules TARGET...: what our Makefile does for that kernel. It has the key for signing
# modules nowhere.
modules() {
	make -C "$TOP" --no-print-directory "$@" KDIR="$dir/build" MO="$CACHE/stock-module-$release" \
		CC="$compiler" CONFIG_MODULE_SIG_ALL=
}

[ "$(id -u)" = 0 ] || die "make stock-install needs root: run it with sudo"
have apt-get || die "make stock-install is for Debian's own kernels"
series=$(printf '%s' "$release" | cut -d . -f 1,2)
[[ " $KERNELS" = *" $series."* ]] || die "the kernel $release is of none of the versions that are known here: $KERNELS"

# shellcheck disable=SC2086 # one word a package
apt_alone get "linux-headers-$release" $packages
version=$(dpkg-query -W -f '${source:Version}' "linux-headers-$release")
apt_alone get "linux-source-$series=$version"

[ "$(option RUST)" = y ] || die "the kernel $release was built without Rust (CONFIG_RUST)"
rustc=$(rustc --version)
[ "$(option RUSTC_VERSION_TEXT)" = "$rustc" ] ||
	die "the kernel $release was built by $(option RUSTC_VERSION_TEXT), but this is $rustc"
compiler=$(option CC_VERSION_TEXT)
compiler=${compiler%% *}

source=$(make_entry "stock-source-$version" unpack)/linux
dir=$(make_entry "stock-$release-$version" prepare)
with_spinner module "$CACHE/stock-module.log" modules modules
with_spinner install "$CACHE/stock-module.log" modules modules_install
depmod "$release"
[ "$release" = "$running" ] || { say installed "rfutex for the kernel $release"; exit; }
modprobe rfutex ||
	die "the kernel does not load the module; with Secure Boot, it loads only what is signed with a key that it knows"
[ -c /dev/rfutex ] || die "the module is loaded, but there is no /dev/rfutex"
say loaded "rfutex; /dev/rfutex is there"
