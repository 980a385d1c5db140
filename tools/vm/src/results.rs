// SPDX-License-Identifier: GPL-2.0
//! The results of a run in files that other programs read: KTAP, and JUnit's XML, which
//! the pages of continuous integration show.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report as JUnit, TestCase, TestCaseStatus, TestSuite};
use rfutex_guest::event::{Outcome, Verdict};
use rfutex_guest::ktap::Ktap;

/// The suite of those tests whose name has none.
const SUITE: &str = "selftests";

/// Writes `check.tap` and `check.xml` into `dir`.
pub fn write(dir: &Path, outcomes: &[Outcome]) -> Result<()> {
    let create = |name: &str| -> Result<_> {
        let path = dir.join(name);
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        Ok(BufWriter::new(file))
    };
    let mut ktap = Ktap::begin(create("check.tap")?, outcomes.len())?;
    for outcome in outcomes {
        ktap.result(outcome)?;
    }
    junit(outcomes).serialize(create("check.xml")?)?;
    Ok(())
}

/// A suite for each part that the names of tests begin with, up to the last slash.
fn junit(outcomes: &[Outcome]) -> JUnit {
    let mut suites: Vec<TestSuite> = Vec::new();
    for outcome in outcomes {
        let (suite, name) = outcome
            .name
            .rsplit_once('/')
            .unwrap_or((SUITE, &outcome.name));
        let found = suites.iter().position(|known| known.name.as_str() == suite);
        let index = found.unwrap_or_else(|| {
            suites.push(TestSuite::new(suite));
            suites.len() - 1
        });
        suites[index].add_test_case(case(suite, name, outcome));
    }
    let mut report = JUnit::new("rfutex");
    report.add_test_suites(suites);
    report
}

fn case(suite: &str, name: &str, outcome: &Outcome) -> TestCase {
    let status = match outcome.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(outcome.why.join("; "));
            status
        }
        Verdict::Failed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(outcome.why.join("; "));
            status.set_description(format!("{}\n{}", outcome.why.join("\n"), outcome.log));
            status
        }
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(suite);
    case.set_time(Duration::from_secs_f64(outcome.seconds.max(0.0)));
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn outcome(name: &str, verdict: Verdict) -> Outcome {
        Outcome {
            name: name.to_owned(),
            verdict,
            seconds: 1.5,
            why: vec!["why \"it\" is <so> & so".to_owned()],
            splats: Vec::new(),
            log: "a line \u{1b}[1m]]>\u{0}\nanother\n".to_owned(),
        }
    }

    #[test]
    fn a_parser_of_xml_finds_each_test_with_what_belongs_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let outcomes = [
            outcome("kunit/rfutex_key/equal", Verdict::Passed),
            outcome("plain/keys::a", Verdict::Failed),
            outcome("keys::b", Verdict::Skipped),
            outcome("kunit/rfutex_key/other", Verdict::Failed),
        ];
        write(dir.path(), &outcomes).unwrap();
        let text = fs::read_to_string(dir.path().join("check.xml")).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let root = document.root_element();
        assert_eq!(
            (root.attribute("tests"), root.attribute("failures")),
            (Some("4"), Some("2"))
        );

        let cases = root
            .descendants()
            .filter(|node| node.has_tag_name("testcase"));
        let found: Vec<_> = cases
            .map(|case| {
                let below = case.children().find(|node| node.is_element());
                let suite = case.parent().unwrap().attribute("name").unwrap();
                assert_eq!(case.attribute("classname"), Some(suite));
                assert_eq!(case.attribute("time"), Some("1.500"));
                let kind = below.map(|node| node.tag_name().name());
                (suite, case.attribute("name").unwrap(), kind)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("kunit/rfutex_key", "equal", None),
                ("kunit/rfutex_key", "other", Some("failure")),
                ("plain", "keys::a", Some("failure")),
                (SUITE, "keys::b", Some("skipped")),
            ]
        );
        for node in root.descendants() {
            if node.has_tag_name("failure") || node.has_tag_name("skipped") {
                assert_eq!(node.attribute("message"), Some("why \"it\" is <so> & so"));
            }
            if node.has_tag_name("failure") {
                let text = node.text().unwrap();
                assert!(
                    text.contains("a line ") && text.contains("\nanother"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn both_files_have_all_tests() {
        let dir = tempfile::tempdir().unwrap();
        let outcomes = [outcome("a", Verdict::Passed), outcome("b", Verdict::Failed)];
        write(dir.path(), &outcomes).unwrap();
        let tap = fs::read_to_string(dir.path().join("check.tap")).unwrap();
        assert!(
            tap.contains("\n1..2\nok 1 a\n") && tap.ends_with("\nnot ok 2 b\n"),
            "{tap}"
        );
        // A later run leaves nothing of an earlier one.
        write(dir.path(), &outcomes[..1]).unwrap();
        let tap = fs::read_to_string(dir.path().join("check.tap")).unwrap();
        assert_eq!(tap, "KTAP version 1\n1..1\nok 1 a\n");
    }
}
