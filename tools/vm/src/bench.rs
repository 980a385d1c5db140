// SPDX-License-Identifier: GPL-2.0
//! `make bench`: rfutex beside futex(2), in instructions and in time.

mod compare;
mod experiments;
mod plots;
mod profile;
mod results;
mod table;
mod targets;

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::ProgressBar;
use rfutex_bench::record::{PAGES_FILE, PAGES_LEN, Record};
use rfutex_guest::plan::{Plan, Stage};

use crate::Options;
use crate::report::Report;
use crate::root::Root;
use crate::session::{Places, guest_module};
use crate::vng::{Interrupt, Limits};

pub use compare::Base;
pub use profile::Operation;
use results::Results;

/// What to measure; if nothing is named, all there is.
#[derive(Args, Clone, Debug)]
pub struct Choice {
    /// Count instructions of operations only, of the module that users have
    #[arg(long)]
    quick: bool,
    /// Only operations that have this in their names (may be given more than once)
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Only this experiment: crowd, hash, page-lock, fault, reclaim, thp (may be given more than once)
    #[arg(long, value_name = "NAME")]
    experiment: Vec<String>,
    /// Only this resolver (may be given more than once)
    #[arg(long, value_name = "NAME")]
    resolver: Vec<String>,
}

/// One boot of the machine.
struct Boot {
    /// What it is for.
    name: &'static str,
    /// Whether its one processor counts instructions.
    counting: bool,
    /// The build of the module.
    module: &'static str,
    /// The resolvers of the operations.
    resolvers: &'static [&'static str],
    /// The experiments.
    experiments: &'static [&'static str],
}

/// The operations of the resolver that is in lab builds only are measured with
/// one; and so are the experiments in which it takes part.
const BOOTS: &[Boot] = &[
    Boot {
        name: "instructions",
        counting: true,
        module: "module",
        resolvers: &["page", "vma"],
        experiments: &["crowd"],
    },
    Boot {
        name: "instructions-lab",
        counting: true,
        module: "lab",
        resolvers: &["locked"],
        experiments: &[],
    },
    Boot {
        name: "time",
        counting: false,
        module: "module",
        resolvers: &["page", "vma"],
        experiments: &["hash"],
    },
    Boot {
        name: "time-lab",
        counting: false,
        module: "lab",
        resolvers: &["locked"],
        experiments: &["hash", "page-lock", "fault", "reclaim", "thp"],
    },
];

impl Choice {
    /// Instructions of the operations that have one of `only` in their names.
    fn quick(only: Vec<String>) -> Self {
        Self {
            quick: true,
            only,
            experiment: Vec::new(),
            resolver: Vec::new(),
        }
    }

    /// What the benchmark is called with in one boot.
    fn commands(&self, boot: &Boot) -> Vec<Vec<String>> {
        let has = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
        let program = || vec!["/bin/rfutex-bench".to_owned()];
        let mut commands = Vec::new();
        let resolvers: Vec<_> = boot
            .resolvers
            .iter()
            .filter(|name| has(&self.resolver, name))
            .map(|name| format!("--resolver={name}"))
            .collect();
        let quick = self.quick && !(boot.counting && boot.module == "module");
        let no_rows = self.only.is_empty() && !self.experiment.is_empty();
        if !resolvers.is_empty() && !quick && !no_rows {
            let mut rows = program();
            rows.push(
                if boot.counting {
                    "instructions"
                } else {
                    "time"
                }
                .to_owned(),
            );
            rows.extend(resolvers);
            rows.extend(self.only.iter().map(|part| format!("--only={part}")));
            commands.push(rows);
        }
        let no_experiments = self.quick || (self.experiment.is_empty() && !self.only.is_empty());
        let experiments: Vec<_> = boot
            .experiments
            .iter()
            .filter(|name| has(&self.experiment, name) && !no_experiments)
            .map(|&name| name.to_owned())
            .collect();
        if !experiments.is_empty() {
            let mut line = program();
            line.push("experiments".to_owned());
            line.extend(experiments);
            line.extend(
                self.resolver
                    .iter()
                    .map(|name| format!("--resolver={name}")),
            );
            commands.push(line);
        }
        commands
    }
}

/// Seconds. A clock that counts instructions leaps when the guest is idle: a file
/// that the host is slow to read may take it minutes. The host's limits hold.
const NO_LIMIT: u64 = 24 * 60 * 60;

