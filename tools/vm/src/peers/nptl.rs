// SPDX-License-Identifier: GPL-2.0
//! The C library's own tests of its threads (`tools/peers/glibc.sh`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rfutex_guest::plan::{Place, Stage};

use super::{Boot, SIDES};
use crate::root::Root;

/// Where they are in the guest. They write there, too.
const DIRECTORY: &str = "/nptl";

/// How their names begin in the table.
pub const NAME: &str = "nptl ";

/// What redirects them.
const RUN: [&str; 4] = ["/peers/rfutexctl", "run", "--require", "--"];

/// What one of them opens by name, beside the C library itself.
const OPENED: &str = "libpthread.so.0";

/// By how much their time limits are longer than on a processor of its own speed.
const TIMEOUTFACTOR: &str = "5";

/// The tests that were built, by their names, and those that were not.
#[derive(Debug)]
pub struct Nptl {
    tests: Vec<String>,
    /// A line for each reason.
    pub left_out: Vec<String>,
}

impl Nptl {
    /// Those in a directory. Each has a script, NAME.out, that runs it.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut tests = Vec::new();
        for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".out"));
            tests.extend(name.map(str::to_owned));
        }
        ensure!(!tests.is_empty(), "no test is in {}", dir.display());
        tests.sort();
        let file = dir.join("left-out");
        let left_out = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let left_out = left_out.lines().map(str::to_owned).collect();
        Ok(Self { tests, left_out })
    }

    /// Adds them to the guest's root, from the same directory, with the libraries that they need.
    /// Returns the directories in which all this is.
    pub fn add(&self, root: &Root, dir: &Path) -> Result<BTreeSet<PathBuf>> {
        let mut directories = BTreeSet::from([PathBuf::from(DIRECTORY)]);
        for entry in fs::read_dir(dir)? {
            let file = entry?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if !self.tests.iter().any(|test| *test == name) {
                root.add_file(&file, &format!("{DIRECTORY}/{name}"))?;
                continue;
            }
            let libraries = root.add_dynamic(&file, DIRECTORY)?;
            let theirs = libraries.iter().filter_map(|library| library.parent());
            directories.extend(theirs.filter(|&at| at != dir).map(Path::to_owned));
        }
        for at in &directories {
            let file = at.join(OPENED);
            if file.exists() {
                root.add_file(&file, &file.to_string_lossy())?;
            }
        }
        Ok(directories)
    }

    /// The tests, each on both sides.
    pub fn stages(&self, boot: &Boot, wanted: impl Fn(&str) -> bool) -> Vec<Stage> {
        let mut stages = Vec::new();
        for test in &self.tests {
            let name = format!("{NAME}{test}");
            if !wanted(&name) {
                continue;
            }
            for side in SIDES {
                stages.push(stage(boot, side, test, &name));
            }
        }
        stages
    }
}

/// A test on one side.
fn stage(boot: &Boot, side: &str, test: &str, name: &str) -> Stage {
    let script = format!("{DIRECTORY}/{test}.out");
    let mut argv = vec!["/bin/sh".to_owned(), script];
    let mut env = vec![("TIMEOUTFACTOR".to_owned(), TIMEOUTFACTOR.to_owned())];
    if side != SIDES[0] {
        argv.extend(RUN.map(str::to_owned));
        env.push(("RFUTEX_PRELOAD_STATS".to_owned(), "1".to_owned()));
        env.push(("RFUTEX_PRELOAD_CACHE".to_owned(), DIRECTORY.to_owned()));
    }
    Stage::Peer {
        name: format!("{}/{side}/{name}", boot.name),
        argv,
        place: Place {
            env,
            ..Place::default()
        },
        limit: boot.limit(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::BOOTS;
    use super::*;

    /// A directory with two tests, and more.
    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("b.out", ""),
            ("b", ""),
            ("a.out", ""),
            ("mod.so", ""),
            ("left-out", "2 are static: c d\n0 are other:\n"),
        ] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        dir
    }

    #[test]
    fn what_was_built() {
        let dir = directory();
        let nptl = Nptl::read(dir.path()).unwrap();
        assert_eq!(nptl.tests, ["a", "b"]);
        assert_eq!(nptl.left_out, ["2 are static: c d", "0 are other:"]);
        fs::remove_file(dir.path().join("left-out")).unwrap();
        assert!(
            Nptl::read(dir.path()).is_err(),
            "nobody says what is left out"
        );
        let none = tempfile::tempdir().unwrap();
        assert!(Nptl::read(none.path()).is_err());
    }

    #[test]
    fn both_sides_of_those_that_are_wanted() {
        let nptl = Nptl::read(directory().path()).unwrap();
        let stages = nptl.stages(&BOOTS[1], |name| name == "nptl b");
        let peers: Vec<_> = stages
            .iter()
            .map(|stage| match stage {
                Stage::Peer {
                    name, argv, place, ..
                } => (name.as_str(), &argv[1..], place.env.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        let script = "/nptl/b.out".to_owned();
        let mut redirected = vec![script.clone()];
        redirected.extend(RUN.map(str::to_owned));
        assert_eq!(
            peers,
            [
                ("slow cpu/futex(2)/nptl b", &[script][..], 1),
                ("slow cpu/rfutex/nptl b", &redirected[..], 3),
            ]
        );
    }
}
