#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# packages.sh [llvm VERSION|gdb|arm64|peers|programs|stock]: makes sure that the programs which
# the builds and the VM need are there; with "llvm", those of LLVM; with "gdb", the debugger;
# with "arm64", what an emulated machine of that kind needs; with "peers", what the tests of
# others are built with; with "programs", the programs that are run on rfutex; with "stock",
# what makes a root directory of Debian's.
# Installs Debian packages where there is apt; elsewhere says what is missing.

. "$(dirname "$0")/lib.sh"

# What is looked for (a program, one that needs no shared library, a package,
# or a program of LLVM) and the Debian package that has it.
needs="
make:make
gcc:gcc
g++:g++
flex:flex
bison:bison
bc:bc
cpio:cpio
rsync:rsync
xz:xz-utils
zstd:zstd
perl:perl
kmod:kmod
git:git
file:file
curl:curl
gpg:gpg
pkg-config:pkg-config
python3:python3
qemu-system-x86_64:qemu-system-x86
static=busybox:busybox-static
shellcheck:shellcheck
mkfs.ext4:e2fsprogs
mkfs.xfs:xfsprogs
pkg=python3-venv:python3-venv
pkg=ca-certificates:ca-certificates
pkg=libelf-dev:libelf-dev
pkg=libssl-dev:libssl-dev
pkg=libcap-ng-dev:libcap-ng-dev
pkg=libseccomp-dev:libseccomp-dev
"
if [ "${1:-}" = gdb ]; then
	needs=gdb:gdb
fi
if [ "${1:-}" = arm64 ]; then
	needs="
aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu
qemu-system-aarch64:qemu-system-arm
pkg=libc6-dev-arm64-cross:libc6-dev-arm64-cross
"
fi
if [ "${1:-}" = peers ]; then
	needs="
gawk:gawk
dpkg-source:dpkg-dev
"
fi
if [ "${1:-}" = programs ]; then
	needs="
/usr/bin/python3:python3
redis-server:redis-server
redis-benchmark:redis-tools
stress-ng:stress-ng
pgbench:postgresql
javac:default-jdk-headless
setpriv:util-linux
pkg=liblmdb-dev:liblmdb-dev
"
fi
if [ "${1:-}" = stock ]; then
	needs=debootstrap:debootstrap
fi
if [ "${1:-}" = llvm ]; then
	llvm=$2
	LLVM_BIN=/usr/lib/llvm-$llvm/bin
	needs="
llvm=clang:clang-$llvm
llvm=ld.lld:lld-$llvm
llvm=llvm-nm:llvm-$llvm
pkg=libclang-$llvm-dev:libclang-$llvm-dev
"
fi

# The library behind each pkg= line, for systems without dpkg.
library_there() {
	case $1 in
	ca-certificates) ls /etc/ssl/certs/* ;;
	libelf-dev) pkg-config --exists libelf ;;
	libssl-dev) pkg-config --exists openssl ;;
	libcap-ng-dev) pkg-config --exists libcap-ng ;;
	libseccomp-dev) pkg-config --exists libseccomp ;;
	libclang-*) ls /usr/lib*/libclang.so* /usr/lib/llvm*/lib/libclang*.so* ;;
	liblmdb-dev) [ -f /usr/include/lmdb.h ] ;;
	libc6-dev-arm64-cross) [ -f /usr/aarch64-linux-gnu/lib/libc.a ] ;;
	python3-venv) python3 -c 'import venv, ensurepip' ;;
	esac >/dev/null 2>&1
}

present() {
	case $1 in
	pkg=*)
		if have dpkg-query; then
			installed "${1#pkg=}" >/dev/null
		else
			library_there "${1#pkg=}"
		fi ;;
	static=*) have "${1#static=}" && ! ldd "$(command -v "${1#static=}")" >/dev/null 2>&1 ;;
	llvm=*) [ -x "$LLVM_BIN/${1#llvm=}" ] || { ! have apt-get && have "${1#llvm=}"; } ;;
	*) have "$1" || [ -x "/sbin/$1" ] || [ -x "/usr/sbin/$1" ] ;;
	esac
}

missing() {
	local line
	for line in $needs; do
		present "${line%%:*}" || printf '%s\n' "$line"
	done
}

lacking=$(missing)
[ -n "$lacking" ] || exit 0
if ! have apt-get; then
	die "this system has no apt; install these, then run the command again: $(
		printf '%s\n' "$lacking" | sed 's/^[a-z]*=//; s/:.*//' | tr '\n' ' ')"
fi

# Installs what is lacking now: another run may have installed it meanwhile.
install_lacking() {
	local log=$CACHE/packages.log packages
	lacking=$(missing)
	[ -n "$lacking" ] || return 0
	packages=$(printf '%s\n' "$lacking" | sed 's/.*://' | sort -u)
	say packages "installing: $(printf '%s' "$packages" | tr '\n' ' ')"
	with_spinner apt "$log" as_root apt-get update -q
	# shellcheck disable=SC2086 # one word a package
	apt_install "$log" $packages
	lacking=$(missing)
	[ -z "$lacking" ] || die "still missing after the installation: $lacking"
}
apt_alone install_lacking
