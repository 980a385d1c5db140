#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes sure that rustc, its library source, LLVM, bindgen, virtiofsd and virtme-ng
# are there, building into the cache what no package has, and prints the
# environment that uses them, to be read with `eval`.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/debian.sh"

rust_version() { rustc --version 2>/dev/null | awk '{ print $2 }'; }

# The packages of Debian's two compilers: compiler, cargo, library source,
# linter, formatter. A stable release's second one is kept new for browsers.
RUST_PACKAGES="
rustc:cargo:rust-src:rust-clippy:rustfmt
rustc-web:cargo-web:rust-web-src:rust-web-clippy:rustfmt-web
"

# Prints the packages that are missing, if any. rustup's compiler wins, then the
# system's, then Debian's newest.
rust_lacking() {
	local packages owner
	if at_least "$(rust_version)" "$RUSTC_MIN" && have cargo; then
		# A Debian compiler wants its own library source beside it.
		owner=$(dpkg-query -S "$(readlink -f "$(command -v rustc)")" 2>/dev/null) || return 0
		for packages in $RUST_PACKAGES; do
			[ "${packages%%:*}" = "${owner%%:*}" ] || continue
			[ -d "/usr/src/rustc-$(rust_version)/library" ] || printf '%s\n' "$packages"
		done
		return 0
	fi
	have apt-get || die "needs rustc >= $RUSTC_MIN and cargo (rustup has them)"
	for packages in $RUST_PACKAGES; do
		at_least "$(apt-cache policy "${packages%%:*}" | awk '/Candidate/ { print $2 }')" "$RUSTC_MIN" || continue
		printf '%s\n' "$packages"
		return 0
	done
	have rustc && say rust "$(command -v rustc) is $(rust_version)"
	die "no rustc >= $RUSTC_MIN to be had from this system's packages; install one with rustup"
}

# Installs what is lacking now: another run may have installed it meanwhile.
install_rust() {
	local lacking
	lacking=$(rust_lacking)
	[ -n "$lacking" ] || return 0
	# shellcheck disable=SC2086 # one word a package
	apt_install "$CACHE/rust.log" ${lacking//:/ }
	at_least "$(rust_version)" "$RUSTC_MIN" ||
		die "$(command -v rustc) is $(rust_version), and comes before the one just installed; needs >= $RUSTC_MIN"
}

# The kernel builds `core` itself, from the compiler's own source: what the
# toolchain brings, else Debian's package of the same version.
unpack_rust_src() {
	local dir=$1 version
	version=$(rust_version)
	say download "library source of rustc $version"
	package_fetch "$dir" rust-src "$version+*"
	unpack_deb "$dir/rust-src.deb" "$dir/deb"
	mv "$dir"/deb/usr/src/rustc-*/library "$dir/library"
	rm -rf "$dir/deb" "$dir/rust-src.deb"
	entry_finish "$dir" version library/core/src/lib.rs library/core/src/num/mod.rs library/alloc/src/lib.rs
}

# rustup_add_src LIBRARY: has rustup put the source there, if it can.
rustup_add_src() {
	[ -f "$1/core/src/lib.rs" ] || rustup component add rust-src >"$CACHE/rust.log" 2>&1 || true
}

rust_lib_src() {
	local own
	own=$(rustc --print sysroot)/lib/rustlib/src/rust/library
	if [ ! -f "$own/core/src/lib.rs" ] && have rustup; then
		alone "$CACHE/locks/rust.lock" "adding the library source of rustc" rustup_add_src "$own"
	fi
	for own in "$own" "/usr/src/rustc-$(rust_version)/library"; do
		[ -f "$own/core/src/lib.rs" ] && { printf '%s\n' "$own"; return; }
	done
	own=$(make_entry "rust-src-$(rust_version)" unpack_rust_src)
	printf '%s/library\n' "$own"
}

# suiting NAME INPUT...: the name of an entry that is of use with these INPUTs only.
suiting() { printf '%s-%s\n' "$1" "$(printf '%s\n' "${@:2}" | sha256sum | cut -c 1-12)"; }

# build_crate CRATE VERSION PROGRAM DIR
build_crate() {
	with_spinner "$1" "$CACHE/$1.log" \
		cargo install --locked --root "$4" --version "$2" "$1"
	entry_finish "$4" "bin/$3"
}

build_virtme() {
	local dir=$1
	with_spinner virtme-ng "$CACHE/virtme-ng.log" bash -ec "
		python3 -m venv '$dir/venv'
		'$dir/venv/bin/pip' install --no-input 'virtme-ng==$VIRTME_NG_VERSION'"
	entry_finish "$dir" venv/bin/vng venv/pyvenv.cfg
}

lacking=$(rust_lacking)
[ -z "$lacking" ] || apt_alone install_rust
version=$(llvm_version)
"$TOOLS_KERNEL/packages.sh" llvm "$version" >&2
llvm=/usr/lib/llvm-$version
lib_src=$(rust_lib_src)
# What is linked with one C library need not run with another; a virtual
# environment has the paths of its Python and of itself in it.
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null || true)
python=$(python3 -c 'import sys; print(sys.base_prefix, *sys.version_info[:2])')
path=
if at_least "$(bindgen --version 2>/dev/null | awk '{ print $2 }')" "$BINDGEN_MIN"; then
	: "the system's bindgen will do"
else
	path=$path:$(make_entry "$(suiting "bindgen-$BINDGEN_VERSION" "$libc")" build_crate bindgen-cli "$BINDGEN_VERSION" bindgen)/bin
fi
path=$path:$(make_entry "$(suiting "virtiofsd-$VIRTIOFSD_VERSION" "$libc")" \
	build_crate virtiofsd "$VIRTIOFSD_VERSION" virtiofsd)/bin
path=$path:$(make_entry "$(suiting "virtme-ng-$VIRTME_NG_VERSION" "$python" "$CACHE")" build_virtme)/venv/bin
[ -x "$llvm/bin/clang" ] && path=$path:$llvm/bin

# shellcheck disable=SC2016 # whoever reads this expands it
printf 'export PATH=%q:"$PATH"\n' "${path#:}"
[ -d "$llvm/lib" ] && printf 'export LIBCLANG_PATH=%q\n' "$llvm/lib"
printf 'export RUST_LIB_SRC=%q LLVM=1\n' "$lib_src"
