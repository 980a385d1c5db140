// SPDX-License-Identifier: GPL-2.0
//! Has the text of the selftests begin where a huge page does, in the file as in memory: copied to
//! a tmpfs of huge pages, as the tests' runner does, it is mapped by a few page faults.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-Wl,-z,max-page-size=0x200000");
}
