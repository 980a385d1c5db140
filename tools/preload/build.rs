// SPDX-License-Identifier: GPL-2.0
//! Gives what makes the code of redirected libraries a version, by which kept code is known: a number
//! that is another one whenever a source file changes that the code may depend on.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    // What finds out what there is to redirect, makes the code and keeps it; and the version of
    // what decodes and encodes instructions.
    let directories = ["../redirect/src", "src/redirect"];
    let mut files = vec!["../Cargo.lock".into(), "src/redirect.rs".into()];
    for directory in directories {
        println!("cargo::rerun-if-changed={directory}");
        for entry in fs::read_dir(directory)? {
            files.push(entry?.path());
        }
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files.iter().filter(|file| file.is_file()) {
        println!("cargo::rerun-if-changed={}", file.display());
        fs::read(file)?.hash(&mut hasher);
    }
    let to = env::var_os("OUT_DIR").expect("cargo sets it");
    let version = format!("{:#x}", hasher.finish());
    fs::write(std::path::Path::new(&to).join("version"), version)
}
