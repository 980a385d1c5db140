// SPDX-License-Identifier: GPL-2.0
//! Both sides beside each other, and what may differ.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rfutex_guest::event::{Outcome, Verdict};

use super::output::{Run, Status};
use super::{SIDES, nptl};
use crate::calls::Calls;

/// What a difference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The test passes on futex(2) and not on rfutex.
    Fails,
    /// The program calls nothing that rfutex has.
    Kernel,
}

/// The differences that are intended: by a test's name, or by a program's.
#[derive(Debug, Default)]
struct Intended(BTreeMap<String, Kind>);

impl Intended {
    /// Reads them from the one table in a document: rows of three quoted columns,
    /// the test, what it does on rfutex, and why.
    fn read(document: &Path) -> Result<Self> {
        let text = fs::read_to_string(document).with_context(|| document.display().to_string())?;
        Self::parse(&text).with_context(|| document.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut intended = BTreeMap::new();
        let rows = text
            .lines()
            .skip_while(|line| !line.starts_with(".. csv-table::"))
            .filter_map(|line| line.strip_prefix("   \""));
        for row in rows {
            let columns: Vec<_> = row.trim_end_matches('"').split("\", \"").collect();
            let [test, kind, reason] = columns[..] else {
                bail!("not three columns: {row}");
            };
            ensure!(!reason.is_empty(), "no reason: {row}");
            let kind = match kind {
                "fails" => Kind::Fails,
                "kernel only" => Kind::Kernel,
                other => bail!("\"{other}\" is no kind of difference"),
            };
            let before = intended.insert(test.to_owned(), kind);
            ensure!(before.is_none(), "twice in the table: {test}");
        }
        Ok(Self(intended))
    }
}

/// A program's runs on both sides.
type Runs = [Option<Run>; 2];

/// Everything that was run.
#[derive(Debug, Default)]
pub struct Table {
    intended: Intended,
    /// The programs, in order, by the machine's name and their own.
    programs: Vec<(String, String, Runs)>,
    /// What was wrong besides: splats, and tests of the harness.
    wrong: Vec<String>,
    /// The tests of glibc's that were not built, a line for each reason.
    left_out: Vec<String>,
}

/// A line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    test: String,
    cells: [String; 2],
    same: &'static str,
    calls: String,
}

impl Table {
    /// An empty one; `document` has the intended differences, and `left_out` says what was not
    /// built of glibc's tests.
    pub fn new(document: &Path, left_out: &[String]) -> Result<Self> {
        Ok(Self {
            intended: Intended::read(document)?,
            left_out: left_out.to_vec(),
            ..Self::default()
        })
    }

    /// Adds what became of the tests of one boot.
    pub fn add(&mut self, boot: &str, outcomes: &[Outcome]) {
        for outcome in outcomes {
            for line in outcome.why.iter().filter(|why| why.starts_with("kernel")) {
                self.wrong.push(format!("{}: {line}", outcome.name));
            }
            let side = SIDES.iter().enumerate().find_map(|(side, name)| {
                let program = outcome.name.strip_prefix(boot)?.strip_prefix('/')?;
                Some((side, program.strip_prefix(name)?.strip_prefix('/')?))
            });
            let Some((side, program)) = side else {
                if outcome.verdict == Verdict::Failed {
                    self.wrong
                        .push(format!("{}: {}", outcome.name, outcome.why.join("; ")));
                }
                continue;
            };
            let known = self
                .programs
                .iter_mut()
                .find(|(machine, name, _)| machine == boot && name == program);
            let runs = match known {
                Some((_, _, runs)) => runs,
                None => {
                    let new = (boot.to_owned(), program.to_owned(), Runs::default());
                    self.programs.push(new);
                    &mut self.programs.last_mut().expect("just pushed").2
                }
            };
            runs[side] = Some(Run::new(outcome));
        }
    }

