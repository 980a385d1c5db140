# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The kernel's source from kernel.org. Its checksum is not known here unless
# somebody says it (KERNEL_SHA256); else the signature counts, which the releases
# of kernel.org have (https://www.kernel.org/signature.html): it has to be by one of
# $KERNEL_SIGNERS.

KERNEL_ORG=${KERNEL_ORG:-https://cdn.kernel.org/pub/linux/kernel}
KERNEL_ORG_KEYS=${KERNEL_ORG_KEYS:-https://kernel.org/.well-known/openpgpkey/hu}

# kernel_org_fetch DIR: leaves linux.tar.xz and a file version in DIR. It runs in a
# subshell, and like debian_download cannot rely on -e.
kernel_org_fetch() (
	dir=$1
	base=$KERNEL_ORG/v${KERNEL_VERSION%%.*}.x/linux-$KERNEL_VERSION
	tarball=$dir/linux-$KERNEL_VERSION.tar.xz
	if [ -n "$KERNEL_SHA256" ]; then
		fetch "$base.tar.xz" "$tarball" sha256_is "$KERNEL_SHA256" || exit
	else
		have gpg || die "$base.tar.xz is not used: there is no gpg to check its signature with, and no KERNEL_SHA256"
		fetch_small "$base.tar.sign" "$dir/linux-$KERNEL_VERSION.tar.sign" || exit
		signers_keys "$dir" || exit
		fetch "$base.tar.xz" "$tarball" signed_well "$dir" "$dir/linux-$KERNEL_VERSION.tar.sign" || exit
	fi
	mv "$tarball" "$dir/linux.tar.xz" && printf '%s from kernel.org\n' "$KERNEL_VERSION" >"$dir/version"
)

# gpg_in DIR ARGUMENT...: gpg with a keyring of its own, and without its daemons.
gpg_in() { gpg --homedir "$1/gnupg" --no-autostart --batch --no-tty --quiet "${@:2}"; }

# signers_keys DIR: imports the keys of $KERNEL_SIGNERS. One of them is enough, since
# nobody knows before which one has signed. A key counts by its fingerprint only, so it
# does not matter where it comes from.
signers_keys() {
	local dir=$1 signer keys=0
	mkdir -m 700 "$dir/gnupg" || return
	for signer in $KERNEL_SIGNERS; do
		if fetch_small "$KERNEL_ORG_KEYS/${signer#*:}" "$dir/${signer%%:*}.key" &&
			gpg_in "$dir" --import "$dir/${signer%%:*}.key" 2>>"$dir/gpg.log"; then
			keys=$((keys + 1))
		fi
	done
	[ "$keys" -gt 0 ] ||
		die "linux-$KERNEL_VERSION.tar.xz of kernel.org is not used: no key to check its signature with, and no KERNEL_SHA256"
}

# signed_well DIR SIGNATURE TARBALL: a CHECK for fetch. What is signed is the archive
# before it was compressed.
signed_well() {
	local dir=$1 status signer
	status=$(xz -dc "$3" 2>>"$dir/gpg.log" |
		gpg_in "$dir" --status-fd 1 --verify "$2" - 2>>"$dir/gpg.log") || true
	# The last word of VALIDSIG is the fingerprint of the key that the signing one belongs to.
	for signer in $KERNEL_SIGNERS; do
		if grep -q '^\[GNUPG:\] GOODSIG ' <<<"$status" &&
			grep -q "^\[GNUPG:\] VALIDSIG .* ${signer%%:*}\$" <<<"$status"; then
			return
		fi
	done
	echo "it has no good signature by any of those who sign the kernel (KERNEL_SIGNERS in tools/kernel/versions.sh)"
	return 1
}
