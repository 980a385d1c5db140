// SPDX-License-Identifier: GPL-2.0
//! `make bench-compare`: what a change of the module has done to what operations
//! cost.
//!
//! Instructions only: they are the same in each run. A program with two
//! threads may take some more or less from one boot to the next, and futex(2)
//! with it; so what is compared is the ratio to futex(2) of the same boot.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use rfutex_figures::record::Hold;

use super::results::{Results, Row};
use super::{Bench, Choice, table};
use crate::session::Places;

/// From which part on a change is one.
const THRESHOLD: f64 = 0.01;

/// What to compare with.
#[derive(Args, Clone, Debug)]
pub struct Base {
    /// What it is called
    #[arg(long, value_name = "REVISION")]
    base: String,
    /// Where its module is: module/ below it
    #[arg(long, value_name = "DIR")]
    base_modules: PathBuf,
    /// Only operations that have this in their names (may be given more than once)
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// With modules whose sleepers hold this
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Hold::Inode)]
    hold: Hold,
}

impl Bench<'_> {
    /// Measures both modules with this same program, and prints what changed.
    pub fn compare(&self, base: &Base) -> Result<bool> {
        let choice = Choice::quick(base.only.clone(), base.hold);
        let places = Places {
            modules: std::path::absolute(&base.base_modules)?,
            ..self.kernel.places.clone()
        };
        let old = Bench::new(self.options, &places, None, self.interrupt)?;
        let (before, good_before) = old.measure(&choice)?;
        let (after, good_after) = self.measure(&choice)?;
        ensure!(
            !before.is_empty() && !after.is_empty(),
            "nothing was measured"
        );
        print!("{}", Comparison::of(&base.base, &before, &after));
        Ok(good_before && good_after)
    }
}

/// One operation of both.
struct Pair<'a> {
    row: &'a Row,
    insn: [f64; 2],
    ratio: [f64; 2],
}

impl Pair<'_> {
    /// By which part the ratio has grown.
    fn change(&self) -> f64 {
        self.ratio[1] / self.ratio[0] - 1.0
    }

    fn verdict(&self) -> &'static str {
        match self.change() {
            change if change > THRESHOLD => "DEARER",
            change if change < -THRESHOLD => "cheaper",
            _ => "same",
        }
    }
}

/// All operations.
struct Comparison<'a> {
    base: &'a str,
    pairs: Vec<Pair<'a>>,
    /// Those that only one of both has.
    alone: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn of(base: &'a str, before: &'a Results, after: &'a Results) -> Self {
        let in_both = |row: &'a Row| {
            let old = before.rows.iter().find(|old| old.key() == row.key())?;
            Some(Pair {
                row,
                insn: [old.rfutex_insn?, row.rfutex_insn?],
                ratio: [old.insn_ratio?, row.insn_ratio?],
            })
        };
        let pairs: Vec<_> = after.rows.iter().filter_map(in_both).collect();
        let rows = before.rows.iter().chain(&after.rows);
        let mut alone: Vec<_> = rows
            .filter(|row| !pairs.iter().any(|pair| pair.row.key() == row.key()))
            .map(|row| row.key().join(" "))
            .collect();
        alone.dedup();
        Self { base, pairs, alone }
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = [
            "operation",
            "memory",
            "resolver",
            "hold",
            "insn before",
            "now",
            "ratio before",
            "now",
            "change",
            "",
        ];
        let mut table = table::new(&head, 4);
        for pair in &self.pairs {
            let [name, memory, resolver, hold] = pair.row.key();
            table.add_row([
                name.to_owned(),
                memory.to_owned(),
                resolver.to_owned(),
                hold.to_owned(),
                format!("{:.0}", pair.insn[0]),
                format!("{:.0}", pair.insn[1]),
                format!("{:.3}", pair.ratio[0]),
                format!("{:.3}", pair.ratio[1]),
                format!("{:+.1} %", pair.change() * 100.0),
                pair.verdict().to_owned(),
            ]);
        }
        writeln!(f, "{}", table.trim_fmt())?;
        for row in &self.alone {
            writeln!(f, "only in one of both: {row}")?;
        }
        let count = |verdict| {
            let pairs = self.pairs.iter();
            pairs.filter(|pair| pair.verdict() == verdict).count()
        };
        writeln!(
            f,
            "since {}: {} cheaper, {} dearer, {} the same within {} %",
            self.base,
            count("cheaper"),
            count("DEARER"),
            count("same"),
            THRESHOLD * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(rows: &[(&str, f64, f64)]) -> Results {
        let row = |&(name, native, ours): &(&str, f64, f64)| Row {
            name: name.to_owned(),
            rfutex_insn: Some(ours),
            insn_ratio: Some(ours / native),
            ..Row::default()
        };
        Results {
            rows: rows.iter().map(row).collect(),
            ..Results::default()
        }
    }

    #[test]
    fn changes_of_more_than_the_threshold_count() {
        let before = results(&[
            ("a", 100.0, 100.0),
            ("b", 100.0, 100.0),
            ("c", 100.0, 100.0),
        ]);
        let after = results(&[("a", 100.0, 98.0), ("b", 100.0, 100.9), ("c", 100.0, 102.0)]);
        let text = Comparison::of("x", &before, &after).to_string();
        assert!(text.ends_with("since x: 1 cheaper, 1 dearer, 1 the same within 1 %\n"));
    }

    #[test]
    fn a_boot_in_which_all_is_dearer_changes_nothing() {
        let before = results(&[("a", 100.0, 90.0)]);
        let after = results(&[("a", 104.0, 93.6)]);
        assert_eq!(
            Comparison::of("x", &before, &after).pairs[0].verdict(),
            "same"
        );
    }

    #[test]
    fn new_rows_are_named() {
        let comparison = |old, new| Comparison::of("x", old, new).alone;
        let (none, one) = (results(&[]), results(&[("a", 1.0, 1.0)]));
        assert_eq!(comparison(&none, &one), ["a   inode"]);
        assert_eq!(comparison(&one, &none), ["a   inode"]);
    }
}
