// SPDX-License-Identifier: GPL-2.0
//! Builds mutants and tries them: in a machine, or with a litmus test.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rfutex_guest::event;
use rfutex_guest::event::Outcome;

use crate::Cli;
use crate::boot::{Boot, Member};
use crate::list::Mutant;
use crate::tree::Tree;
use crate::verdict::{Status, Verdict};

/// How long a test may take, and how long the machine may say nothing, in
/// seconds. A lost wake takes a test half a minute; a machine that shares its
/// processors with others takes minutes to boot.
const LIMIT: u64 = 60;
const SILENCE: u64 = 400;

/// What is needed to build and to run.
pub struct Builder<'a> {
    cli: &'a Cli,
    work: &'a Path,
    /// The mutants that this run has built.
    built: BTreeSet<String>,
}

impl<'a> Builder<'a> {
    /// Prepares the directories below `work`.
    pub fn new(cli: &'a Cli, work: &'a Path) -> Result<Self> {
        fs::create_dir_all(work.join("logs"))?;
        fs::create_dir_all(work.join("modules"))?;
        Ok(Self {
            cli,
            work,
            built: BTreeSet::new(),
        })
    }

    /// What is known of a mutant: its build's output, and what failed.
    pub fn log(&self, id: &str) -> PathBuf {
        self.work.join("logs").join(id)
    }

    /// Tries mutants, which share a machine. Tells what became of them, each
    /// with its place among them; of those that are left out, nothing is known,
    /// since another one before them left the machine unfit.
    pub fn attempt(
        &mut self,
        tree: &mut Tree,
        mutants: &[&Mutant],
    ) -> Result<Vec<(usize, Verdict)>> {
        let mut verdicts = Vec::new();
        let mut members = Vec::new();
        for (place, &mutant) in mutants.iter().enumerate() {
            let began = Instant::now();
            let mut status = Status::Survived;
            let mut by = Vec::new();
            tree.with(mutant, || {
                if !self.build(&mutant.id)? {
                    status = Status::Unbuilt;
                } else if let Some(test) = &mutant.litmus
                    && !self.litmus(test, &mutant.id)?
                {
                    status = Status::Killed;
                    by.push(format!("litmus {test}"));
                }
                Ok(())
            })?;
            let verdict = Verdict {
                status,
                by,
                seconds: began.elapsed().as_secs_f64(),
            };
            if status == Status::Unbuilt || !mutant.needs_machine() {
                verdicts.push((place, verdict));
            } else {
                members.push((place, verdict));
            }
        }
        if members.is_empty() {
            return Ok(verdicts);
        }
        let boot = Boot::of(
            members.iter().map(|&(place, _)| Member {
                id: &mutants[place].id,
                tests: &mutants[place].tests,
            }),
            LIMIT,
        );
        let outcomes = self.machine(&boot)?;
        for ((place, before), part) in members.into_iter().zip(boot.parts(&outcomes)) {
            let mutant = mutants[place];
            self.note(&mutant.id, part.outcomes)?;
            let fatal = mutant.fatal;
            let verdict = Verdict::of(part.outcomes, part.finished, fatal).after(before);
            verdicts.push((place, verdict));
        }
        Ok(verdicts)
    }

    /// Runs the tests of that name on the tree as it is; each has to be there.
    pub fn unchanged(&mut self, tests: &[String]) -> Result<Verdict> {
        const ID: &str = "unchanged";
        ensure!(
            self.build(ID)?,
            "the module does not build, see {}",
            self.log(ID).display()
        );
        let boot = Boot::of([Member { id: ID, tests }].into_iter(), LIMIT);
        let outcomes = self.machine(&boot)?;
        self.note(ID, &outcomes)?;
        for test in tests {
            ensure!(
                outcomes.iter().any(|o| o.name.contains(test)),
                "there is no test {test}"
            );
        }
        let finished = boot.parts(&outcomes).iter().all(|part| part.finished);
        Ok(Verdict::of(&outcomes, finished, false))
    }

