// SPDX-License-Identifier: GPL-2.0
//! A copy of what the module is built from, in which the changes are made.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::list::Mutant;

/// What is copied: the module, and what runs the litmus tests.
const PARTS: &[&str] = &[
    "Makefile",
    "Kbuild",
    "include",
    "rust",
    "tools/kernel",
    "tools/litmus",
    "tools/litmus.sh",
];

/// The copy.
pub struct Tree {
    dir: PathBuf,
}

impl Tree {
    /// Makes it, or brings it up to date; what an interrupted run left changed
    /// is as it was again.
    pub fn copy(top: &Path, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        // A file that is changed back is newer than what was built from the
        // change: times are not copied.
        let status = Command::new("rsync")
            .args(["--recursive", "--links", "--perms"])
            .args(["--relative", "--delete", "--checksum"])
            .args(PARTS)
            .arg(dir)
            .current_dir(top)
            .status()
            .context("rsync cannot be run")?;
        ensure!(status.success(), "copying the tree failed");
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The files that the mutant changes, each with its changed text.
    pub fn changed(&self, mutant: &Mutant) -> Result<BTreeMap<PathBuf, String>> {
        let mut files = BTreeMap::new();
        for edit in &mutant.edits {
            let path = self.dir.join(&edit.file);
            let text = match files.remove(&path) {
                Some(text) => text,
                None => fs::read_to_string(&path).with_context(|| edit.file.clone())?,
            };
            let count = text.matches(&edit.find).count();
            ensure!(
                count == 1,
                "{} has this {count} times, not once:\n{}",
                edit.file,
                edit.find
            );
            files.insert(path, text.replace(&edit.find, &edit.replace));
        }
        Ok(files)
    }

    /// Makes the change, calls `f`, and takes the change back.
    pub fn with<T>(&mut self, mutant: &Mutant, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let changed = self.changed(mutant)?;
        let mut originals = Vec::new();
        for (path, text) in &changed {
            originals.push((path, fs::read(path)?));
            fs::write(path, text)?;
        }
        let result = f();
        for (path, original) in originals {
            fs::write(path, original)?;
        }
        result
    }

    /// Stands for the mutant and the files that it changes: an earlier result
    /// with the same key is not looked for again.
    pub fn key(&self, mutant: &Mutant) -> Result<String> {
        let mut hash = DefaultHasher::new();
        serde_json::to_vec(mutant)?.hash(&mut hash);
        for text in self.changed(mutant)?.values() {
            text.hash(&mut hash);
        }
        Ok(format!("{:016x}", hash.finish()))
    }

    /// Stands for the module as it is.
    pub fn key_of_all(&self) -> Result<String> {
        let mut hash = DefaultHasher::new();
        for part in ["Kbuild", "include", "rust"] {
            add(&self.dir.join(part), &mut hash)?;
        }
        Ok(format!("{:016x}", hash.finish()))
    }
}

/// Adds a file, or all files below a directory in the order of their names.
fn add(path: &Path, hash: &mut DefaultHasher) -> Result<()> {
    if !path.is_dir() {
        fs::read(path)?.hash(hash);
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| add(entry, hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::{Edit, List};

    fn mutant(find: &str) -> Mutant {
        let edit = |find: &str, replace: &str| Edit {
            file: "f".to_owned(),
            find: find.to_owned(),
            replace: replace.to_owned(),
        };
        Mutant {
            id: "m".to_owned(),
            row: "r".to_owned(),
            what: "w".to_owned(),
            edits: vec![edit(find, "X"), edit("three", "3")],
            tests: vec![],
            litmus: None,
            fatal: false,
            alone: false,
            survives: None,
        }
    }

    #[test]
    fn every_change_of_the_list_can_be_made() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let list = List::read(&top.join("tools/mutants/list")).unwrap();
        let tree = Tree { dir: top };
        let stale: Vec<_> = list
            .chosen(&[])
            .unwrap()
            .iter()
            .filter_map(|mutant| tree.changed(mutant).err().map(|error| (&mutant.id, error)))
            .collect();
        assert!(stale.is_empty(), "{stale:#?}");
    }

    #[test]
    fn a_change_is_made_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "one two two three").unwrap();
        let mut tree = Tree {
            dir: dir.path().to_owned(),
        };
        let seen = tree
            .with(&mutant("one"), || Ok(fs::read_to_string(&file)?))
            .unwrap();
        assert_eq!(seen, "X two two 3");
        assert_eq!(fs::read_to_string(&file).unwrap(), "one two two three");
        assert!(tree.changed(&mutant("two")).is_err());
        assert!(tree.changed(&mutant("four")).is_err());
        assert_ne!(
            tree.key(&mutant("one")).unwrap(),
            tree.key(&mutant("one ")).unwrap()
        );
    }
}
