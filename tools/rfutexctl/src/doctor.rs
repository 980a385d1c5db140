// SPDX-License-Identifier: GPL-2.0
//! `doctor`: what looks wrong, in words.
//!
//! Each file below looks for one kind of trouble, in records of waiters and in what [`Facts`] tells.

mod cycles;
mod pairs;
mod stale;
mod unmounted;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use ratatui::crossterm::terminal;
use serde::Serialize;
use textwrap::{WordSeparator, WordSplitter};

use crate::cli::Doctor;
use crate::facts::Facts;
use crate::filter::sort_by_age;
use crate::list::clean;
use crate::record::Record;
use crate::source::{Listing, Source};

/// How long the waiter of a changed word may take to be woken, before it is looked at again.
const SECOND_LOOK: Duration = Duration::from_millis(300);

/// The exit status if something looks wrong.
const FOUND: u8 = 3;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Two waiters on words that look the same and are not.
    DoNotMeet,
    /// Waiters that wait for each other to end.
    Cycle,
    /// A waiter whose word has another value by now.
    Changed,
    /// A waiter that keeps a file system that is not mounted any more.
    Unmounted,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DoNotMeet => "do-not-meet",
            Self::Cycle => "cycle",
            Self::Changed => "changed",
            Self::Unmounted => "unmounted",
        })
    }
}

/// Something that looks wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What kind of trouble it is.
    pub trouble: Trouble,
    /// What was found, and why it is trouble.
    pub text: String,
}

/// What looks wrong with the waiters of `first`. Those of `second` were there a moment later.
/// Words of those who have waited for less than `limit` are not looked at.
fn examine(
    first: &[Record],
    second: &[Record],
    holds: impl Fn(&str) -> bool,
    facts: &impl Facts,
    limit: Duration,
) -> Vec<Finding> {
    let mut findings = pairs::find(second, facts);
    findings.extend(cycles::find(second, facts));
    findings.extend(stale::find(first, second, facts, limit));
    findings.extend(unmounted::find(second, holds, facts));
    findings
}

/// Runs the command. Returns the exit status.
pub fn run(
    options: &Doctor,
    source: &mut impl Source,
    facts: &impl Facts,
    out: &mut impl Write,
) -> Result<u8> {
    let mut first = source.list()?;
    // What changes a word may be about to wake those who wait on it.
    thread::sleep(SECOND_LOOK);
    let mut second = source.list()?;
    for listing in [&mut first, &mut second] {
        sort_by_age(&mut listing.records);
    }
    let holds = |table: &str| second.holds_inodes(table);
    let findings = examine(
        &first.records,
        &second.records,
        holds,
        facts,
        options.older_than,
    );
    report(options, &findings, &second, width(), out)?;
    Ok(if findings.is_empty() { 0 } else { FOUND })
}

/// How many columns there are. Without a terminal each finding is one line, for other programs.
fn width() -> Option<usize> {
    let size = io::stdout().is_terminal().then(terminal::size)?;
    // A terminal that does not know its size says 0.
    size.ok()
        .map(|(columns, _)| columns.into())
        .filter(|&columns| columns > 0)
}

fn wrapped(text: &str, width: Option<usize>) -> String {
    // A path that was cut at a hyphen could not be copied.
    let options = textwrap::Options::new(width.unwrap_or(usize::MAX))
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

fn report(
    options: &Doctor,
    findings: &[Finding],
    listing: &Listing,
    width: Option<usize>,
    out: &mut impl Write,
) -> Result<()> {
    if options.json {
        serde_json::to_writer_pretty(&mut *out, findings)?;
        writeln!(out)?;
        return Ok(());
    }
    for Finding { trouble, text } in findings {
        let text = wrapped(&clean(&format!("{trouble}: {text}")), width);
        writeln!(out, "{text}\n")?;
    }
    let looked = match listing.records.len() {
        1 => "1 waiter was looked at".to_owned(),
        n => format!("{n} waiters were looked at"),
    };
    match findings.len() {
        0 => writeln!(out, "{looked}, and nothing looks wrong.")?,
        1 => writeln!(out, "{looked}, and 1 thing looks wrong.")?,
        n => writeln!(out, "{looked}, and {n} things look wrong.")?,
    }
    for note in &listing.notes {
        writeln!(out, "{note}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::MadeUp;
    use crate::record::tests::record;
    use crate::source::tests::MadeUpSource;

    fn run_on(options: &Doctor, records: Vec<Record>) -> (u8, String) {
        let mut source = MadeUpSource(records);
        let facts = MadeUp {
            mounted: [(0, 25)].into(),
            ..MadeUp::default()
        };
        let mut out = Vec::new();
        let status = run(options, &mut source, &facts, &mut out).unwrap();
        (status, String::from_utf8(out).unwrap())
    }

    #[test]
    fn nothing_wrong_is_said_and_is_success() {
        let said = run_on(&Doctor::default(), vec![record()]);
        let text = "1 waiter was looked at, and nothing looks wrong.\n";
        assert_eq!(said, (0, text.to_owned()));
    }

    #[test]
    fn findings_fit_on_the_terminal() {
        let text = "changed: process 100 waits on /dev/shm/a-word:0x10";
        assert_eq!(wrapped(text, None), text);
        let lines = wrapped(text, Some(26));
        let expected = "changed: process 100 waits\non /dev/shm/a-word:0x10";
        assert_eq!(lines, expected);
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        let named = Record {
            comm: "a\u{1b}[2J".to_owned(),
            ..record()
        };
        let copied = Record {
            object: 9,
            process: Some(200),
            ..named.clone()
        };
        let (_, text) = run_on(&Doctor::default(), vec![named, copied]);
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn findings_have_an_exit_status_of_their_own() {
        let copied = Record {
            object: 9,
            process: Some(200),
            thread: Some(200),
            ..record()
        };
        let (status, text) = run_on(&Doctor::default(), vec![record(), copied.clone()]);
        assert_eq!(status, FOUND);
        assert!(text.starts_with("do-not-meet: "), "{text}");
        assert!(text.ends_with("2 waiters were looked at, and 1 thing looks wrong.\n"));
        let json = Doctor {
            json: true,
            ..Doctor::default()
        };
        let (status, text) = run_on(&json, vec![record(), copied]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (status, value[0]["trouble"].as_str()),
            (FOUND, Some("do-not-meet"))
        );
    }
}