    /// Where the module of a mutant is kept.
    fn module(&self, id: &str) -> PathBuf {
        self.work.join("modules").join(id).join("rfutex.ko")
    }

    /// Builds the tree as it is and keeps the module. False if the compiler
    /// refuses.
    fn build(&mut self, id: &str) -> Result<bool> {
        let kept = self.module(id);
        if self.built.contains(id) && kept.exists() {
            return Ok(true);
        }
        let objects = self.work.join("objects");
        let module = objects.join("rfutex.ko");
        // An old one must not be taken for this one.
        if module.exists() {
            fs::remove_file(&module)?;
        }
        let mut make = Command::new("make");
        make.args(["--no-print-directory", "modules", "RFUTEX_LAB=y"])
            .arg(format!("KDIR={}", self.cli.kdir.display()))
            .arg(format!("MO={}", objects.display()))
            .current_dir(self.work.join("tree"));
        let log = File::create(self.log(id))?;
        if !logged(&mut make, &log)?.success() || !module.exists() {
            return Ok(false);
        }
        fs::create_dir_all(self.work.join("modules").join(id))?;
        fs::copy(&module, &kept)?;
        self.built.insert(id.to_owned());
        Ok(true)
    }

    /// Boots a machine. What its tests came to, as far as it lived.
    fn machine(&self, boot: &Boot) -> Result<Vec<Outcome>> {
        let (plan, report) = (self.work.join("plan.json"), self.work.join("report.json"));
        fs::write(&plan, serde_json::to_vec(boot.plan())?)?;
        if report.exists() {
            fs::remove_file(&report)?;
        }
        let mut vm = Command::new(self.cli.programs.join("rfutex-vm"));
        let options = [
            ("--kdir", self.cli.kdir.as_path()),
            ("--top", self.work),
            ("--modules", &self.work.join("modules")),
            ("--programs", &self.cli.programs),
            ("--cache", &self.cli.cache),
        ];
        for (option, path) in options {
            vm.arg(option).arg(path);
        }
        vm.args(["--limit", &LIMIT.to_string(), "session", "--selftests"]);
        vm.arg("--plan").arg(&plan).arg("--report").arg(&report);
        vm.args(["--silence", &SILENCE.to_string()]);
        for id in boot.ids() {
            vm.args(["--module", id]);
        }
        let path = self.work.join("machine.log");
        logged(&mut vm, &File::create(&path)?)?;
        ensure!(report.exists(), "rfutex-vm failed, see {}", path.display());
        let outcomes = Boot::outcomes(&fs::read(&report)?)?;
        // What comes to nothing before a module is there is no module's doing.
        ensure!(
            outcomes
                .first()
                .is_some_and(|o| o.name == "boot" && o.verdict == event::Verdict::Passed),
            "the machine did not boot, see {}",
            path.display()
        );
        Ok(outcomes)
    }

    /// Adds to a mutant's log what failed and why.
    fn note(&self, id: &str, outcomes: &[Outcome]) -> Result<()> {
        let mut text = String::new();
        for outcome in outcomes {
            let _ = writeln!(text, "{:?} {}", outcome.verdict, outcome.name);
            if outcome.verdict == event::Verdict::Failed {
                let _ = writeln!(text, "{}\n{}", outcome.why.join("\n"), outcome.log);
            }
        }
        let mut log = File::options().append(true).open(self.log(id))?;
        Ok(log.write_all(text.as_bytes())?)
    }

    /// Whether a litmus test still says what it should.
    fn litmus(&self, test: &str, id: &str) -> Result<bool> {
        let mut litmus = Command::new(self.work.join("tree/tools/litmus.sh"));
        litmus.arg(test).env("RFUTEX_CACHE", &self.cli.cache);
        let log = File::options().append(true).open(self.log(id))?;
        Ok(logged(&mut litmus, &log)?.success())
    }
}

/// Runs `command` with all of its output in `log`.
fn logged(command: &mut Command, log: &File) -> Result<ExitStatus> {
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .status()
        .with_context(|| format!("{:?}", command.get_program()))
}
