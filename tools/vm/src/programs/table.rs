// SPDX-License-Identifier: GPL-2.0
//! All sides beside each other, and what is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::judge::Run;
use super::list::Program;
use super::{Boot, Side, test};
use crate::bench::columns;

/// The columns, if what is there is what the first of them says, on futex(2).
fn head(unit: &'static str) -> [&'static str; 5] {
    let calls = "Calls on the device, and to the kernel";
    ["Program", unit, "by page", "by VMA", calls]
}

/// What begins a part of a page that [`Table::keep`] has written, with the part's name. It goes to
/// the next one, or to the end.
const WRITTEN: &str = ".. Written by make check-programs: ";

/// The part of the page about the programs themselves.
const PROGRAMS: &str = "programs";

/// Runs of programs.
#[derive(Debug, Default)]
pub struct Table {
    programs: Vec<Program>,
    /// The machines in which they were to run.
    boots: Vec<Boot>,
    /// By the names of the tests.
    runs: BTreeMap<String, Run>,
    /// What was wrong besides.
    wrong: Vec<String>,
}

impl Table {
    /// The table of these programs, in these machines: of the runs that `run` finds.
    pub(super) fn new<'r>(
        programs: &[Program],
        boots: &[Boot],
        run: impl Fn(&str) -> Option<&'r Run>,
    ) -> Self {
        let mut table = Self {
            programs: programs.to_vec(),
            boots: boots.to_vec(),
            ..Self::default()
        };
        for program in programs {
            for name in tests(boots, program) {
                if let Some(run) = run(&name) {
                    table.runs.insert(name, run.clone());
                }
            }
        }
        table
    }

    /// Adds what was wrong in a machine, other than with a program.
    pub(super) fn with(mut self, wrong: Vec<String>) -> Self {
        self.wrong.extend(wrong);
        self
    }

    /// True if something was run, and nothing is wrong.
    pub fn good(&self) -> bool {
        !self.programs.is_empty() && !self.boots.is_empty() && self.objections().is_empty()
    }

    fn run(&self, boot: Boot, side: Side, program: &Program) -> Option<&Run> {
        self.runs.get(&test(boot, side, &program.name))
    }

    /// Everything that is wrong, one sentence each.
    fn objections(&self) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        for program in &self.programs {
            for &boot in &self.boots {
                for side in Side::ALL {
                    let name = test(boot, side, &program.name);
                    let Some(run) = self.runs.get(&name) else {
                        wrong.push(format!("{name}: it did not run"));
                        continue;
                    };
                    let mut about = run.wrong.clone();
                    if run.result != program.result {
                        about.push(format!(
                            "its result is \"{}\", not \"{}\"",
                            run.result, program.result
                        ));
                    }
                    about.extend(calls(program, side, run).map(str::to_owned));
                    if boot == Boot::Instructions && side != Side::WarmUp {
                        about.extend(run.waited_for_host());
                    }
                    wrong.extend(about.iter().map(|why| format!("{name}: {why}")));
                }
            }
            for side in [Side::Page, Side::Vma] {
                let cost = |side| self.cost(Boot::Instructions, side, program);
                let (Some(theirs), Some(ours)) = (cost(Side::Futex), cost(side)) else {
                    continue;
                };
                // Each is known to a hundredth of a second.
                if (ours - 1.0) / (theirs + 1.0) > program.most {
                    wrong.push(format!(
                        "{}: {:.3} instructions by {} for one on futex(2), more than {:.2}",
                        program.name,
                        ours / theirs,
                        side.name(),
                        program.most
                    ));
                }
            }
        }
        wrong
    }

    /// What a program costs on a side: instructions or time, in hundredths of a second.
    fn cost(&self, boot: Boot, side: Side, program: &Program) -> Option<f64> {
        let run = self.run(boot, side, program)?;
        let cost = match boot {
            Boot::Instructions => run.busy,
            Boot::Time => run.elapsed,
        };
        (cost > 0).then_some(cost as f64)
    }

    /// The same, for one on futex(2).
    fn ratio(&self, boot: Boot, side: Side, program: &Program) -> Option<f64> {
        let theirs = self.cost(boot, Side::Futex, program)?;
        Some(self.cost(boot, side, program)? / theirs)
    }

    /// What a program came to in a machine, as a row of a table.
    fn row(&self, boot: Boot, program: &Program) -> [String; 5] {
        let theirs = self.cost(boot, Side::Futex, program);
        let ours = |side| {
            let ratio = self.ratio(boot, side, program);
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"))
        };
        let calls = self
            .run(boot, Side::Page, program)
            .and_then(|run| run.calls)
            .unwrap_or_default();
        [
            program.name.clone(),
            theirs.map_or_else(String::new, |cost| format!("{:.2}", cost / 100.0)),
            ours(Side::Page),
            ours(Side::Vma),
            format!("{}, {}", calls.device, calls.kernel),
        ]
    }

    /// Writes it to a page of the documentation, in place of what was there: a table for each
    /// machine, and what the programs do and why they may take more than others.
    pub fn keep(&self, page: &Path) -> Result<()> {
        let context = || page.display().to_string();
        let mut text = fs::read_to_string(page).with_context(context)?;
        for &boot in &self.boots {
            text = with_part(&text, boot.name(), &self.csv(boot)).with_context(context)?;
        }
        text = with_part(&text, PROGRAMS, &self.descriptions()).with_context(context)?;
        fs::write(page, text).with_context(context)
    }

    /// The table of a machine, as reStructuredText has it.
    fn csv(&self, boot: Boot) -> String {
        let line = |cells: &[&str]| {
            let cells: Vec<_> = cells.iter().map(|cell| format!("\"{cell}\"")).collect();
            format!("   {}\n", cells.join(", "))
        };
        let mut text = ".. csv-table::\n   :header-rows: 1\n\n".to_owned();
        text += &line(&head(boot.unit()));
        for program in &self.programs {
            text += &line(&self.row(boot, program).each_ref().map(String::as_str));
        }
        text
    }

    /// What the programs do, and why they may take more than others.
    fn descriptions(&self) -> String {
        let mut paragraphs = Vec::new();
        for Program {
            name, what, why, ..
        } in &self.programs
        {
            let mut text = format!("``{name}``\n   {what}.\n");
            if !why.is_empty() {
                text += &format!("   {why}\n");
            }
            paragraphs.push(text);
        }
        paragraphs.join("\n")
    }
}