    /// The rows, and what is wrong with them.
    fn judge(&self) -> (Vec<Row>, Vec<String>) {
        let mut rows = Vec::new();
        let mut wrong = self.wrong.clone();
        let mut unused = self.intended.0.clone();
        for (machine, program, [theirs, ours]) in &self.programs {
            let Some(ours) = ours else {
                wrong.push(format!("{machine}: {program} did not run on rfutex"));
                continue;
            };
            let (calls, objection) = self.calls(program, ours.calls, &mut unused);
            wrong.extend(objection.map(|why| format!("{machine}: {program}: {why}")));
            let Some(theirs) = theirs else {
                // A test of the library alone.
                for (test, status) in &ours.tests {
                    let cells = ["-".to_owned(), cell(Some(*status), ours)];
                    if *status == Status::Fail {
                        wrong.push(format!("{machine}: {program}: fails"));
                    }
                    rows.push(row(machine, program, test, cells, "", ""));
                }
                continue;
            };
            let mut names: Vec<_> = theirs.tests.iter().map(|(name, _)| name).collect();
            names.extend(
                ours.tests
                    .iter()
                    .map(|(name, _)| name)
                    .filter(|name| theirs.status(name).is_none()),
            );
            for test in names {
                let both = [theirs.status(test), ours.status(test)];
                let full = full_name(program, test);
                let intended = self.intended.0.get(&full) == Some(&Kind::Fails);
                if intended {
                    unused.remove(&full);
                }
                let same = match both {
                    [a, b] if a == b => "yes",
                    [Some(Status::Fail) | None, Some(Status::Pass)] => "better",
                    _ if intended => "intended",
                    _ => "NO",
                };
                if same == "NO" {
                    wrong.push(format!(
                        "{machine}: {full}: differs, and that is not intended"
                    ));
                } else if intended && same != "intended" {
                    wrong.push(format!(
                        "{machine}: {full}: does not differ, but is in the table"
                    ));
                }
                let cells = [cell(both[0], theirs), cell(both[1], ours)];
                rows.push(row(machine, program, test, cells, same, &calls));
            }
        }
        wrong.extend(self.nptl_without_device());
        // With a choice of tests, rows of the table may have nothing to do.
        wrong.extend(
            unused
                .keys()
                .filter(|name| {
                    self.programs
                        .iter()
                        .any(|(_, program, _)| full_name(program, "") == **name)
                })
                .map(|name| format!("{name}: in the table of differences for nothing")),
        );
        (rows, wrong)
    }

    /// The tests of glibc's that ran on rfutex, and how many of them used the device.
    fn nptl(&self) -> (usize, usize) {
        let ours = self.programs.iter().filter_map(|(_, program, [_, ours])| {
            let ours = ours.as_ref().filter(|_| is_nptl(program))?;
            Some(ours.calls.is_some_and(|calls| calls.device > 0))
        });
        let used: Vec<_> = ours.collect();
        (used.len(), used.iter().filter(|&&used| used).count())
    }

    /// Not every test of glibc's has threads that wait, so none has to use the device. But if
    /// there are any, and none did, they were not redirected.
    fn nptl_without_device(&self) -> Option<String> {
        let (ran, used) = self.nptl();
        (ran > 0 && used == 0).then(|| format!("none of {ran} tests of nptl used the device"))
    }

    /// The calls of a program for the table, and what is wrong with them: each
    /// program must have used the device, or be known for not doing so.
    fn calls(
        &self,
        program: &str,
        calls: Option<Calls>,
        unused: &mut BTreeMap<String, Kind>,
    ) -> (String, Option<&'static str>) {
        let kernel_only = self.intended.0.get(program) == Some(&Kind::Kernel);
        let Some(calls) = calls else {
            // The library's own tests look at that themselves; of glibc's, some make no call, and
            // of such a process the library says nothing.
            let trial = program.contains("::") || is_nptl(program);
            if kernel_only {
                unused.remove(program);
            }
            let why = (!trial && !kernel_only).then_some("no word from the library");
            return (String::new(), why);
        };
        if kernel_only {
            unused.remove(program);
        }
        let why = match (calls.device > 0, kernel_only) {
            (false, false) if !is_nptl(program) => Some("never used the device"),
            (true, true) => Some("used the device, but the table says that it does not"),
            _ => None,
        };
        (format!("{}, kernel {}", calls.device, calls.kernel), why)
    }

