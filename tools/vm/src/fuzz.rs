// SPDX-License-Identifier: GPL-2.0
//! `make fuzz`: `rfutex-selftests fuzz` on the instrumented lab build, with its
//! corpus on the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rfutex_guest::plan::{OUT, Plan, Stage};

use crate::Options;
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::session::{Places, Session, guest_module};
use crate::vng::{Limits, Share};

/// How long the guest may say nothing: as long as a failing input may be made
/// smaller, and some more.
const SILENCE: Duration = Duration::from_secs(300);

/// How long everything may take beside the time that was asked for.
const BESIDE: Duration = Duration::from_secs(1800);

/// Files in the directory of the corpus.
const RUNNING: &str = "running.ron";
const FOUND: &str = "found.ron";
const REPLAYED: &str = "replayed.ron";

/// What is asked for.
#[derive(Args, Clone, Debug)]
pub struct Choice {
    /// For how many seconds
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u64,
    /// What inputs are drawn from
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Play the input in this file, and nothing else
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
}

impl Choice {
    /// The command in the guest, which finds the file to be replayed in `dir`.
    fn command(&self, dir: &Path) -> Result<Vec<String>> {
        let mut argv = vec!["rfutex-selftests".to_owned(), "fuzz".to_owned()];
        if let Some(file) = &self.replay {
            fs::copy(file, dir.join(REPLAYED)).with_context(|| file.display().to_string())?;
            argv.extend(["--replay".to_owned(), format!("{OUT}/{REPLAYED}")]);
            return Ok(argv);
        }
        argv.extend(["--dir".to_owned(), OUT.to_owned()]);
        argv.extend(["--seconds".to_owned(), self.seconds.to_string()]);
        argv.extend(self.seed.map(|seed| format!("--seed={seed}")));
        Ok(argv)
    }
}

/// Runs it. The exit code says whether nothing was found.
pub fn run(
    options: &Options,
    places: &Places,
    interrupt: &Interrupt,
    choice: &Choice,
) -> Result<ExitCode> {
    let dir = places.build.join("fuzz");
    fs::create_dir_all(&dir)?;
    for name in [RUNNING, FOUND] {
        let path = dir.join(name);
        if path.exists() {
            // What an earlier run has found is not lost.
            fs::rename(&path, path.with_extension("old.ron"))?;
        }
    }
    let limits = Limits {
        silence: SILENCE,
        total: Duration::from_secs(choice.seconds) + BESIDE,
    };
    let mut session = options.session(places, interrupt, limits)?;
    let root = places.root_for_selftests()?;
    session.choose_accelerator(&root)?;
    session.machine.shares.push(Share {
        host: dir.clone(),
        guest: OUT,
        writable: true,
    });
    let plan = Plan {
        limit: options.limit,
        stages: vec![
            Stage::Insmod {
                module: guest_module("lab"),
                parameters: vec!["buckets=512".to_owned()],
            },
            Stage::Exec {
                argv: choice.command(&dir)?,
            },
        ],
        ..Plan::default()
    };
    judge(&mut session, &root, &plan, &dir)
}

fn judge(
    session: &mut Session<'_>,
    root: &crate::root::Root,
    plan: &Plan,
    dir: &Path,
) -> Result<ExitCode> {
    let mut report = Report::default();
    let ran = session.run(root, plan, "fuzz", &mut report)?;
    print!("{}", report.failures());
    if ran.exited == Some(0) && report.outcomes().is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let (running, found) = (dir.join(RUNNING), dir.join(FOUND));
    if !found.exists() && running.exists() {
        // The machine did not live to tell.
        fs::copy(&running, &found)?;
    }
    ensure!(found.exists(), "it failed before any input did");
    println!(
        "found: {0}; to play it again: make fuzz REPLAY={0}",
        found.display()
    );
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replayed_is_brought_along() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("own.ron");
        fs::write(&file, "Calls((threads: []))").unwrap();
        let mut choice = Choice {
            seconds: 5,
            seed: Some(7),
            replay: None,
        };
        let argv = choice.command(dir.path()).unwrap().join(" ");
        assert_eq!(
            argv,
            format!("rfutex-selftests fuzz --dir {OUT} --seconds 5 --seed=7")
        );
        choice.replay = Some(file.clone());
        let argv = choice.command(dir.path()).unwrap().join(" ");
        assert_eq!(
            argv,
            format!("rfutex-selftests fuzz --replay {OUT}/{REPLAYED}")
        );
        let brought = fs::read(dir.path().join(REPLAYED)).unwrap();
        assert_eq!(brought, fs::read(file).unwrap());
        choice.replay = Some("/no/such/file".into());
        assert!(choice.command(dir.path()).is_err());
    }
}
