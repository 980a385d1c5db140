// SPDX-License-Identifier: GPL-2.0
//! The samples: those in C and C++ are built as a user builds them, and all of
//! them have to print in the VM what `samples/outputs.toml` says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rfutex_guest::plan::Stage;

use crate::host;
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::root::Root;
use crate::session::Places;

/// The compilers that build the samples in C and C++. What those of the first
/// pair have built runs in the VM.
const COMPILERS: &[(&str, &str)] = &[("cc", "c++"), ("clang", "clang++")];

/// The file, among the samples, that says what each of them prints.
const OUTPUTS: &str = "outputs.toml";

/// What the names of all tests that run a sample begin with.
const PREFIX: &str = "samples/";

/// The samples of a checkout.
pub struct Samples<'a> {
    places: &'a Places,
    dir: PathBuf,
    only: &'a [String],
}

impl<'a> Samples<'a> {
    /// Those below `top` whose tests have one of `only` in their names; all of them
    /// if that is empty.
    pub fn new(places: &'a Places, top: &Path, only: &'a [String]) -> Self {
        Self {
            places,
            dir: top.join("samples"),
            only,
        }
    }

    /// Builds those in C and C++, a test for each pair of compilers.
    pub fn build(&self, limit: Duration, interrupt: &Interrupt, report: &mut Report) -> Result<()> {
        for (c, cxx) in COMPILERS {
            let out = self.built_by(c);
            // What is there in the end was built now.
            if out.exists() {
                fs::remove_dir_all(&out)?;
            }
            let mut make = Command::new("make");
            make.arg("--no-print-directory")
                .arg("-C")
                .arg(&self.dir)
                .arg(format!("O={}", out.display()))
                .arg(format!("CC={c}"))
                .arg(format!("CXX={cxx}"));
            let name = format!("host/samples/{c}");
            host::test(&mut make, name, limit, interrupt, report, |_| true)?;
        }
        Ok(())
    }

    /// Whether there are any.
    pub fn any(&self) -> Result<bool> {
        Ok(self.all()?.keys().any(|name| self.wants(name)))
    }

    /// Whether this one is to run.
    fn wants(&self, name: &str) -> bool {
        let test = format!("{PREFIX}{name}");
        self.only.is_empty() || self.only.iter().any(|part| test.contains(part.as_str()))
    }

    /// The files of all samples' programs, by name, whether they were built or not.
    fn all(&self) -> Result<BTreeMap<String, PathBuf>> {
        let built = self.built_by(COMPILERS[0].0);
        let rust = (self.dir.join("src/bin"), self.places.programs.clone(), "rs");
        let c = (self.dir.clone(), built.clone(), "c");
        let cxx = (self.dir.clone(), built, "cc");
        let mut all = BTreeMap::new();
        for (sources, programs, kind) in [c, cxx, rust] {
            let names = names(&sources, kind)?;
            ensure!(!names.is_empty(), "no sample in {}", sources.display());
            for name in names {
                let program = programs.join(&name);
                let other = all.insert(name.clone(), program);
                ensure!(other.is_none(), "two samples have the name {name}");
            }
        }
        Ok(all)
    }

    /// Adds those that were built to `root`. The tests that run them, each of
    /// which fails if its program is not there.
    pub fn add(&self, root: &Root, limit: u64) -> Result<Vec<Stage>> {
        let mut outputs = self.outputs()?;
        let mut stages = Vec::new();
        for (name, program) in self.all()? {
            let output = outputs
                .remove(&name)
                .with_context(|| format!("{OUTPUTS} does not have {name}"))?;
            if !self.wants(&name) {
                continue;
            }
            if program.exists() {
                root.add_program(&program)?;
            }
            stages.push(Stage::Script {
                name: format!("{PREFIX}{name}"),
                script: format!("/bin/{name}"),
                output: Some(output),
                limit,
            });
        }
        let gone: Vec<_> = outputs.into_keys().collect();
        ensure!(
            gone.is_empty(),
            "{OUTPUTS} has {gone:?}, which are no samples"
        );
        Ok(stages)
    }

    /// What each sample has to print.
    fn outputs(&self) -> Result<BTreeMap<String, String>> {
        let file = self.dir.join(OUTPUTS);
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        toml::from_str(&text).with_context(|| file.display().to_string())
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