    /// True if something was run, and nothing is wrong.
    pub fn good(&self) -> bool {
        let (rows, wrong) = self.judge();
        !rows.is_empty() && wrong.is_empty()
    }
}

/// Whether it is one of glibc's tests.
fn is_nptl(program: &str) -> bool {
    program.starts_with(nptl::NAME)
}

/// How the table of differences names a test.
fn full_name(program: &str, test: &str) -> String {
    if test.is_empty() {
        program.to_owned()
    } else {
        format!("{program}: {test}")
    }
}

fn row(
    machine: &str,
    program: &str,
    test: &str,
    cells: [String; 2],
    same: &'static str,
    calls: &str,
) -> Row {
    Row {
        test: format!("{machine}: {}", full_name(program, test)),
        cells,
        same,
        calls: calls.to_owned(),
    }
}

fn cell(status: Option<Status>, run: &Run) -> String {
    let word = match status {
        Some(Status::Pass) => "ok",
        Some(Status::Fail) => "FAIL",
        Some(Status::Skip) => "skip",
        None => "none",
    };
    match &run.figure {
        Some(figure) => format!("{word} {figure}"),
        None => word.to_owned(),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, wrong) = self.judge();
        let head = ["test", SIDES[0], SIDES[1], "same?", "calls on rfutex"];
        let lines: Vec<[&str; 5]> = std::iter::once(head)
            .chain(rows.iter().map(|row| {
                let [a, b] = &row.cells;
                [&row.test, a, b, row.same, &row.calls]
            }))
            .collect();
        let width = |column: usize| {
            lines
                .iter()
                .map(|line| line[column].len())
                .max()
                .unwrap_or(0)
        };
        let widths: [usize; 4] = std::array::from_fn(width);
        for line in &lines {
            let mut text = String::new();
            for (cell, width) in line.iter().zip(widths) {
                write!(text, "{cell:width$}  ")?;
            }
            text += line[4];
            writeln!(f, "{}", text.trim_end())?;
        }
        let (ran, used) = self.nptl();
        if ran > 0 {
            writeln!(f, "nptl: {used} of {ran} tests used the device")?;
            for line in &self.left_out {
                writeln!(f, "nptl: left out: {line}")?;
            }
        }
        let count = |same| rows.iter().filter(|row| row.same == same).count();
        for line in &wrong {
            writeln!(f, "wrong: {line}")?;
        }
        write!(
            f,
            "{} tests: {} the same, {} intended differences, {} wrong",
            rows.len(),
            count("yes"),
            count("intended"),
            wrong.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "Words\n\n   \"not\", \"this\"\n\n.. csv-table::\n   :header: a\n\n   \
        \"p: x\", \"fails\", \"because\"\n   \"pi\", \"kernel only\", \"why\"\n";

    fn table(outcomes: &[(&str, Verdict, &str)]) -> Table {
        let mut table = Table {
            intended: Intended::parse(DOCUMENT).unwrap(),
            ..Table::default()
        };
        let outcomes: Vec<_> = outcomes
            .iter()
            .map(|(name, verdict, log)| Outcome {
                log: (*log).to_owned(),
                ..Outcome::new(name, *verdict)
            })
            .collect();
        table.add("m", &outcomes);
        table
    }

    const USED: &str =
        "rfutex-preload: process 1 wait 1 wake 0 requeue 0 wake_op 0 waitv 0 kernel 0 reopened 0\n";
    const UNUSED: &str =
        "rfutex-preload: process 1 wait 0 wake 0 requeue 0 wake_op 0 waitv 0 kernel 9 reopened 0\n";

    use Verdict::{Failed, Passed};

    #[test]
    fn the_same_on_both_sides() {
        assert!(table(&[("m/futex(2)/q", Passed, ""), ("m/rfutex/q", Passed, USED)]).good());
        assert!(table(&[("m/futex(2)/q", Failed, ""), ("m/rfutex/q", Failed, USED)]).good());
        assert!(!Table::default().good(), "nothing was run");
    }

    #[test]
    fn differences() {
        assert!(!table(&[("m/futex(2)/q", Passed, ""), ("m/rfutex/q", Failed, USED)]).good());
        assert!(table(&[("m/futex(2)/q", Failed, ""), ("m/rfutex/q", Passed, USED)]).good());
        assert!(!table(&[("m/futex(2)/q", Passed, "")]).good());
        let bad = format!("1..1\nnot ok 1 global.x\n{USED}");
        let good = format!("1..1\nok 1 global.x\n{USED}");
        let base = ("m/futex(2)/p", Passed, "1..1\nok 1 global.x\n");
        assert!(
            table(&[base, ("m/rfutex/p", Failed, &bad)]).good(),
            "intended"
        );
        assert!(
            !table(&[base, ("m/rfutex/p", Passed, &good)]).good(),
            "no difference"
        );
        let other = bad.replace("global.x", "global.y");
        assert!(
            !table(&[base, ("m/rfutex/p", Failed, &other)]).good(),
            "x is missing"
        );
    }

    #[test]
    fn who_uses_the_device() {
        let base = |name| (name, Passed, "");
        assert!(!table(&[base("m/futex(2)/q"), ("m/rfutex/q", Passed, UNUSED)]).good());
        assert!(!table(&[base("m/futex(2)/q"), ("m/rfutex/q", Passed, "")]).good());
        assert!(table(&[base("m/futex(2)/pi"), ("m/rfutex/pi", Passed, UNUSED)]).good());
        assert!(!table(&[base("m/futex(2)/pi"), ("m/rfutex/pi", Passed, USED)]).good());
        let trials = [
            base("m/futex(2)/a::b"),
            base("m/rfutex/a::b"),
            base("m/rfutex/a::c"),
        ];
        assert!(table(&trials).good());
    }

    #[test]
    fn tests_of_glibc_are_redirected() {
        let theirs = |name| (name, Passed, "");
        let idle = [
            theirs("m/futex(2)/nptl a"),
            ("m/rfutex/nptl a", Passed, UNUSED),
        ];
        assert!(!table(&idle).good(), "none used the device");
        let busy = [
            theirs("m/futex(2)/nptl b"),
            ("m/rfutex/nptl b", Passed, USED),
        ];
        let mut both = table(&[idle, busy].concat());
        assert!(both.good(), "one did");
        both.left_out = vec!["2 are static: c d".to_owned()];
        let text = both.to_string();
        assert!(text.contains("1 of 2 tests used the device"), "{text}");
        assert!(text.contains("left out: 2 are static: c d"), "{text}");
        let silent = [idle[0], ("m/rfutex/nptl a", Passed, ""), busy[0], busy[1]];
        assert!(table(&silent).good(), "one makes no calls");
        assert!(!table(&silent[..2]).good(), "none used the device");
    }

    #[test]
    fn splats_and_the_harness() {
        let mut bad = table(&[("m/futex(2)/q", Passed, ""), ("m/rfutex/q", Passed, USED)]);
        let outcome = |name: &str, why: &str| Outcome {
            why: vec![why.to_owned()],
            ..Outcome::new(name, Failed)
        };
        assert!(bad.good());
        bad.add("m", &[outcome("m/rmmod", "still there")]);
        assert!(!bad.good());
        let mut bad = table(&[("m/futex(2)/q", Failed, ""), ("m/rfutex/q", Failed, USED)]);
        bad.add("m", &[outcome("m/rfutex/q", "kernel: WARNING: something")]);
        assert!(!bad.good(), "a splat is nobody's intention");
    }

    #[test]
    fn tables_with_mistakes() {
        for row in [
            "\"a\", \"fails\", \"\"",
            "\"a\", \"fail\", \"why\"",
            "\"a\", \"why\"",
            "\"a\", \"fails\", \"why\"\n   \"a\", \"fails\", \"why\"",
        ] {
            assert!(Intended::parse(&format!(".. csv-table::\n\n   {row}\n")).is_err());
        }
    }
}
