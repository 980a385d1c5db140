// SPDX-License-Identifier: GPL-2.0
//! What became of the mutants: a line for each as it is known, and a table.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use comfy_table::presets;

use crate::list::Mutant;
use crate::verdict::Verdict;

/// The results of one run.
pub struct Table {
    path: PathBuf,
    /// How many mutants there are in the list.
    all: usize,
    /// The lines of the table: row of the list, mutant, verdict, who noticed.
    lines: Vec<[String; 4]>,
    /// What is left to explain.
    bad: Vec<String>,
}

impl Table {
    /// An empty one, which is kept in a file; `all` mutants could be in it.
    pub fn new(path: &Path, all: usize) -> Self {
        Self {
            path: path.to_owned(),
            all,
            lines: Vec::new(),
            bad: Vec::new(),
        }
    }

    /// Prints what became of one mutant, and adds it to the table.
    pub fn add(&mut self, mutant: &Mutant, verdict: &Verdict) -> Result<()> {
        let word = match verdict.judge(mutant) {
            Ok(word) => word,
            Err(word) => {
                self.bad.push(format!("{word}: {}", mutant.id));
                word
            }
        };
        let why = match &mutant.survives {
            Some(reason) if verdict.by.is_empty() => format!("because {reason}"),
            _ => verdict.by.join(", "),
        };
        println!("{word:9} {:30} {}", mutant.id, mutant.what);
        if !why.is_empty() {
            let by = if verdict.by.is_empty() { "" } else { "by " };
            println!("{:10}{by}{why}", "");
        }
        self.lines
            .push([&mutant.row, &mutant.id, word, &why].map(str::to_owned));
        fs::write(&self.path, self.to_string()).with_context(|| self.path.display().to_string())
    }

    /// How many there are of each kind.
    fn totals(&self) -> String {
        let mut counts = BTreeMap::new();
        for [_, _, word, _] in &self.lines {
            *counts.entry(word).or_insert(0) += 1;
        }
        let counts = counts.iter().map(|(word, count)| format!("{count} {word}"));
        let counts: Vec<_> = counts.collect();
        let (done, all) = (self.lines.len(), self.all);
        format!("{done} of {all} mutants: {}", counts.join(", "))
    }

    /// Prints what is left to explain, and the totals. False if there is any.
    pub fn close(&self) -> bool {
        for line in &self.bad {
            println!("{line}");
        }
        println!("{}", self.totals());
        self.bad.is_empty()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut lines = self.lines.clone();
        lines.sort();
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(["about", "mutant", "verdict", "by"]);
        table.add_rows(lines);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f, "{}", self.totals())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Status;

    fn mutant(id: &str, survives: bool) -> Mutant {
        Mutant {
            id: id.to_owned(),
            row: "r".to_owned(),
            what: String::new(),
            edits: vec![],
            tests: vec![],
            litmus: None,
            fatal: false,
            alone: false,
            survives: survives.then(|| "so".to_owned()),
        }
    }

    #[test]
    fn a_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table");
        let mut table = Table::new(&path, 5);
        let verdict = |status, by: &[&str]| Verdict {
            status,
            by: by.iter().map(|&test| test.to_owned()).collect(),
            seconds: 0.0,
        };
        let killed = verdict(Status::Killed, &["t"]);
        table.add(&mutant("b", false), &killed).unwrap();
        let survived = verdict(Status::Survived, &[]);
        table.add(&mutant("a", true), &survived).unwrap();
        assert!(table.close());
        table.add(&mutant("c", false), &survived).unwrap();
        assert!(!table.close());
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "r      a       explained  because so");
        assert_eq!(lines[2], "r      b       killed     t");
        assert_eq!(
            lines[4],
            "3 of 5 mutants: 1 SURVIVED, 1 explained, 1 killed"
        );
    }
}
