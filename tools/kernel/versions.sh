# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the set-up fetches. Each version is the one that was tried; where a
# mirror has it no more, source.sh takes the newest of the same series.

KERNEL_SERIES=7.3
KERNEL_VERSION=7.3.4
DEBIAN_SUITE=trixie-backports

# Unless it can be the one that rustc has: see llvm_version in lib.sh.
LLVM_VERSION=19
# What the programs need (tools/Cargo.toml); the kernel would do with 1.85.
RUSTC_MIN=1.88.0
BINDGEN_VERSION=0.72.1
BINDGEN_MIN=0.71.1
VIRTIOFSD_VERSION=1.14.0
VIRTME_NG_VERSION=1.42

# What the litmus tests are run with, and a suite that has it.
HERD_VERSION=7.58
HERD_SUITE=forky
