# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds glibc's own tests of threads (nptl), for the C library that the system has: from
# the source of that very version, which Debian's mirror has beside it. Sourced by build.sh.

# shellcheck source=tools/kernel/debian.sh
. "$TOOLS_KERNEL/debian.sh"

# glibc_version: the version of the C library that the programs of this system use, as that
# of its source.
glibc_version() {
	have dpkg-query || die "only with dpkg can the version of the C library be found out; $GLIBC_HELP"
	# shellcheck disable=SC2016 # it is dpkg-query that expands it
	dpkg-query -W -f '${source:Version}\n' libc6 | sort -u
}

GLIBC_HELP='name the source of the installed C library with GLIBC_SRC=DIR'

# glibc_source DIR VERSION: unpacks that source into DIR/source.
glibc_source() {
	local dir=$1 version=$2
	if [ -n "${GLIBC_SRC:-}" ]; then
		[ -f "$GLIBC_SRC/nptl/Makefile" ] || die "GLIBC_SRC=$GLIBC_SRC is not the source of glibc"
		cp -a "$GLIBC_SRC" "$dir/source"
		return
	fi
	say download "glibc $version, 20 MB, from where the C library was installed from"
	debian_source "$dir" libc6 glibc "$version" || die "glibc $version cannot be had; $GLIBC_HELP"
	mv "$dir"/glibc-*/ "$dir/source"
}

# glibc_make DIR SUBDIRECTORY ARGUMENT...: make, as glibc calls itself for a subdirectory. What
# the tests would be linked with is the compiler's affair (nptl.mk).
glibc_make() {
	local dir=$1 subdir=$2
	shift 2
	make -j"$(nproc)" -C "$dir/source/$subdir" subdir="$subdir" objdir="$dir/objects" \
		link-libc=-lc shlib-lds= +preinit= +postinit= libdl= librt= libm= \
		shared-thread-library= "$@"
}

# glibc_configure_and_make DIR: only what the tests are linked with, one header, and the tests.
glibc_configure_and_make() {
	local dir=$1
	unset LLVM ARCH
	mkdir "$dir/objects"
	(cd "$dir/objects" && ../source/configure --prefix=/usr --disable-werror \
		--enable-hardcoded-path-in-tests)
	glibc_make "$dir" support "$dir/objects/support/libsupport_nonshared.a"
	glibc_make "$dir" misc "$dir/objects/misc/bits/syscall.h"
	glibc_make "$dir" nptl -f Makefile -f "$TOP/tools/peers/nptl.mk" rfutex
}

# Beside the tests is a file that some of them open, in the directory in which they are run.
build_glibc_tests() {
	local version=$1 dir=$2
	glibc_source "$dir" "$version"
	with_spinner nptl "$dir/nptl.log" glibc_configure_and_make "$dir"
	mkdir "$dir/nptl"
	find "$dir/objects/nptl" -type f \( -perm -u+x -o -name '*.out' -o -name left-out \) \
		-exec mv -t "$dir/nptl" {} +
	cp "$dir/source/nptl/Makefile" "$dir/nptl"
	find "$dir/nptl" -type f -perm -u+x -exec strip --strip-debug {} +
	rm -rf "$dir/source" "$dir/objects"
	(cd "$dir" && entry_finish "$dir" nptl/*)
}

# glibc_tests: prints the directory of the tests.
glibc_tests() {
	local version hash dir
	version=${GLIBC_SRC:-$(glibc_version)}
	hash=$( (
		cat "$TOP/tools/peers/glibc.sh" "$TOP/tools/peers/nptl.mk"
		gcc --version
		printf '%s\n' "$version"
	) | sha256sum | cut -c 1-12)
	dir=$(make_entry "glibc-tests-$hash" build_glibc_tests "$version")
	printf '%s\n' "$dir/nptl"
}
