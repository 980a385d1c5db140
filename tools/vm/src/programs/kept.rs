// SPDX-License-Identifier: GPL-2.0
//! What programs came to when they were run last: so that one of them can be run again, or all
//! be judged again, without running the others, which takes long.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::judge::Run;

/// A run of a program that consisted of certain files.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Entry {
    files: u64,
    run: Run,
}

/// The last run of each test.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
    /// What the files of each test are now ([`sum`]).
    files: BTreeMap<String, u64>,
}

impl Kept {
    /// Reads what is kept at `path`, if anything is. `files` has all tests.
    pub fn load(path: PathBuf, files: BTreeMap<String, u64>) -> Result<Self> {
        let entries = match fs::read(&path) {
            // What has another form is as good as nothing.
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Self {
            path,
            entries,
            files,
        })
    }

    /// The last run of a test, unless one of its files has changed since.
    pub fn run(&self, test: &str) -> Option<&Run> {
        let entry = self.entries.get(test)?;
        (self.files.get(test) == Some(&entry.files)).then_some(&entry.run)
    }

    /// Whether there is such a test.
    pub fn knows(&self, test: &str) -> bool {
        self.files.contains_key(test)
    }

    /// Adds the run of a test that there is, in place of the one before.
    pub fn add(&mut self, test: &str, run: Run) {
        if let Some(&files) = self.files.get(test) {
            self.entries.insert(test.to_owned(), Entry { files, run });
        }
    }

    /// Writes them all.
    pub fn write(&self) -> Result<()> {
        fs::write(&self.path, serde_json::to_vec(&self.entries)?)
            .with_context(|| self.path.display().to_string())
    }
}

/// A sum of what is in these files, and below these directories.
pub fn sum(paths: &[PathBuf]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        add(path, &mut hasher).with_context(|| path.display().to_string())?;
    }
    Ok(hasher.finish())
}

fn add(path: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    if !path.is_dir() {
        fs::read(path)?.hash(hasher);
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        entry.file_name().hash(hasher);
        add(&entry.path(), hasher)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_kept_until_something_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, parts) = (dir.path().join("kept.json"), dir.path().join("parts"));
        fs::create_dir(&parts).unwrap();
        fs::write(parts.join("a"), "1").unwrap();
        let files = || sum(std::slice::from_ref(&parts)).unwrap();
        let load = |files| Kept::load(path.clone(), BTreeMap::from([("x".to_owned(), files)]));

        let mut kept = load(files()).unwrap();
        assert!(kept.run("x").is_none());
        let run = Run {
            result: "7".to_owned(),
            ..Run::default()
        };
        assert!(kept.knows("x") && !kept.knows("y"));
        kept.add("x", run);
        kept.write().unwrap();
        let kept = load(files()).unwrap();
        assert_eq!(kept.run("x").unwrap().result, "7");

        fs::write(parts.join("a"), "2").unwrap();
        let changed = files();
        assert!(load(changed).unwrap().run("x").is_none());
        fs::rename(parts.join("a"), parts.join("b")).unwrap();
        assert_ne!(files(), changed);

        fs::write(&path, "{").unwrap();
        assert!(load(files()).unwrap().run("x").is_none());
    }
}
