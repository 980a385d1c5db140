#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the directory of the kernel source: $KSRC where the caller gives one,
# else Debian's source package, downloaded and unpacked into the cache.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/debian.sh"

if [ -n "${KSRC:-}" ]; then
	[ -f "$KSRC/Kbuild" ] || die "KSRC=$KSRC is not a kernel source tree"
	cd "$KSRC" && pwd
	exit
fi

# The listing of all files proves that the tree is whole; it is checked by
# count and total size, since 90,000 checksums would take longer than they help.
listing() { (cd "$1" && find . -type f -printf '%s\n' | awk '{ n++; s += $1 } END { print n, s }'); }

unpack() {
	local dir=$1
	say download "Linux $KERNEL_VERSION, 160 MB, from Debian $DEBIAN_SUITE"
	if ! debian_fetch "$dir" "linux-source-$KERNEL_SERIES" "$KERNEL_VERSION-*" "$KERNEL_SERIES.*"; then
		die "cannot download linux-source-$KERNEL_SERIES; give a source tree of Linux $KERNEL_SERIES with KSRC=DIR"
	fi
	say unpack "Linux $(cat "$dir/version"), 1.8 GB, 90000 files"
	dpkg-deb -x "$dir/linux-source-$KERNEL_SERIES.deb" "$dir/deb"
	mkdir "$dir/linux"
	with_spinner unpack "$dir/unpack.log" \
		tar -C "$dir/linux" --strip-components=1 -xvf "$dir"/deb/usr/src/linux-source-*.tar.xz
	rm -rf "$dir/deb" "$dir/linux-source-$KERNEL_SERIES.deb" "$dir/unpack.log"
	listing "$dir/linux" >"$dir/listing"
	entry_finish "$dir" version listing linux/Makefile linux/Kbuild linux/Kconfig
}

# A tree that lost or gained files since it was unpacked is not used.
entry=source-$KERNEL_VERSION
if [ -e "$CACHE/$entry/.complete" ] &&
	[ "$(listing "$CACHE/$entry/linux")" != "$(cat "$CACHE/$entry/listing")" ]; then
	rm -f "$CACHE/$entry/.complete"
fi
dir=$(make_entry "$entry" unpack)
printf '%s\n' "$dir/linux"
