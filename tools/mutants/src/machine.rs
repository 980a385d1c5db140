// SPDX-License-Identifier: GPL-2.0
//! Tries mutants that are built.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use rfutex_guest::event;
use rfutex_guest::event::Outcome;

use crate::Cli;
use crate::boot::{Boot, LIMIT, Member};
use crate::build::{Batch, log, logged};
use crate::verdict::Verdict;

/// How long the machine may say nothing, in seconds, once it runs. More than a
/// test may take.
const SILENCE: u64 = LIMIT + 60;

/// Boots machines, one at a time.
pub struct Machine<'a> {
    cli: &'a Cli,
    work: &'a Path,
}

impl<'a> Machine<'a> {
    pub fn new(cli: &'a Cli, work: &'a Path) -> Self {
        Self { cli, work }
    }

    /// Tells what became of mutants, each with its place among them; of those
    /// that are left out, nothing is known, since another one before them left
    /// the machine unfit.
    pub fn attempt(&self, batch: &mut Batch<'_>) -> Result<Vec<(usize, Verdict)>> {
        let mut verdicts = std::mem::take(&mut batch.done);
        let Some(boot) = batch.boot(self.cli.all) else {
            return Ok(verdicts);
        };
        let outcomes = self.run(&boot)?;
        let members = std::mem::take(&mut batch.members);
        for ((place, before), part) in members.into_iter().zip(boot.parts(&outcomes)) {
            let mutant = batch.mutants[place];
            self.note(&mutant.id, part.outcomes)?;
            let verdict = Verdict::of(part.outcomes, part.finished, mutant.fatal);
            verdicts.push((place, verdict.after(before)));
        }
        Ok(verdicts)
    }

    /// Runs the tests of that name on the module that is kept as `id`; each has
    /// to be there.
    pub fn unchanged(&self, id: &str, tests: &[String]) -> Result<Verdict> {
        let boot = Boot::of([Member { id, tests }].into_iter(), true);
        let outcomes = self.run(&boot)?;
        self.note(id, &outcomes)?;
        for test in tests {
            ensure!(
                outcomes.iter().any(|o| o.name.contains(test)),
                "there is no test {test}"
            );
        }
        let finished = boot.parts(&outcomes).iter().all(|part| part.finished);
        Ok(Verdict::of(&outcomes, finished, false))
    }

    /// Boots a machine. What its tests came to, as far as it lived.
    pub fn run(&self, boot: &Boot) -> Result<Vec<Outcome>> {
        let (plan, report) = (self.work.join("plan.json"), self.work.join("report.json"));
        fs::write(&plan, serde_json::to_vec(boot.plan())?)?;
        if report.exists() {
            fs::remove_file(&report)?;
        }
        let mut vm = Command::new(self.cli.programs.join("rfutex-vm"));
        let preload = self.cli.top.join("build/preload/x86_64-unknown-linux-gnu");
        let options = [
            ("--kdir", self.cli.kdir.as_path()),
            ("--top", self.work),
            ("--modules", &self.work.join("modules")),
            ("--programs", &self.cli.programs),
            ("--preload", &preload),
            ("--cache", &self.cli.cache),
        ];
        for (option, path) in options {
            vm.arg(option).arg(path);
        }
        vm.args(["--limit", &LIMIT.to_string(), "session", "--selftests"]);
        vm.arg("--plan").arg(&plan).arg("--report").arg(&report);
        vm.args(["--silence", &SILENCE.to_string(), "--name", "mutants"]);
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
    pub fn note(&self, id: &str, outcomes: &[Outcome]) -> Result<()> {
        let mut text = String::new();
        for outcome in outcomes {
            let _ = writeln!(text, "{:?} {}", outcome.verdict, outcome.name);
            if outcome.verdict == event::Verdict::Failed {
                let _ = writeln!(text, "{}\n{}", outcome.why.join("\n"), outcome.log);
            }
        }
        let mut log = File::options().append(true).open(log(self.work, id))?;
        Ok(log.write_all(text.as_bytes())?)
    }
}
