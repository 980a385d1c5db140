# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the set-up fetches. Each version is the one that was tried. The checksums of
# Debian's packages are in the file pins, which pin.sh writes: with them, what a
# mirror has no more is taken from the archive of Debian's snapshots.


# The kernels, newest first. RFUTEX_KERNEL names the series of another one than the
# first; make has it from KERNEL=.
KERNELS='7.3.4 7.2.12'
KERNEL_SERIES=${RFUTEX_KERNEL:-7.3}
KERNEL_VERSION=
for kernel in $KERNELS; do
	[[ $kernel != "$KERNEL_SERIES".* ]] || KERNEL_VERSION=$kernel
done
unset -v kernel
DEBIAN_SUITE=trixie-backports

# The SHA256 of kernel.org's linux-$KERNEL_VERSION.tar.xz, if somebody knows it: see
# sha256sums.asc there. Without it, whose signature kernel.org's release has to have:
# the fingerprint, and the key's name in kernel.org's Web Key Directory
# (gpg --with-wkd-hash). These two sign the stable releases: Greg Kroah-Hartman and
# Sasha Levin.
KERNEL_SHA256=${KERNEL_SHA256:-}
KERNEL_SIGNERS='
647F28654894E3BD457199BE38DBBDC86092693E:e3n9xnm94c5apezqnj1pmrfuaoyfm8cf?l=gregkh
E27E5D8A3403A2EF66873BBCDEA66FF797772CDC:7j1cnb5wfkj3ts7cgy4xz1gwsz9xs5mj?l=sashal
'

# Unless it can be the one that rustc has: see llvm_version in lib.sh.
LLVM_VERSION=19
# What the programs need (tools/Cargo.toml); the kernel would do with 1.85.
RUSTC_MIN=1.88.0
# The one that was tried last.
RUSTC_VERSION=1.95.0
BINDGEN_VERSION=0.72.1
BINDGEN_MIN=0.71.1
VIRTIOFSD_VERSION=1.14.0
VIRTME_NG_VERSION=1.42

# The suite that has the programs for an emulated 64-bit ARM machine.
ARM64_SUITE=trixie

# What the litmus tests are run with, and a suite that has it.
HERD_VERSION=7.58
HERD_SUITE=forky