/// `page` with the part that has this name replaced by `text`; `None` if it has no such part.
fn with_part(page: &str, name: &str, text: &str) -> Option<String> {
    let mark = format!("{WRITTEN}{name}.\n");
    let (before, rest) = page.split_once(&mark)?;
    let after = rest.find(WRITTEN).map(|at| format!("\n{}", &rest[at..]));
    Some(format!(
        "{before}{mark}\n{text}{}",
        after.unwrap_or_default()
    ))
}

/// The tests of a program in these machines.
pub(super) fn tests(boots: &[Boot], program: &Program) -> impl Iterator<Item = String> {
    boots.iter().flat_map(move |&boot| {
        let sides = Side::ALL.into_iter();
        sides.map(move |side| test(boot, side, &program.name))
    })
}

/// What is wrong with the calls of a program.
fn calls(program: &Program, side: Side, run: &Run) -> Option<&'static str> {
    let on_device = run.calls.is_some_and(|calls| calls.device > 0);
    match (side.is_redirected(), run.calls) {
        (false, Some(_)) => Some("the library was in it"),
        (false, None) => None,
        (true, _) if program.device && !on_device => Some("it made no calls on the device"),
        (true, _) if !program.device && on_device => {
            Some("it made calls on the device, and is said to make none")
        }
        (true, _) => None,
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &boot in &self.boots {
            let head = head(boot.unit());
            let mut lines = columns(&head, head.len());
            for program in &self.programs {
                lines.add_row(self.row(boot, program));
            }
            writeln!(f, "{}", lines.trim_fmt())?;
        }
        let wrong = self.objections();
        for line in &wrong {
            writeln!(f, "wrong: {line}")?;
        }
        write!(f, "{} programs, {} wrong", self.programs.len(), wrong.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rfutex_guest::event::{Outcome, Verdict};

    fn program(device: bool) -> Program {
        Program {
            name: "p".to_owned(),
            what: "what".to_owned(),
            result: "7".to_owned(),
            most: 1.05,
            why: String::new(),
            device,
        }
    }

    fn outcome(side: Side, verdict: Verdict, busy: u64, result: &str, rest: &str) -> Outcome {
        Outcome {
            log: format!("measured: elapsed 500 busy {busy}\nresult: {result}\n{rest}"),
            ..Outcome::new(&test(Boot::Instructions, side, "p"), verdict)
        }
    }

    const USED: &str =
        "rfutex-preload: process 1 wait 1 wake 0 requeue 0 wake_op 0 waitv 0 kernel 0 reopened 0\n";
    const UNUSED: &str =
        "rfutex-preload: process 1 wait 0 wake 0 requeue 0 wake_op 0 waitv 0 kernel 9 reopened 0\n";

    /// The table of a program whose run by page is this one, and all else is well.
    fn table(device: bool, page: Outcome) -> Table {
        let used = if device { USED } else { UNUSED };
        let well = |side, used| outcome(side, Verdict::Passed, 400, "7", used);
        let outcomes = [
            well(Side::WarmUp, used),
            well(Side::Futex, ""),
            page,
            well(Side::Vma, used),
        ];
        let runs = outcomes.map(|outcome| (outcome.name.clone(), Run::new(&outcome)));
        let runs = BTreeMap::from(runs);
        Table::new(&[program(device)], &[Boot::Instructions], |name| {
            runs.get(name)
        })
    }

    use Verdict::{Failed, Passed};

    #[test]
    fn all_is_well() {
        // As many as may be, if each is known to a hundredth only.
        let page = outcome(Side::Page, Passed, 422, "7", USED);
        let table = table(true, page);
        assert!(table.good(), "{table}");
        assert!(!Table::default().good(), "nothing was run");
    }

    #[test]
    fn what_is_wrong() {
        let bad = |verdict, busy, result: &str, rest: &str, word: &str| {
            let table = table(true, outcome(Side::Page, verdict, busy, result, rest));
            assert!(!table.good(), "{word}");
            assert!(table.to_string().contains(word), "{table}");
        };
        bad(Passed, 424, "7", USED, "1.060 instructions");
        bad(Passed, 400, "8", USED, "its result is \"8\"");
        bad(Passed, 400, "7", UNUSED, "no calls on the device");
        bad(Passed, 400, "7", "", "no calls on the device");
        bad(Failed, 400, "", USED, "its result is \"\"");
        bad(Passed, 4, "7", USED, "for the host to read files");
    }

    #[test]
    fn programs_without_calls_on_the_device() {
        let page = |calls| outcome(Side::Page, Passed, 400, "7", calls);
        assert!(table(false, page(UNUSED)).good());
        assert!(table(false, page("")).good());
        assert!(!table(false, page(USED)).good());
    }

    #[test]
    fn what_did_not_run_is_wrong_and_so_is_a_splat() {
        let nothing = Table::new(&[program(true)], &[Boot::Time], |_| None);
        assert!(nothing.to_string().contains("2 cpus/vma/p: it did not run"));
        let page = outcome(Side::Page, Passed, 400, "7", USED);
        let table = table(true, page).with(vec!["kernel: WARNING: x".to_owned()]);
        assert!(!table.good());
        assert!(table.to_string().contains("kernel: WARNING: x"), "{table}");
    }

    #[test]
    fn the_table_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let page = dir.path().join("programs.rst");
        let run = outcome(Side::Page, Passed, 380, "7", USED);
        let mut table = table(true, run);
        let write = |text: &str| fs::write(&page, text).unwrap();
        write("Nothing is to be written here.\n");
        assert!(table.keep(&page).is_err());

        write(&format!(
            "Before.\n\n{WRITTEN}1 cpu.\n\nThe old table.\n\nBetween, and kept.\n"
        ));
        assert!(table.keep(&page).is_err(), "nothing about the programs");

        write(&format!(
            "Before.\n\n{WRITTEN}1 cpu.\n\nThe old table.\n\n{WRITTEN}2 cpus.\n\nAnother.\n\n{WRITTEN}programs.\n\nOld.\n"
        ));
        table.keep(&page).unwrap();
        let text = fs::read_to_string(&page).unwrap();
        let row = "   \"p\", \"4.00\", \"0.950\", \"1.000\", \"1, 0\"\n";
        assert!(
            text.ends_with(&format!(
                "{row}\n{WRITTEN}2 cpus.\n\nAnother.\n\n{WRITTEN}programs.\n\n``p``\n   what.\n"
            )),
            "{text}"
        );
        assert!(text.starts_with("Before.\n"), "{text}");
        assert!(!text.contains("ld"), "{text}");

        table.programs[0].why = "Because.".to_owned();
        table.keep(&page).unwrap();
        let again = fs::read_to_string(&page).unwrap();
        assert_eq!(again, format!("{text}   Because.\n"));
    }
}
