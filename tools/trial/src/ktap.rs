// SPDX-License-Identifier: GPL-2.0
//! Outcomes in the format of the kernel's own tests, KTAP
//! (`Documentation/dev-tools/ktap.rst` of the kernel): a result a line, and before
//! that of a test that failed its output, as diagnostic lines.

use std::io::{self, Write};

use crate::outcome::{Outcome, Verdict};

/// Writes KTAP.
pub struct Ktap<W: Write> {
    out: W,
    written: usize,
}

impl<W: Write> Ktap<W> {
    /// Begins with the version and the plan: `total` results will be written.
    pub fn begin(mut out: W, total: usize) -> io::Result<Self> {
        writeln!(out, "KTAP version 1\n1..{total}")?;
        out.flush()?;
        Ok(Self { out, written: 0 })
    }

    /// Writes one result.
    pub fn result(&mut self, outcome: &Outcome) -> io::Result<()> {
        self.written += 1;
        let (number, name) = (self.written, description(&outcome.name));
        match outcome.verdict {
            Verdict::Passed => writeln!(self.out, "ok {number} {name}")?,
            Verdict::Skipped => {
                let why = one_line(&outcome.why.join("; "));
                writeln!(self.out, "ok {number} {name} # SKIP {why}")?;
            }
            Verdict::Failed => {
                for line in outcome.why.iter().flat_map(|why| why.lines()) {
                    writeln!(self.out, "# {}", one_line(line))?;
                }
                for line in outcome.log.lines() {
                    writeln!(self.out, "# | {}", one_line(line))?;
                }
                writeln!(self.out, "not ok {number} {name}")?;
            }
        }
        self.out.flush()
    }
}

/// A test's name: a `#` in it would begin a directive.
fn description(name: &str) -> String {
    one_line(name).replace('#', "_")
}

/// The text without what would end its line, or does something to a terminal.
fn one_line(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\t' { ' ' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn outcome(name: &str, verdict: Verdict) -> Outcome {
        Outcome {
            name: name.to_owned(),
            verdict,
            seconds: 0.5,
            why: vec!["first line\nok 9 of why".to_owned()],
            splats: Vec::new(),
            log: "not ok 1 \u{1b}[1mof the log\r\n1..7\n".to_owned(),
        }
    }

    fn written(outcomes: &[Outcome]) -> String {
        let mut out = Vec::new();
        let mut ktap = Ktap::begin(&mut out, outcomes.len()).unwrap();
        outcomes.iter().for_each(|one| ktap.result(one).unwrap());
        String::from_utf8(out).unwrap()
    }

    /// Perl's own parser of TAP, whose records are printed: the kind, then for a
    /// result its number, what it counts as, its description and its directive.
    const PARSER: &str = r#"
        use TAP::Parser;
        local $/;
        my $parser = TAP::Parser->new({ tap => <STDIN> });
        while (my $record = $parser->next) {
            if ($record->is_test) {
                print join("|", "test", $record->number, $record->is_ok ? "ok" : "not ok",
                    $record->description, $record->directive, $record->explanation), "\n";
            } elsif ($record->is_plan) {
                print "plan|", $record->tests_planned, "\n";
            }
        }
        print "errors|", scalar($parser->parse_errors), "\n";
    "#;

    fn parsed(tap: &str) -> String {
        let mut perl = Command::new("perl")
            .args(["-e", PARSER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = perl.stdin.take().unwrap();
        stdin.write_all(tap.as_bytes()).unwrap();
        drop(stdin);
        let output = perl.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_parser_finds_the_results_and_nothing_else() {
        let tap = written(&[
            outcome("kunit/rfutex_key/equal", Verdict::Passed),
            outcome("keys::a # TODO of another kind", Verdict::Failed),
            outcome("keys::b", Verdict::Skipped),
        ]);
        assert_eq!(
            parsed(&tap),
            "plan|3\n\
            test|1|ok|kunit/rfutex_key/equal||\n\
            test|2|not ok|keys::a _ TODO of another kind||\n\
            test|3|ok|keys::b|SKIP|first line ok 9 of why\n\
            errors|0\n"
        );
    }

    #[test]
    fn a_parser_misses_what_was_not_written() {
        let mut out = Vec::new();
        let mut ktap = Ktap::begin(&mut out, 2).unwrap();
        ktap.result(&outcome("a", Verdict::Passed)).unwrap();
        assert!(parsed(&String::from_utf8(out).unwrap()).ends_with("errors|1\n"));
    }

    #[test]
    fn a_failed_test_carries_its_output() {
        let tap = written(&[outcome("a", Verdict::Failed)]);
        assert_eq!(
            tap,
            "KTAP version 1\n1..1\n# first line\n# ok 9 of why\n\
            # | not ok 1  [1mof the log\n# | 1..7\nnot ok 1 a\n"
        );
    }
}
