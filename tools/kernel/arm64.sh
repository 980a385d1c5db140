# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced for make check ARCH=arm64: what programs for an emulated 64-bit ARM machine
# are built with, and what the machine needs besides.

# shellcheck source=tools/kernel/debian.sh
. "$TOOLS_KERNEL/debian.sh"

ARM64_TARGET=aarch64-unknown-linux-gnu

# arm64_std: makes sure that rustc has its library for that target.
arm64_std() {
	local library
	library=$(rustc --print sysroot)/lib/rustlib/$ARM64_TARGET/lib
	[ ! -d "$library" ] || return 0
	have rustup || die "rustc lacks its library for $ARM64_TARGET ($library); rustup can add it"
	alone "$CACHE/locks/rust.lock" "adding a library of rustc" \
		with_spinner rust "$CACHE/rust.log" rustup target add "$ARM64_TARGET"
}

# arm64_program DIR PACKAGE FILE NAME: the FILE of a Debian package, as DIR/NAME.
arm64_program() {
	local dir=$1 package=$2 file=$3 name=$4 unpacked
	unpacked=$dir/$package
	mkdir "$unpacked"
	DEBIAN_ARCH=arm64 DEBIAN_SUITE=$ARM64_SUITE package_fetch "$unpacked" "$package" '*'
	unpack_deb "$unpacked/$package.deb" "$unpacked/deb"
	mv "$unpacked/deb/$file" "$dir/$name"
	rm -r "$unpacked"
}

# shellcheck disable=SC2317 # make_entry calls it
arm64_fill() {
	arm64_program "$1" busybox-static usr/bin/busybox busybox
	arm64_program "$1" bash-static usr/bin/bash-static bash
	entry_finish "$1" busybox bash
}

# arm64_tools: prints the directory with busybox and bash for the machine.
arm64_tools() { make_entry "arm64-tools-$ARM64_SUITE" arm64_fill; }
