// SPDX-License-Identifier: GPL-2.0
//! Builds a mutant and tries it: in a machine, or with a litmus test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rfutex_guest::event::Outcome;
use rfutex_guest::plan::{Plan, Stage};
use serde::Deserialize;

use crate::Cli;
use crate::list::Mutant;
use crate::verdict::{Status, Verdict};

/// How long a test may take, and how long the machine may say nothing, in
/// seconds. A lost wake takes a test half a minute.
const LIMIT: u64 = 60;
const SILENCE: u64 = LIMIT + 60;

/// The last test of a plan: a machine that comes to it has not crashed.
const LAST: &str = "lab/rmmod";

/// What `rfutex-vm` writes of a run.
#[derive(Deserialize)]
struct Report {
    outcomes: Vec<Outcome>,
}

/// What is needed to build and to run.
pub struct Builder<'a> {
    cli: &'a Cli,
    work: &'a Path,
}

impl<'a> Builder<'a> {
    /// Prepares the directories below `work`.
    pub fn new(cli: &'a Cli, work: &'a Path) -> Result<Self> {
        fs::create_dir_all(work.join("logs"))?;
        fs::create_dir_all(work.join("modules"))?;
        Ok(Self { cli, work })
    }

    /// Where all output of a mutant's build and tests goes.
    pub fn log(&self, id: &str) -> PathBuf {
        self.work.join("logs").join(id)
    }

    /// Tries the mutant that the tree is now.
    pub fn attempt(&self, mutant: &Mutant) -> Result<Verdict> {
        let began = Instant::now();
        let mut log = File::create(self.log(&mutant.id))?;
        if !self.module(&mut log)? {
            let seconds = began.elapsed().as_secs_f64();
            return Ok(Verdict {
                status: Status::Unbuilt,
                by: Vec::new(),
                seconds,
            });
        }
        let (mut outcomes, mut finished) = (Vec::new(), true);
        if mutant.needs_machine() {
            (outcomes, finished) = self.machine(&mutant.tests, &mut log)?;
        }
        let seconds = began.elapsed().as_secs_f64();
        let mut verdict = Verdict::of(&outcomes, finished, mutant.fatal, seconds);
        if let Some(test) = &mutant.litmus
            && !self.litmus(test, &mut log)?
        {
            verdict.by.push(format!("litmus {test}"));
            verdict.status = Status::Killed;
        }
        Ok(verdict)
    }

    /// Runs the tests of that name on the tree as it is; each has to be there.
    pub fn unchanged(&self, tests: &[String]) -> Result<Verdict> {
        let began = Instant::now();
        let mut log = File::create(self.log("unchanged"))?;
        ensure!(
            self.module(&mut log)?,
            "the module does not build, see {}",
            self.log("unchanged").display()
        );
        let (outcomes, finished) = self.machine(tests, &mut log)?;
        for test in tests {
            ensure!(
                outcomes.iter().any(|o| o.name.contains(test)),
                "there is no test {test}"
            );
        }
        Ok(Verdict::of(
            &outcomes,
            finished,
            false,
            began.elapsed().as_secs_f64(),
        ))
    }

    /// Builds the module. False if the compiler refuses.
    fn module(&self, log: &mut File) -> Result<bool> {
        let module = self.work.join("modules/lab/rfutex.ko");
        // An old one must not be taken for this one.
        if module.exists() {
            fs::remove_file(&module)?;
        }
        let mut make = Command::new("make");
        make.args(["--no-print-directory", "modules", "RFUTEX_LAB=y"])
            .arg(format!("KDIR={}", self.cli.kdir.display()))
            .arg(format!("MO={}", self.work.join("modules/lab").display()))
            .current_dir(self.work.join("tree"));
        Ok(logged(&mut make, log)?.success() && module.exists())
    }

    /// Boots a machine with the module and runs KUnit and these selftests.
    /// Returns also whether the machine lived to the end.
    fn machine(&self, tests: &[String], log: &mut File) -> Result<(Vec<Outcome>, bool)> {
        let (plan, report) = (self.work.join("plan.json"), self.work.join("report.json"));
        fs::write(&plan, serde_json::to_vec(&plan_of(tests))?)?;
        if report.exists() {
            fs::remove_file(&report)?;
        }
        let mut vm = Command::new(self.cli.programs.join("rfutex-vm"));
        vm.arg("--kdir")
            .arg(&self.cli.kdir)
            .arg("--top")
            .arg(self.work);
        vm.arg("--modules").arg(self.work.join("modules"));
        vm.arg("--programs")
            .arg(&self.cli.programs)
            .arg("--cache")
            .arg(&self.cli.cache);
        vm.args(["--limit", &LIMIT.to_string(), "session", "--selftests"]);
        vm.arg("--plan").arg(&plan).arg("--report").arg(&report);
        vm.args(["--silence", &SILENCE.to_string()]);
        logged(&mut vm, log)?;
        if !report.exists() {
            bail!("rfutex-vm failed, see {}", self.work.join("logs").display());
        }
        let report: Report = serde_json::from_slice(&fs::read(&report)?)?;
        let finished = report.outcomes.iter().any(|o| o.name == LAST);
        Ok((report.outcomes, finished))
    }

    /// Whether a litmus test still says what it should.
    fn litmus(&self, test: &str, log: &mut File) -> Result<bool> {
        let mut litmus = Command::new(self.work.join("tree/tools/litmus.sh"));
        litmus.arg(test).env("RFUTEX_CACHE", &self.cli.cache);
        Ok(logged(&mut litmus, log)?.success())
    }
}

/// Runs `command` with all of its output in `log`.
fn logged(command: &mut Command, log: &mut File) -> Result<ExitStatus> {
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .status()
        .with_context(|| format!("{:?}", command.get_program()))
}

fn plan_of(tests: &[String]) -> Plan {
    let lab = || "lab".to_owned();
    let mut stages = vec![
        Stage::Boot,
        Stage::Load {
            build: lab(),
            module: "/lib/modules/lab/rfutex.ko".to_owned(),
            parameters: vec!["buckets=512".to_owned()],
            suites: Vec::new(),
        },
    ];
    if !tests.is_empty() {
        stages.push(Stage::Trials {
            build: String::new(),
            program: "/bin/rfutex-selftests".to_owned(),
            without: Vec::new(),
            only: tests.to_vec(),
        });
    }
    stages.push(Stage::Unload { build: lab() });
    Plan {
        limit: LIMIT,
        stages,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_without_tests_runs_kunit_alone() {
        assert_eq!(plan_of(&[]).stages.len(), 3);
        assert_eq!(plan_of(&["a".to_owned()]).stages.len(), 4);
    }
}
