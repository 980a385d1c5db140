// SPDX-License-Identifier: GPL-2.0
//! `--tap`: the results in the format of the kernel's own tests, KTAP. Each test runs
//! in a process of its own, so that what it prints can be told from the rest.

use rfutex_trial::ktap::Ktap;
use rfutex_trial::outcome::{Outcome, Verdict};
use rfutex_trial::trial::{self, Trial};
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// What asks for it.
pub const OPTION: &str = "--tap";

/// How long a test may take, as when the harness runs it.
const LIMIT: Duration = Duration::from_secs(120);

/// What only the lab build of the module has.
const LAB: &str = "/sys/kernel/debug/rfutex";

/// Runs those that `args`, without [`OPTION`], ask for.
pub fn run(args: &[String]) -> ExitCode {
    match results(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("Bail out! {error}");
            ExitCode::FAILURE
        }
    }
}

fn this() -> Command {
    Command::new("/proc/self/exe")
}

/// True if there is a test and none failed.
fn results(args: &[String]) -> io::Result<bool> {
    let list = trial::run(this().args(args).arg("--list"), LIMIT, None)?;
    if !list.well() {
        return Err(io::Error::other(list.output));
    }
    let trials = trial::parse_list(&list.output);
    let mut ktap = Ktap::begin(io::stdout().lock(), trials.len())?;
    let mut failed = trials.is_empty();
    for trial in trials {
        let outcome = attempt(trial)?;
        failed |= outcome.verdict == Verdict::Failed;
        ktap.result(&outcome)?;
    }
    Ok(!failed)
}

fn attempt(trial: Trial) -> io::Result<Outcome> {
    let mut outcome = Outcome {
        name: trial.name,
        verdict: Verdict::Skipped,
        seconds: 0.0,
        why: Vec::new(),
        splats: Vec::new(),
        log: String::new(),
    };
    if trial.kind == "lab" && !Path::new(LAB).exists() {
        outcome.why = vec!["the module is not its lab build".to_owned()];
        return Ok(outcome);
    }
    let mut ended = trial::run(this().args(["--exact", &outcome.name]), LIMIT, None)?;
    let skipped = ended.judge_trial();
    outcome.seconds = ended.took.as_secs_f64();
    outcome.verdict = match (&skipped, ended.wrong.is_empty()) {
        (_, false) => Verdict::Failed,
        (Some(_), true) => Verdict::Skipped,
        (None, true) => Verdict::Passed,
    };
    outcome.why = ended.wrong.into_iter().chain(skipped).collect();
    outcome.log = ended.output;
    Ok(outcome)
}