/// Everything that is needed for a run.
pub struct Bench<'a> {
    options: &'a Options,
    places: &'a Places,
    interrupt: &'a Interrupt,
    root: Root,
}

impl<'a> Bench<'a> {
    /// Prepares it.
    pub fn new(options: &'a Options, places: &'a Places, interrupt: &'a Interrupt) -> Result<Self> {
        let root = places.root(&["rfutex-bench"])?;
        let pages = File::create(root.path().join(PAGES_FILE.trim_start_matches('/')))?;
        pages.set_len(PAGES_LEN)?;
        Ok(Self {
            options,
            places,
            interrupt,
            root,
        })
    }

    /// Measures, and prints what came out. False if something of it did not work.
    pub fn run(&self, choice: &Choice) -> Result<bool> {
        let (results, good) = self.measure(choice)?;
        ensure!(!results.is_empty(), "nothing was measured");
        let path = self.places.build.join("bench.json");
        results.write(&path)?;
        let plots = self.places.build.join("bench");
        plots::draw(&results, &plots)?;
        print!("{}", table::Printed(&results));
        println!("all figures: {}", path.display());
        println!("plots: {}", plots.display());
        Ok(good)
    }

    fn measure(&self, choice: &Choice) -> Result<(Results, bool)> {
        let mut results = Results {
            revision: output(
                Command::new("git")
                    .args(["describe", "--always", "--dirty"])
                    .current_dir(&self.options.top),
            )?,
            kernel: self.kernel()?,
            qemu: output(Command::new("qemu-system-x86_64").arg("--version"))?,
            ..Results::default()
        };
        let mut good = true;
        for boot in BOOTS {
            let commands = choice.commands(boot);
            if !commands.is_empty() {
                good &= self.boot(boot, commands, &mut results)?;
            }
        }
        Ok((results, good))
    }

    /// Boots the machine and takes in what the guest tells.
    fn boot(&self, boot: &Boot, commands: Vec<Vec<String>>, results: &mut Results) -> Result<bool> {
        let limits = Limits {
            silence: Duration::from_secs(300),
            total: Duration::from_secs(30 * 60),
        };
        let mut session = self.options.session(self.places, self.interrupt, limits)?;
        if boot.counting {
            session.count_instructions();
        } else {
            results.load = Some(results.load.unwrap_or(0.0).max(load()?));
            session.choose_accelerator(&self.root)?;
        }
        // An emulated one is, but seems not to be when the host is slow; and to
        // read another clock takes longer than what is timed.
        session.machine.append.push("tsc=reliable".to_owned());
        let mut stages = vec![Stage::Insmod {
            module: guest_module(boot.module),
            parameters: Vec::new(),
        }];
        stages.extend(commands.into_iter().map(|argv| Stage::Exec { argv }));
        stages.push(Stage::Log {
            name: format!("{}/kernel log", boot.name),
        });
        stages.push(Stage::Unload {
            build: boot.name.to_owned(),
        });
        let plan = Plan {
            limit: if boot.counting {
                NO_LIMIT
            } else {
                self.options.limit
            },
            stages,
            first_failure: false,
        };
        let progress = ProgressBar::new_spinner();
        progress.enable_steady_tick(Duration::from_millis(200));
        let mut report = Report::default();
        let name = format!("bench-{}", boot.name);
        let ran =
            session.run_with(
                &self.root,
                &plan,
                &name,
                &mut report,
                |line| match Record::parse(line) {
                    Some(record) => {
                        progress.set_message(format!("{}: {record}", boot.name));
                        results.add(record, boot.module);
                    }
                    None => progress.suspend(|| println!("{line}")),
                },
            )?;
        progress.finish_and_clear();
        let good = report.good() && ran.exited == Some(0);
        if !good {
            let log = self
                .places
                .build
                .join("console")
                .join(format!("{name}.log"));
            eprintln!(
                "the benchmark failed in the boot for {}: {}",
                boot.name,
                log.display()
            );
        }
        Ok(good)
    }

    fn kernel(&self) -> Result<String> {
        let path = self.places.kdir.join("include/config/kernel.release");
        let release = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(release.trim().to_owned())
    }
}

/// How many tasks of the host have run or wanted to, on average of a minute.
fn load() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().context("/proc/loadavg")
}

/// The first line that a command prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context("a program cannot be run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
