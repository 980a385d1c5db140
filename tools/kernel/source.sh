#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the directory of the kernel source: $KSRC where the caller gives one, else
# what is in the cache, where it is unpacked from the first of these that has it:
# Debian's source package on the mirror; the same in the archive of Debian's
# snapshots; kernel.org's release; a newer version of the series on the mirror.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/debian.sh"
. "$(dirname "$0")/kernel-org.sh"

if [ -n "${KSRC:-}" ]; then
	[ -f "$KSRC/Kbuild" ] || die "KSRC=$KSRC is not a kernel source tree"
	cd "$KSRC" && pwd
	exit
fi

package=linux-source-$KERNEL_SERIES

# The listing of all files proves that the tree is whole; it is checked by
# count and total size, since 90,000 checksums would take longer than they help.
listing() { (cd "$1" && find . -type f -printf '%s\n' | awk '{ n++; s += $1 } END { print n, s }'); }

# from_package FETCH DIR PATTERN: the archive in Debian's package of the source, which
# FETCH downloads. Leaves linux.tar.xz.
from_package() {
	"$1" "$2" "$package" "$3" || return
	unpack_deb "$2/$package.deb" "$2/deb" && mv "$2"/deb/usr/src/linux-source-*.tar.xz "$2/linux.tar.xz"
}

# archive DIR: gets linux.tar.xz and the file version into DIR. Each source says
# itself what is wrong with it.
archive() {
	local dir=$1 mirror=0 what="Linux $KERNEL_VERSION, 160 MB,"
	fresh() { rm -rf "$dir" && mkdir -p "$dir"; }
	fresh
	say download "$what from Debian $DEBIAN_SUITE"
	from_package debian_fetch "$dir" "$KERNEL_VERSION-*" || mirror=$?
	[ "$mirror" != 0 ] || return 0
	fresh
	say download "$what from the archive of Debian's snapshots, $DEBIAN_SNAPSHOT"
	! from_package snapshot_fetch "$dir" "$KERNEL_VERSION-*" || return 0
	fresh
	say download "$what from kernel.org, $KERNEL_ORG"
	! kernel_org_fetch "$dir" || return 0
	# It is there only if the mirror answers, and has something else.
	if [ "$mirror" = 2 ]; then
		fresh
		say download "the newest Linux $KERNEL_SERIES of Debian $DEBIAN_SUITE, which was not tried with this"
		! from_package debian_fetch "$dir" "$KERNEL_SERIES.*" || return 0
	fi
	return 1
}

# version_of TREE: what its Makefile says.
version_of() {
	sed -n 's/^VERSION = //p; s/^PATCHLEVEL = //p; s/^SUBLEVEL = //p' "$1/Makefile" | paste -sd .
}

unpack() {
	local dir=$1 version
	archive "$dir/archive" ||
		die "no source of Linux $KERNEL_VERSION to be had; give a source tree of Linux $KERNEL_SERIES with KSRC=DIR"
	mv "$dir/archive/version" "$dir/version"
	say unpack "Linux $(cat "$dir/version"), 1.8 GB, 90000 files"
	mkdir "$dir/linux"
	with_spinner unpack "$dir/unpack.log" \
		tar -C "$dir/linux" --strip-components=1 -xvf "$dir/archive/linux.tar.xz"
	rm -rf "$dir/archive" "$dir/unpack.log"
	# A signature does not say which version it is for.
	version=$(version_of "$dir/linux")
	case $(cat "$dir/version") in
	"$version"[-\ ]*) ;;
	*) die "what is said to be the source of Linux $(cat "$dir/version") is that of $version" ;;
	esac
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
