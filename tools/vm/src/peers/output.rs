// SPDX-License-Identifier: GPL-2.0
//! What the programs print, understood.

use rfutex_guest::event::{Outcome, Verdict};

use crate::calls::Calls;

/// What is said of a test of glibc's that cannot be run where it is.
const UNSUPPORTED: &str = "exit status: 77";

/// How it is said that processes were there when a program had ended.
const LEFT: &str = "left behind: ";

/// The test that there are none.
const LEAVES_NONE: &str = "leaves no processes";

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pass,
    Fail,
    Skip,
}

/// What one run of a program came to.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Its tests, in order; one without a name if it has none.
    pub tests: Vec<(String, Status)>,
    /// The result of a benchmark, as printed.
    pub figure: Option<String>,
    /// What the library counted, if it was there.
    pub calls: Option<Calls>,
}

impl Run {
    /// Understands what became of a program.
    pub fn new(outcome: &Outcome) -> Self {
        let (left, why): (Vec<_>, Vec<_>) =
            outcome.why.iter().partition(|why| why.starts_with(LEFT));
        // What it leaves behind is not what it has to say.
        let passed = outcome.verdict == Verdict::Passed || (why.is_empty() && !left.is_empty());
        let mut tests = tap(&outcome.log);
        let failures = tests.iter().any(|(_, status)| *status == Status::Fail);
        if tests.is_empty() || !(passed || failures) || !complete(&outcome.log, tests.len()) {
            // What the program says itself; it may have ended before the rest.
            let whole = passed && complete(&outcome.log, tests.len());
            let status = match whole {
                true => Status::Pass,
                false if why == [UNSUPPORTED] || outcome.verdict == Verdict::Skipped => {
                    Status::Skip
                }
                false => Status::Fail,
            };
            tests.push((String::new(), status));
        }
        if !left.is_empty() {
            tests.push((LEAVES_NONE.to_owned(), Status::Fail));
        }
        Self {
            tests,
            figure: figure(&outcome.log),
            calls: Calls::in_output(&outcome.log),
        }
    }

    /// The status of a test by its name.
    pub fn status(&self, test: &str) -> Option<Status> {
        self.tests
            .iter()
            .find(|(name, _)| name == test)
            .map(|(_, status)| *status)
    }
}

/// The tests in the output of a program that speaks TAP.
fn tap(output: &str) -> Vec<(String, Status)> {
    let test = |line: &str| {
        let (good, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (Status::Fail, rest),
            None => (Status::Pass, line.strip_prefix("ok ")?),
        };
        let (number, rest) = rest.split_once(' ')?;
        number.parse::<u32>().ok()?;
        let (name, remark) = rest.split_once(" # ").unwrap_or((rest, ""));
        let status = if remark.starts_with("SKIP") {
            Status::Skip
        } else {
            good
        };
        let name = name.trim_start_matches("- ").trim_start_matches("global.");
        Some((name.to_owned(), status))
    };
    output.lines().filter_map(test).collect()
}

/// True unless the output announces another number of tests.
fn complete(output: &str, tests: usize) -> bool {
    let announced = output
        .lines()
        .find_map(|line| line.strip_prefix("1..")?.trim().parse::<usize>().ok());
    announced.is_none_or(|number| number == tests)
}

