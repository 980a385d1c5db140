// SPDX-License-Identifier: GPL-2.0
//! A line of JSON for each figure, behind a mark that no other output begins
//! with.

use std::fmt;
use std::io::{self, Write};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::spread::Spread;

/// A file in the guest that is not in its memory: all zeros.
pub const PAGES_FILE: &str = "/images/pages";

/// Its length, in bytes.
pub const PAGES_LEN: u64 = 10 << 20;

/// Begins each line that is a record.
const MARK: &str = "@bench ";

/// How a figure was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Instructions of the one processor.
    Instructions,
    /// Nanoseconds, with several.
    Nanoseconds,
}

/// What somebody holds who sleeps on a word of a file: the module's parameter
/// `hold`, and its values.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// The file's inode, and so the file system.
    #[default]
    Inode,
    /// Nothing.
    Nothing,
}

impl Hold {
    /// The parameter's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inode => "inode",
            Self::Nothing => "nothing",
        }
    }
}

/// One operation, of what rfutex is compared with, and of rfutex with one of its resolvers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The operation.
    pub name: String,
    /// The memory of its words.
    pub memory: String,
    /// What rfutex is compared with: futex(2), if nothing else is said.
    pub contender: String,
    /// The resolver.
    pub resolver: String,
    /// What the module was loaded with.
    pub hold: Hold,
    /// What is counted.
    pub unit: Unit,
    /// The contender's.
    pub native: Spread,
    /// rfutex's.
    pub ours: Spread,
    /// rfutex's through the contender's, batch by batch.
    pub ratio: Spread,
}

/// What an experiment found out about one side in one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The experiment.
    pub experiment: String,
    /// The case.
    pub case: String,
    /// How much of what the case varies.
    pub x: Option<f64>,
    /// futex(2), or the resolver; or nobody, if nothing was done.
    pub side: String,
    /// What the module was loaded with.
    pub hold: Hold,
    /// The figures, by their names.
    pub figures: Vec<(String, f64)>,
}

impl Line {
    /// The figure `name`.
    pub fn figure(&self, name: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|figure| figure.0 == name);
        figure.map(|&(_, figure)| figure)
    }
}

/// What the benchmark tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// What a call costs that is known.
    Calibration {
        /// The call.
        name: String,
        /// Its instructions.
        insn: f64,
    },
    /// An operation.
    Row(Row),
    /// A part of an experiment.
    Line(Line),
    /// The module's functions: their addresses and names.
    Symbols(Vec<(u64, String)>),
    /// The operation that is to be looked at is repeated from now on.
    Repeating {
        /// The operation.
        name: String,
    },
}

impl Record {
    /// Writes it to standard output, at once.
    ///
    /// # Errors
    ///
    /// Those of the write.
    pub fn emit(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{MARK}{}", serde_json::to_string(self)?)?;
        out.flush()
    }

    /// The record that `line` carries, if it does.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim_end().strip_prefix(MARK)?).ok()
    }
}

/// What it is about, for a person who waits.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calibration { name, .. } | Self::Repeating { name } => f.write_str(name),
            Self::Row(row) => {
                let hold = row.hold.name();
                write!(f, "{} {} {} {hold}", row.name, row.memory, row.resolver)
            }
            Self::Line(line) => {
                let hold = line.hold.name();
                write!(f, "{} {} {} {hold}", line.experiment, line.case, line.side)?;
                line.x.map_or(Ok(()), |x| write!(f, " {x}"))
            }
            Self::Symbols(_) => f.write_str("symbols"),
        }
    }
}
