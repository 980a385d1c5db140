#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# crates.sh take|keep: the crates of others that the programs are built from, compiled.
# "keep" puts those of this checkout into the cache, and "take" gives them to a checkout
# that has compiled nothing yet. What cargo finds to be out of date it compiles anew, so
# that they save time, and nothing else depends on them.

. "$(dirname "$0")/kernel/setup.sh"

# What cargo compiles in, below build.
DIRS=(target preload)

# entry: prints the name of these crates in the cache.
entry() {
	local hash
	hash=$({ rustc -vV && cat "$TOP/tools/Cargo.lock" "$TOP/tools/Cargo.toml"; } | sha256sum)
	printf 'crates-%s\n' "${hash:0:12}"
}

# compiled: prints the files that cargo has made of others' crates. Ours are not among
# them: cargo compares times to see whether those are out of date, and the files of another
# checkout may be older than what was made here.
compiled() {
	find "${DIRS[@]}" -type f ! -path '*rfutex*' \
		\( -path '*/.fingerprint/*' -o -path '*/build/*' -o -path '*/deps/*.rlib' \
		-o -path '*/deps/*.rmeta' -o -path '*/deps/*.so' -o -path '*/deps/*.d' \
		-o -name .rustc_info.json \) -print0
}

# shellcheck disable=SC2317 # make_entry calls it
fill() {
	local dir=$1
	(cd "$TOP/build" && compiled | tar --null -T - -c) | zstd -q -T0 -o "$dir/crates.tar.zst"
	entry_finish "$dir" crates.tar.zst
}

keep() {
	local name old
	name=$(entry)
	make_entry "$name" fill >/dev/null
	for old in "$CACHE"/crates-*; do
		[ "$old" = "$CACHE/$name" ] || rm -rf "$old"
	done
}

# The last that were kept will do, though they may be those of another Cargo.lock.
take() {
	local dir
	[ ! -e "$TOP/build/target" ] || return 0
	for dir in "$CACHE"/crates-*; do
		entry_ok "$dir" || continue
		zstd -q -d -c "$dir/crates.tar.zst" | tar -x -C "$TOP/build"
		say crates "taken from the cache"
	done
}

environment
case ${1:-} in
take | keep) "$1" ;;
*) die "usage: crates.sh take|keep" ;;
esac
