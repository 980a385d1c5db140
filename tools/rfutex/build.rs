// SPDX-License-Identifier: MIT OR Apache-2.0
//! Generates the bindings from the module's C header.

use bindgen::callbacks::{IntKind, ParseCallbacks};
use std::env;
use std::path::PathBuf;

const HEADER: &str = "../../include/uapi/linux/rfutex.h";

/// Gives the 64-bit constants their type; bindgen goes by the value alone.
#[derive(Debug)]
struct Types;

impl ParseCallbacks for Types {
    fn int_macro(&self, name: &str, _value: i64) -> Option<IntKind> {
        ["RFUTEX_FEATURE_", "RFUTEX_MASK_", "RFUTEX_ARENA_MAX"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            .then_some(IntKind::U64)
    }
}

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo::rerun-if-changed={HEADER}");
    bindgen::Builder::default()
        .header(HEADER)
        .allowlist_file(".*/rfutex\\.h")
        // The ioctl numbers are function-like macros over sizeof: clang itself
        // evaluates them.
        .clang_macro_fallback()
        .clang_macro_fallback_build_dir(&out)
        .parse_callbacks(Box::new(Types))
        .derive_default(true)
        .derive_eq(true)
        .generate()
        .expect("bindings of the interface header")
        .write_to_file(out.join("uapi.rs"))
        .expect("bindings written");
}
