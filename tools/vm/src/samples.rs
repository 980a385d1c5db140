// SPDX-License-Identifier: GPL-2.0
//! The samples: the C ones are built as a user builds them, and all of them
//! have to do in the VM what they show.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rfutex_guest::plan::Stage;

use crate::host;
use crate::report::Report;
use crate::root::Root;
use crate::session::Places;

/// The compilers that build the C samples. Those of the first run in the VM.
const COMPILERS: &[&str] = &["cc", "clang"];

/// The samples of a checkout.
pub struct Samples<'a> {
    places: &'a Places,
    dir: PathBuf,
}

impl<'a> Samples<'a> {
    /// Those below `top`.
    pub fn new(places: &'a Places, top: &Path) -> Self {
        Self {
            places,
            dir: top.join("samples"),
        }
    }

    /// Builds the C samples, a test for each compiler.
    pub fn build(&self, limit: Duration, report: &mut Report) -> Result<()> {
        for compiler in COMPILERS {
            let out = self.built_by(compiler);
            // What is there in the end was built now.
            if out.exists() {
                fs::remove_dir_all(&out)?;
            }
            let mut make = Command::new("make");
            make.arg("--no-print-directory")
                .arg("-C")
                .arg(&self.dir)
                .arg(format!("O={}", out.display()))
                .arg(format!("CC={compiler}"));
            let name = format!("host/samples/{compiler}");
            host::test(&mut make, name, limit, report, |_| true)?;
        }
        Ok(())
    }

    /// Adds all that were built to `root`. The tests that run them, each of
    /// which fails if its program is not there.
    pub fn add(&self, root: &Root, limit: u64) -> Result<Vec<Stage>> {
        let c = (self.dir.clone(), self.built_by(COMPILERS[0]), "c");
        let rust = (self.dir.join("src/bin"), self.places.programs.clone(), "rs");
        let mut stages = Vec::new();
        for (sources, programs, kind) in [c, rust] {
            let names = names(&sources, kind)?;
            ensure!(!names.is_empty(), "no sample in {}", sources.display());
            for name in names {
                let program = programs.join(&name);
                if program.exists() {
                    root.add_program(&program)?;
                }
                stages.push(Stage::Script {
                    name: format!("samples/{name}"),
                    script: format!("/bin/{name}"),
                    limit,
                });
            }
        }
        Ok(stages)
    }

    fn built_by(&self, compiler: &str) -> PathBuf {
        self.places.build.join("samples").join(compiler)
    }
}

/// The programs whose sources are in `dir`: files of this kind, and directories
/// that have a main file of it.
fn names(dir: &Path, kind: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_file = path.extension().is_some_and(|extension| extension == kind);
        if is_file || path.join("main").with_extension(kind).exists() {
            let name = path.file_stem().context("a sample needs a name")?;
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_directories_are_programs() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["b.rs", "a/main.rs", "c/other.rs", "d.c"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(names(dir.path(), "rs").unwrap(), ["a", "b"]);
        assert_eq!(names(dir.path(), "c").unwrap(), ["d"]);
    }
}
