// SPDX-License-Identifier: GPL-2.0
//! `make coverage`: which lines of the module no test reaches.
//!
//! The tests of `make check` that run in a VM are run on instrumented builds of
//! the module (see Kbuild). The lines of both builds are put together: a line is
//! reached if one instruction of it is, in one of them.
//!
//! What only tests need is left out: `rust/lab/`, and the KUnit suites.

mod accepted;
mod blocks;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::session::{Places, guest_module};
use accepted::List;
use blocks::{Blocks, Line};

/// The builds of the module that are instrumented.
const BUILDS: [&str; 2] = ["lab", "module"];

/// What was reached of a module while it was loaded once, or some times in a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reached {
    /// The module's file in the guest.
    pub module: String,
    /// How many blocks it has.
    pub blocks: usize,
    /// The numbers of those that were reached.
    pub reached: Vec<usize>,
}

/// Where this is kept of the last run of all tests.
fn kept(places: &Places) -> PathBuf {
    places.build.join("coverage/reached.json")
}

/// Keeps what a run of all tests reached.
pub fn keep(places: &Places, reached: &[Reached]) -> Result<()> {
    let path = kept(places);
    fs::create_dir_all(path.parent().context("a file has a directory")?)?;
    fs::write(&path, serde_json::to_vec(reached)?).with_context(|| path.display().to_string())
}

/// Which lines have code, and whether a test reaches it.
#[derive(Clone, Debug, Default)]
pub struct Lines(BTreeMap<String, BTreeMap<u32, bool>>);

impl Lines {
    fn note(&mut self, line: &Line, reached: bool) {
        let file = self.0.entry(line.file.clone()).or_default();
        *file.entry(line.number).or_default() |= reached;
    }

    /// The lines of a build of the module.
    fn add(&mut self, blocks: &Blocks, reached: &[bool]) {
        for (lines, &reached) in blocks.lines.iter().zip(reached) {
            for line in lines {
                self.note(line, reached);
            }
        }
    }

    /// Without the lines that `keep` does not want.
    fn filter(&mut self, keep: impl Fn(&str, u32) -> bool) {
        for (file, lines) in &mut self.0 {
            lines.retain(|&number, _| keep(file, number));
        }
        self.0.retain(|_, lines| !lines.is_empty());
    }

    /// As lcov and its like read it.
    fn lcov(&self, top: &Path) -> String {
        let mut text = String::new();
        for (file, lines) in &self.0 {
            let _ = writeln!(text, "SF:{}", top.join(file).display());
            for (number, &reached) in lines {
                let _ = writeln!(text, "DA:{number},{}", u32::from(reached));
            }
            let hit = lines.values().filter(|reached| **reached).count();
            let _ = writeln!(text, "LF:{}\nLH:{hit}\nend_of_record", lines.len());
        }
        text
    }

    /// How many there are, and how many of them are reached.
    fn count(&self) -> (usize, usize) {
        let all = || self.0.values().flat_map(BTreeMap::values);
        (all().count(), all().filter(|reached| **reached).count())
    }
}

/// The module's source, by the names of its files from the top of the checkout.
struct Source(BTreeMap<String, Vec<String>>);

impl Source {
    fn read(top: &Path, files: impl Iterator<Item = String>) -> Result<Self> {
        let read = |name: String| {
            let path = top.join(&name);
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            Ok((
                name,
                text.lines().map(|line| line.trim().to_owned()).collect(),
            ))
        };
        files.map(read).collect::<Result<_>>().map(Self)
    }

    /// Whether a line is of the module, and not of its tests.
    fn is_tested(&self, top: &Path, file: &str, number: u32) -> bool {
        let of_tests = file.starts_with("rust/lab/")
            || file.ends_with("/tests.rs")
            || file.contains("/tests/");
        // A compiler may make a function once more where it is not inlined, and call that nowhere: so
        // its first and its last line say nothing. Those between them do.
        let text = &self.0[file][number as usize - 1];
        let is_edge = text.trim_matches(['{', '}', '(', ')', ';', ',']).is_empty()
            || text.split(' ').any(|word| word == "fn") && text.ends_with('{');
        if is_edge {
            return false;
        }
        // The suites in a file of something else are at its end.
        let suite = fs::read_to_string(top.join(file))
            .unwrap_or_default()
            .lines()
            .position(|line| line == "mod tests {");
        !of_tests && suite.is_none_or(|suite| (number as usize) <= suite)
    }
}

