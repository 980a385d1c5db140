#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Writes the file pins: the checksums of those packages that the set-up takes from a
# suite other than the system's. To be run, on amd64, after a change of versions.sh,
# while the mirror has these versions: apt checks what is downloaded against the
# index that Debian has signed.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/debian.sh"

# pin SUITE PACKAGE PATTERN: the line of one package.
pin() {
	local dir arch deb
	dir=$(mktemp -d -p "$CACHE")
	DEBIAN_SUITE=$1 debian_fetch "$dir" "$2" "$3" >&2
	deb=$dir/$2.deb
	arch=$(dpkg-deb -f "$deb" Architecture)
	printf '%s %s %s %s %s\n' "$2" "$(cat "$dir/version")" "$arch" \
		"$(sha256sum "$deb" | cut -d ' ' -f 1)" "$(sha1sum "$deb" | cut -d ' ' -f 1)"
	rm -r "$dir"
}

lines=$(
	for version in $KERNELS; do
		pin "$DEBIAN_SUITE" "linux-source-${version%.*}" "$version-*"
	done
	pin "$DEBIAN_SUITE" rust-src "$RUSTC_VERSION+*"
	for package in busybox-static bash-static; do
		DEBIAN_ARCH=arm64 pin "$ARM64_SUITE" "$package" '*'
	done
	for package in herdtools7 libc6 libgmp10; do
		pin "$HERD_SUITE" "$package" '*'
	done
)
cat >"$TOOLS_KERNEL/pins" <<EOF
# SPDX-License-Identifier: GPL-2.0
# Written by pin.sh. Package, version, architecture, SHA256, SHA1.
$lines
EOF
