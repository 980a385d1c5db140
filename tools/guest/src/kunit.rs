// SPDX-License-Identifier: GPL-2.0
//! KUnit's results: which cases ran in a suite, and which messages of the
//! kernel log are whose.

use std::collections::{BTreeMap, BTreeSet};
use std::{fs, io};

use rfutex_guest::event::Verdict;

use rfutex_guest::kmsg::Message;

const DIRECTORY: &str = "/sys/kernel/debug/kunit";

/// Which suites run when a module is loaded from now on: a pattern for their names.
const FILTER: &str = "/sys/module/kunit/parameters/filter_glob";

/// Has suites run, or none, when modules are loaded from now on.
pub fn run_at_load(suites: bool) -> io::Result<()> {
    match fs::write(FILTER, if suites { "*" } else { "none" }) {
        // A kernel without KUnit.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// One case of a suite, as KTAP reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it was skipped, and what it logged.
    pub remarks: Vec<String>,
}

/// The suites that the kernel knows now.
pub fn suites() -> BTreeSet<String> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The cases of `suite` that have run; `None` if the kernel has no such suite.
pub fn results(suite: &str) -> Option<Vec<Case>> {
    let ktap = fs::read_to_string(format!("{DIRECTORY}/{suite}/results")).ok()?;
    Some(parse(&ktap))
}

/// The result that a line of a suite's KTAP is: `    ok 2 NAME # SKIP why`.
fn result_line(line: &str) -> Option<(bool, &str, Option<&str>)> {
    let line = line.strip_prefix("    ")?;
    let (good, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (_, rest) = rest.split_once(' ')?;
    match rest.split_once(" # SKIP") {
        Some((name, why)) => Some((good, name.trim(), Some(why.trim()))),
        None => Some((good, rest.split(" # ").next()?.trim(), None)),
    }
}

fn parse(ktap: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut remarks = Vec::new();
    for line in ktap.lines() {
        let Some((good, name, skip)) = result_line(line) else {
            if line.starts_with("    #") || line.starts_with("     ") {
                remarks.push(line.trim().to_owned());
            }
            continue;
        };
        let verdict = match (good, skip) {
            (true, Some(_)) => Verdict::Skipped,
            (true, None) => Verdict::Passed,
            (false, _) => Verdict::Failed,
        };
        remarks.extend(skip.map(str::to_owned));
        cases.push(Case {
            name: name.to_owned(),
            verdict,
            remarks: std::mem::take(&mut remarks),
        });
    }
    cases
}

/// What the kernel log tells of a case.
#[derive(Default)]
pub struct Logged {
    /// What was logged while it ran.
    pub messages: Vec<Message>,
    /// How long it ran, in microseconds.
    pub micros: u64,
}

/// Messages of the kernel log, by the suite and case that was running.
#[derive(Default)]
pub struct Owned {
    /// Those of each case.
    pub cases: BTreeMap<(String, String), Logged>,
    /// Those of none.
    pub rest: Vec<Message>,
}

/// Finds out from KTAP's own lines among `messages` whose each is.
pub fn attribute(messages: Vec<Message>) -> Owned {
    let mut owned = Owned::default();
    let mut suite = None;
    let mut pending = Vec::new();
    // When what runs now began: with its suite, or as the case before it ended.
    let mut began = 0;
    for message in messages {
        let (text, micros) = (message.text.clone(), message.micros);
        pending.push(message);
        if let Some(name) = text.strip_prefix("    # Subtest: ") {
            suite = Some(name.trim().to_owned());
            owned.rest.append(&mut pending);
            began = micros;
        } else if let (Some(suite), Some((_, case, _))) = (&suite, result_line(&text)) {
            let key = (suite.clone(), case.to_owned());
            let logged = owned.cases.entry(key).or_default();
            logged.messages.append(&mut pending);
            logged.micros += micros.saturating_sub(began);
            began = micros;
        } else if text.starts_with("ok ") || text.starts_with("not ok ") {
            suite = None;
            owned.rest.append(&mut pending);
        }
    }
    owned.rest.append(&mut pending);
    owned
}

#[cfg(test)]
mod tests {
    use super::*;

    const KTAP: &str = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: rfutex_key\n    \
        1..3\n    ok 1 equal\n    # other: ASSERTION FAILED at rust/key.rs:9\n    not ok 2 other\n    \
        ok 3 third # SKIP no memory\n# rfutex_key: pass:1 fail:1 skip:1 total:3\nnot ok 1 rfutex_key\n";

    #[test]
    fn cases_and_their_remarks() {
        let cases = parse(KTAP);
        let names: Vec<_> = cases.iter().map(|c| (c.name.as_str(), c.verdict)).collect();
        assert_eq!(
            names,
            [
                ("equal", Verdict::Passed),
                ("other", Verdict::Failed),
                ("third", Verdict::Skipped)
            ]
        );
        assert_eq!(
            cases[1].remarks,
            ["# other: ASSERTION FAILED at rust/key.rs:9"]
        );
        assert_eq!(cases[2].remarks, ["no memory"]);
    }

    #[test]
    fn a_message_belongs_to_the_case_that_ends_next() {
        let texts = [
            "rfutex: loaded",
            "    # Subtest: rfutex_key",
            "    1..2",
            "    ok 1 equal",
            "WARNING: x",
            "    not ok 2 other",
            "not ok 1 rfutex_key",
            "BUG: late",
        ];
        let messages = texts.iter().enumerate().map(|(i, text)| Message {
            micros: i as u64,
            text: (*text).to_owned(),
        });
        let owned = attribute(messages.collect());
        let other = &owned.cases[&("rfutex_key".to_owned(), "other".to_owned())];
        assert_eq!(other.messages[0].text, "WARNING: x");
        // From the end of the case before it, whichever suite is looked at first.
        assert_eq!(other.micros, 2);
        assert_eq!(owned.rest.last().unwrap().text, "BUG: late");
        assert_eq!(owned.cases.len(), 2);
    }
}