/// The result that `perf bench futex` prints at last.
fn figure(output: &str) -> Option<String> {
    let last = |mark: &str| output.lines().rev().find(|line| line.contains(mark));
    if let Some(line) = last("Averaged ") {
        let words: Vec<_> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "operations/sec")?;
        return Some(format!("{} op/s", words.get(at.checked_sub(1)?)?));
    }
    let line = output
        .lines()
        .rev()
        .find(|line| line.contains(" ms (+-") && !line.starts_with('['))?;
    let words: Vec<_> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "ms")?;
    Some(format!("{} ms", words.get(at.checked_sub(1)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(verdict: Verdict, log: &str) -> Run {
        Run::new(&Outcome {
            log: log.to_owned(),
            ..Outcome::new("x", verdict)
        })
    }

    #[test]
    fn tests_of_a_program() {
        let log = "TAP version 13\n1..3\n# ok 9 no\nok 1 global.a\nnot ok 2 b.c\nok 3 global.d # SKIP why\n";
        let run = run(Verdict::Failed, log);
        let expected = [
            ("a", Status::Pass),
            ("b.c", Status::Fail),
            ("d", Status::Skip),
        ];
        assert_eq!(
            run.tests,
            expected.map(|(name, status)| (name.to_owned(), status))
        );
        assert_eq!(run.status("d"), Some(Status::Skip));
        assert_eq!(run.status("e"), None);
    }

    #[test]
    fn programs_that_end_badly() {
        let fails = |verdict, log| run(verdict, log).status("") == Some(Status::Fail);
        // Killed after all was well; ended early; without a word.
        assert!(fails(Verdict::Failed, "1..1\nok 1 global.a\n"));
        assert!(fails(Verdict::Passed, "1..2\nok 1 global.a\n"));
        assert!(fails(Verdict::Failed, "1..2\nnot ok 1 global.a\n"));
        assert!(fails(Verdict::Failed, ""));
        assert!(fails(Verdict::Passed, "1..2\n"));
        assert_eq!(
            run(Verdict::Passed, "total: 5\n").status(""),
            Some(Status::Pass)
        );
        assert_eq!(
            run(Verdict::Passed, "1..1\nok 1 global.a\n").status(""),
            None
        );
    }

    #[test]
    fn what_glibc_calls_unsupported() {
        let status = |why: &[&str]| {
            let why = why.iter().map(|&why| why.to_owned()).collect();
            let outcome = Outcome {
                why,
                ..Outcome::new("x", Verdict::Failed)
            };
            Run::new(&outcome).status("")
        };
        assert_eq!(status(&["exit status: 77"]), Some(Status::Skip));
        assert_eq!(status(&["exit status: 1"]), Some(Status::Fail));
        let more = ["exit status: 77", "still running"];
        assert_eq!(status(&more), Some(Status::Fail));
    }

    #[test]
    fn a_test_that_skips_itself() {
        let skipped = run(Verdict::Skipped, "test a::b ... ignored (no)\n");
        assert_eq!(skipped.status(""), Some(Status::Skip));
    }

    #[test]
    fn processes_that_are_left_behind() {
        let run = |why: &[&str], log: &str| {
            Run::new(&Outcome {
                why: why.iter().map(|&why| why.to_owned()).collect(),
                log: log.to_owned(),
                ..Outcome::new("x", Verdict::Failed)
            })
        };
        let left = run(&["left behind: x", "left behind: y"], "");
        assert_eq!(left.status(""), Some(Status::Pass));
        assert_eq!(left.status(LEAVES_NONE), Some(Status::Fail));
        let failed = run(&["exit status: 1", "left behind: x"], "");
        assert_eq!(failed.status(""), Some(Status::Fail));
        assert_eq!(failed.status(LEAVES_NONE), Some(Status::Fail));
        let unsupported = run(&["exit status: 77", "left behind: x"], "");
        assert_eq!(unsupported.status(""), Some(Status::Skip));
        let others = run(&["left behind: x"], "1..1\nok 1 global.a\n");
        assert_eq!(others.status("a"), Some(Status::Pass));
        assert_eq!(others.status(LEAVES_NONE), Some(Status::Fail));
        assert_eq!(others.status(""), None);
    }

    #[test]
    fn figures_and_counts() {
        let log = "[Run 1]: Wokeup 4 of 4 threads in 9.0 ms\nWokeup 4 of 4 threads in 0.1234 ms (+-2.00%)\n\
            rfutex-preload: process 5 wait 1 wake 2 requeue 3 wake_op 4 waitv 5 kernel 6 reopened 7\n\
            x rfutex-preload: process 6 wait 10 wake 0 requeue 0 wake_op 0 waitv 0 kernel 1 reopened 0\n";
        let run = run(Verdict::Passed, log);
        assert_eq!(run.figure.as_deref(), Some("0.1234 ms"));
        assert_eq!(
            run.calls,
            Some(Calls {
                device: 25,
                kernel: 7
            })
        );
        assert_eq!(
            figure(" [thread  0] x\n\nAveraged 12345 operations/sec (+- 0.5%), total secs = 1\n"),
            Some("12345 op/s".to_owned())
        );
        assert_eq!(
            (figure("nothing"), Calls::in_output("nothing")),
            (None, None)
        );
    }
}
