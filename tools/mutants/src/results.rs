// SPDX-License-Identifier: GPL-2.0
//! What earlier runs found out, so that one can be taken up again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::verdict::Verdict;

/// One result, and what it is a result of.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    key: String,
    #[serde(flatten)]
    verdict: Verdict,
}

/// All results, by the mutant's name.
pub struct Results {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
}

impl Results {
    /// Those in `path`; none if there is no such file, or with `fresh`.
    pub fn read(path: &Path, fresh: bool) -> Result<Self> {
        let entries = if fresh || !path.exists() {
            BTreeMap::new()
        } else {
            serde_json::from_slice(&fs::read(path)?).with_context(|| path.display().to_string())?
        };
        Ok(Self {
            path: path.to_owned(),
            entries,
        })
    }

    /// The result of `id`, if it still is one of `key`.
    pub fn get(&self, id: &str, key: &str) -> Option<&Verdict> {
        self.entries
            .get(id)
            .filter(|entry| entry.key == key)
            .map(|entry| &entry.verdict)
    }

    /// Notes a result, at once on disk too.
    pub fn set(&mut self, id: &str, key: String, verdict: Verdict) -> Result<()> {
        self.entries.insert(id.to_owned(), Entry { key, verdict });
        let new = self.path.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(&self.entries)?)?;
        fs::rename(&new, &self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Status;

    #[test]
    fn a_result_outlives_the_run_but_not_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results");
        let verdict = Verdict {
            status: Status::Killed,
            by: vec!["t".to_owned()],
            seconds: 1.0,
        };
        Results::read(&path, false)
            .unwrap()
            .set("m", "k".to_owned(), verdict)
            .unwrap();
        let results = Results::read(&path, false).unwrap();
        assert_eq!(results.get("m", "k").unwrap().by, ["t"]);
        assert!(results.get("m", "l").is_none());
        assert!(Results::read(&path, true).unwrap().get("m", "k").is_none());
    }
}