/// Judges what the tests have reached, with all that belongs to that written to
/// `build/coverage`. With `all`, the list of accepted lines has to fit. Returns
/// whether all is well.
pub fn report(places: &Places, top: &Path, reached: &[Reached], all: bool) -> Result<bool> {
    let mut lines = Lines::default();
    for build in BUILDS {
        let blocks = Blocks::of(&places.module(build), top)?;
        let name = guest_module(build);
        let mut flags = vec![false; blocks.lines.len()];
        for part in reached.iter().filter(|part| part.module == name) {
            anyhow::ensure!(
                part.blocks == flags.len(),
                "{build} had {} blocks when the tests ran, and has {} now",
                part.blocks,
                flags.len()
            );
            part.reached.iter().for_each(|&block| flags[block] = true);
        }
        lines.add(&blocks, &flags);
    }
    let source = Source::read(top, lines.0.keys().cloned())?;
    lines.filter(|file, number| source.is_tested(top, file, number));
    let path = places.build.join("coverage/rfutex.info");
    fs::create_dir_all(path.parent().context("a file has a directory")?)?;
    fs::write(&path, lines.lcov(top)).with_context(|| path.display().to_string())?;

    let list = List::read(&top.join(accepted::FILE))?;
    let complaints = list.judge(&lines, &source);
    let (nr, hit) = lines.count();
    println!(
        "coverage: {nr} lines with code, {hit} reached, for lcov in {}",
        path.display()
    );
    if !all {
        println!("coverage: not all tests ran, so the list of accepted lines is not looked at");
        return Ok(true);
    }
    complaints
        .iter()
        .for_each(|complaint| println!("{complaint}"));
    println!(
        "coverage: {} accepted, {} complaints",
        list.len(),
        complaints.len()
    );
    Ok(complaints.is_empty())
}

/// The same of what the last run of all tests reached.
pub fn report_again(places: &Places, top: &Path) -> Result<bool> {
    let path = kept(places);
    let text = fs::read(&path).with_context(|| {
        format!(
            "{} is missing: run `make coverage` without AGAIN=",
            path.display()
        )
    })?;
    report(places, top, &serde_json::from_slice::<Vec<_>>(&text)?, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u32) -> Line {
        Line {
            file: "rust/key.rs".to_owned(),
            number,
        }
    }

    #[test]
    fn a_line_is_reached_if_one_of_its_blocks_is() {
        let blocks = Blocks {
            lines: vec![
                [line(1), line(2)].into(),
                [line(2), line(3)].into(),
                [line(3)].into(),
            ],
        };
        let mut lines = Lines::default();
        lines.add(&blocks, &[true, false, false]);
        assert_eq!(lines.count(), (3, 2));
        // Another build reaches it.
        lines.add(&blocks, &[false, false, true]);
        assert_eq!(lines.count(), (3, 3));
    }

    #[test]
    fn lcov_has_each_line() {
        let mut lines = Lines::default();
        lines.note(&line(7), true);
        lines.note(&line(9), false);
        assert_eq!(
            lines.lcov(Path::new("/top")),
            "SF:/top/rust/key.rs\nDA:7,1\nDA:9,0\nLF:2\nLH:1\nend_of_record\n"
        );
    }

    #[test]
    fn what_counts() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("rust/lab")).unwrap();
        let text = "pub(crate) fn one() {\n    work();\n}\n\nmod tests {\n    work();\n}\n";
        let files = ["rust/one.rs", "rust/lab/two.rs", "rust/tests.rs"];
        for file in files {
            fs::create_dir_all(dir.path().join(file).parent().unwrap()).unwrap();
            fs::write(dir.path().join(file), text).unwrap();
        }
        let source = Source::read(dir.path(), files.map(str::to_owned).into_iter()).unwrap();
        let counts = |file, number| source.is_tested(dir.path(), file, number);
        let of_one: Vec<_> = (1..=7)
            .filter(|&number| counts("rust/one.rs", number))
            .collect();
        assert_eq!(of_one, [2], "neither edges nor tests");
        assert!(!counts("rust/lab/two.rs", 2) && !counts("rust/tests.rs", 2));
    }
}
