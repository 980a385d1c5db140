// SPDX-License-Identifier: GPL-2.0
//! Carries out stages, and judges each test by its end, by what the kernel
//! logged meanwhile, and by what it left behind.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use rfutex_guest::event::{Event, Outcome, Verdict};
use rfutex_guest::kmsg::{self, Kmsg, Message};
use rfutex_guest::plan::{self, Plan, Stage};
use rfutex_guest::splat;
use rfutex_guest::trial::{self, Ended, Group, Trial};

use crate::attempt::Attempt;
use crate::coverage::Coverage;
use crate::leftovers::Snapshot;
use crate::{in_memory, kunit, module, own};

/// The most lines of kernel log that are shown of one test.
const LOG_LINES: usize = 300;

/// Bits of `/proc/sys/kernel/tainted` that only a splat sets: bad page, died,
/// warned, soft lockup.
const TAINT_SPLAT: u64 = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14;

/// What tells a test which parameters the module was loaded with: the kernel
/// shows no parameters of a module in Rust. `NAME=VALUE`, with blanks between.
const PARAMETERS: &str = "RFUTEX_PARAMETERS";

/// What tells a test which file the module was loaded from.
const MODULE: &str = "RFUTEX_MODULE";

/// What tells a test what the kernel or the module was built without: words with blanks between.
const LACKS: &str = "RFUTEX_LACKS";

/// What is set for a test that is to repeat less.
const BRIEF: &str = "RFUTEX_BRIEF";

/// The state of the kernel's own checks.
struct Health {
    taint: u64,
    /// Lockdep still looks; it stops for good at its first report.
    lockdep: bool,
}

impl Health {
    fn now() -> Self {
        let stats = read("/proc/lockdep_stats");
        let debug_locks = stats
            .lines()
            .find(|line| line.trim_start().starts_with("debug_locks:"));
        Self {
            taint: taint(),
            lockdep: debug_locks.is_some_and(|line| line.trim_end().ends_with('1')),
        }
    }

    /// The state now, after the kernel logged `messages`. Lockdep tells when it stops; to ask it is
    /// to have it search its graph, which takes longer than many a test.
    fn after(&self, messages: &[Message]) -> Self {
        if !messages.is_empty() {
            return Self::now();
        }
        Self {
            taint: taint(),
            lockdep: self.lockdep,
        }
    }

    /// What has become worse since `before`, one sentence each.
    fn worse_than(&self, before: &Self) -> Vec<String> {
        let mut worse = Vec::new();
        let new = self.taint & !before.taint & TAINT_SPLAT;
        if new != 0 {
            worse.push(format!("the kernel is tainted: new bits {new:#x}"));
        }
        if before.lockdep && !self.lockdep {
            worse.push("lockdep turned itself off".to_owned());
        }
        worse
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn taint() -> u64 {
    read("/proc/sys/kernel/tainted").trim().parse().unwrap_or(0)
}

/// The splats in a part of the kernel log.
fn reported(messages: &[Message]) -> splat::Findings {
    splat::scan(messages.iter().map(|m| m.text.as_str()))
}

/// The one run through a plan.
pub struct Session {
    kmsg: Kmsg,
    health: Health,
    limit: Duration,
    /// No more trials of a module after one that failed.
    first_failure: bool,
    /// One has, since the last module was loaded.
    failed: bool,
    /// The file that the last module was loaded from.
    module: String,
    /// What it was loaded with.
    parameters: String,
    /// What is reached of it, if the host wants to know.
    coverage: Option<Coverage>,
    /// The KUnit suites of the kernel itself.
    own_suites: Vec<String>,
    /// What the kernel or the module was built without.
    lacks: String,
    /// Whether tests repeat less.
    brief: bool,
}

impl Session {
    /// Begins to look at the kernel log.
    pub fn new(plan: &Plan) -> Result<Self> {
        Ok(Self {
            kmsg: Kmsg::open().context("/dev/kmsg")?,
            // What happened at boot is for the first test.
            health: Health {
                taint: 0,
                ..Health::now()
            },
            limit: Duration::from_secs(plan.limit),
            first_failure: plan.first_failure,
            failed: false,
            module: String::new(),
            parameters: String::new(),
            coverage: Coverage::begin().context("coverage")?,
            own_suites: kunit::suites().into_iter().collect(),
            lacks: plan.lacks.join(" "),
            brief: plan.brief,
        })
    }

    /// Carries out one stage. An error is one of the harness, not of a test.
    pub fn carry_out(&mut self, stage: Stage) -> Result<()> {
        match stage {
            Stage::Boot => self.judged("boot", || Ok(Attempt::default())),
            Stage::Log { name } => self.judged(&name, || Ok(Attempt::default())),
            Stage::Load {
                build,
                module,
                installed,
                parameters,
                suites,
                without_suites,
            } => {
                self.parameters = parameters.join(" ");
                self.covered(&module)?;
                self.module = module;
                let mut loader = module::loader(&self.module, installed);
                kunit::run_at_load(!without_suites)?;
                self.load(&build, loader.args(parameters), &suites)?;
                // A test may load it again.
                Ok(kunit::run_at_load(false)?)
            }
            Stage::Refused {
                build,
                module,
                parameters,
                errno,
            } => {
                let own = self.own_suites.clone();
                self.covered(&module)?;
                self.judged(&format!("{build}/refused/{parameters}"), || {
                    Ok(Attempt::of(|| {
                        module::refused(&module, &parameters, Errno::from_raw(errno), &own)
                    }))
                })
            }
            Stage::Unload { build } => {
                let own = self.own_suites.clone();
                self.judged(&format!("{build}/rmmod"), || {
                    Ok(Attempt::of(|| module::unload_checked(&own)))
                })
            }
            Stage::Trials {
                build,
                program,
                without,
                only,
                or_none,
            } => {
                let wanted = |trial: &Trial| {
                    let named = only.iter().any(|part| trial.name.contains(part.as_str()));
                    let left_out = without.iter().any(|part| {
                        let is_module = part.ends_with("::");
                        trial.kind == *part || (is_module && trial.name.starts_with(part.as_str()))
                    });
                    !left_out && (only.is_empty() || named)
                };
                self.trials(&build, &program, wanted, or_none)
            }
            Stage::Script {
                name,
                script,
                output,
                limit,
            } => self.judged_tidy(&name, &mut Snapshot::take(), || {
                let mut sh = Command::new("sh");
                let ended = run(sh.args(["-c", &script]), Duration::from_secs(limit))?;
                let attempt = Attempt::from(ended);
                match output {
                    Some(pattern) => attempt.printing(&pattern),
                    None => Ok(attempt),
                }
            }),
            Stage::Peer {
                name,
                argv,
                place,
                limit,
            } => self.judged(&name, || {
                let mut command = own::in_place(&argv, &place, "/tmp")?;
                let ended = run(&mut command, Duration::from_secs(limit))?;
                Ok(Attempt {
                    shown: true,
                    ..Attempt::from(ended)
                })
            }),
            Stage::Insmod { module, parameters } => {
                self.covered(&module)?;
                let mut insmod = module::insmod(&module);
                let ended = trial::run(insmod.args(parameters), self.limit, None)?;
                if !ended.well() {
                    bail!(
                        "insmod {module}: {} {}",
                        ended.wrong.join("; "),
                        ended.output.trim()
                    );
                }
                module::is_there()
            }
            Stage::EndOfCoverage => {
                let coverage = self.coverage.take();
                coverage.map_or(Ok(()), |mut coverage| coverage.tell())
            }
            Stage::Exec { argv } => {
                let status = Command::new(&argv[0])
                    .args(&argv[1..])
                    .status()
                    .with_context(|| argv.join(" "))?;
                let status = trial::exit_status(status);
                Ok(Event::Exited { status }.emit()?)
            }
            Stage::Debugger => {
                let sections = module::sections()?;
                Event::Loaded { sections }.emit()?;
                let read = io::stdin().read_line(&mut String::new())?;
                ensure!(read > 0, "no debugger came");
                Ok(())
            }
            Stage::Own { argv, place } => {
                let status = own::run(&argv, &place)?;
                Ok(Event::Exited { status }.emit()?)
            }
        }
    }

    /// Ends the plan: judges what the kernel logged since the last test. Says
    /// nothing if all is well.
    pub fn close(&mut self) -> Result<()> {
        if let Some(coverage) = &mut self.coverage {
            coverage.tell()?;
        }
        // First: no message is on neither side of it.
        fs::write("/dev/kmsg", plan::END_MARK)?;
        let messages = self.kmsg.drain()?;
        let worse = Health::now().worse_than(&self.health);
        if worse.is_empty() && reported(&messages).is_empty() {
            return Ok(());
        }
        self.end(plan::END, Attempt::default(), &messages)
    }

    /// What is reached from now on is of the module in this file.
    fn covered(&mut self, module: &str) -> Result<()> {
        match &mut self.coverage {
            Some(coverage) => coverage.of(module),
            None => Ok(()),
        }
    }

    /// Runs one test: tells the host, attempts it, looks at the kernel log.
    fn judged(&mut self, name: &str, attempt: impl FnOnce() -> Result<Attempt>) -> Result<()> {
        Event::Started {
            name: name.to_owned(),
        }
        .emit()?;
        let attempt = attempt().with_context(|| name.to_owned())?;
        let messages = self.kmsg.drain()?;
        self.end(name, attempt, &messages)
    }

    /// Runs one test that must leave the system as it found it, as in `system`; that says afterwards
    /// how it is now.
    fn judged_tidy(
        &mut self,
        name: &str,
        system: &mut Snapshot,
        attempt: impl FnOnce() -> Result<Attempt>,
    ) -> Result<()> {
        self.judged(name, || {
            let mut attempt = attempt()?;
            attempt.wrong.extend(system.changes());
            Ok(attempt)
        })
    }

    /// Judges a test by what it did and by its part of the kernel log, and
    /// tells the host.
    fn end(&mut self, name: &str, attempt: Attempt, messages: &[Message]) -> Result<()> {
        let found = reported(messages);
        let mut why = attempt.wrong;
        why.extend(
            found
                .headings
                .iter()
                .map(|heading| format!("kernel: {heading}")),
        );
        let health = self.health.after(messages);
        why.extend(health.worse_than(&self.health));
        self.health = health;
        let verdict = match (why.is_empty(), attempt.skipped) {
            (false, _) => Verdict::Failed,
            (true, None) => Verdict::Passed,
            (true, Some(reason)) => {
                why.push(reason);
                Verdict::Skipped
            }
        };
        self.failed |= verdict == Verdict::Failed;
        let mut log = String::new();
        if verdict == Verdict::Failed || attempt.shown {
            log.push_str(&attempt.output);
        }
        if verdict == Verdict::Failed && !messages.is_empty() {
            log.push_str("kernel log:\n");
            let shown = messages.len().saturating_sub(LOG_LINES);
            log.push_str(&kmsg::lines(&messages[shown..]));
        }
        let outcome = Outcome {
            name: name.to_owned(),
            verdict,
            seconds: attempt.seconds,
            why,
            splats: found.kinds,
            log,
        };
        Ok(Event::Ended(outcome).emit()?)
    }

    /// Loads a module, and reports the KUnit cases that ran as it came in.
    fn load(&mut self, build: &str, loader: &mut Command, wanted: &[String]) -> Result<()> {
        self.failed = false;
        let name = format!("{build}/{}", loader.get_program().display());
        Event::Started { name: name.clone() }.emit()?;
        let known = kunit::suites();
        let mut load = Attempt::from(run(loader, self.limit)?);
        load.wrong
            .extend(module::is_there().err().map(|error| format!("{error:#}")));

        let mut log = kunit::attribute(self.kmsg.drain()?);
        // All cases have run. What a report left behind is for the case that it is in, not for the
        // first to be looked at.
        if log
            .cases
            .values()
            .any(|logged| !reported(&logged.messages).is_empty())
        {
            self.health = Health::now();
        }
        let came: BTreeSet<String> = kunit::suites().difference(&known).cloned().collect();
        let wanted: BTreeSet<String> = wanted.iter().cloned().collect();
        for suite in came.union(&wanted) {
            let cases = kunit::results(suite)
                .filter(|_| came.contains(suite))
                .unwrap_or_default();
            if cases.is_empty() {
                let attempt = Attempt {
                    wrong: vec!["this KUnit suite did not run".to_owned()],
                    ..Attempt::default()
                };
                self.end(&format!("kunit/{suite}"), attempt, &[])?;
            }
            for case in cases {
                let key = (suite.clone(), case.name.clone());
                let logged = log.cases.remove(&key).unwrap_or_default();
                let mut attempt = Attempt {
                    seconds: logged.micros as f64 / 1e6,
                    ..Attempt::default()
                };
                match case.verdict {
                    Verdict::Passed => (),
                    Verdict::Failed => attempt.wrong = vec!["not ok".to_owned()],
                    Verdict::Skipped => attempt.skipped = Some(case.remarks.join("; ")),
                }
                attempt.output = case
                    .remarks
                    .iter()
                    .map(|line| format!("{line}\n"))
                    .collect();
                let name = format!("kunit/{suite}/{}", case.name);
                self.end(&name, attempt, &logged.messages)?;
            }
        }
        // What belongs to no case that KUnit reports is the loader's.
        let mut rest = log.rest;
        rest.extend(log.cases.into_values().flat_map(|logged| logged.messages));
        self.end(&name, load, &rest)
    }

    /// Runs those trials of a test program that are wanted, one by one. That
    /// there are none is a failure unless `or_none`.
    fn trials(
        &mut self,
        build: &str,
        program: &str,
        wanted: impl Fn(&Trial) -> bool,
        or_none: bool,
    ) -> Result<()> {
        if self.first_failure && self.failed {
            return Ok(());
        }
        let prefix = if build.is_empty() {
            String::new()
        } else {
            format!("{build}/")
        };
        let program = in_memory::copy(program)?;
        let list = trial::run(Command::new(&program).arg("--list"), self.limit, None)?;
        let trials: Vec<_> = trial::parse_list(&list.output)
            .into_iter()
            .filter(|trial| wanted(trial))
            .collect();
        if !list.well() || (trials.is_empty() && !or_none) {
            let wrong = vec![format!(
                "{} lists no trial to run: {}",
                program.display(),
                list.wrong.join("; ")
            )];
            return self.judged(&format!("{prefix}trials"), || {
                Ok(Attempt {
                    wrong,
                    output: list.output,
                    ..Attempt::default()
                })
            });
        }
        let limit = self.limit;
        let (module, parameters) = (self.module.clone(), self.parameters.clone());
        let (lacks, brief) = (self.lacks.clone(), self.brief);
        let mut system = Snapshot::take();
        for trial in trials {
            self.judged_tidy(&format!("{prefix}{}", trial.name), &mut system, || {
                let mut command = Command::new(&program);
                command
                    .args(["--exact", &trial.name])
                    .env("RUST_BACKTRACE", "1")
                    .env(MODULE, &module)
                    .env(PARAMETERS, &parameters)
                    .env(LACKS, &lacks)
                    .envs(brief.then_some((BRIEF, "1")));
                let mut ended = run(&mut command, limit)?;
                let skipped = ended.judge_trial();
                Ok(Attempt {
                    skipped,
                    ..Attempt::from(ended)
                })
            })?;
            if let Some(coverage) = &mut self.coverage {
                coverage.tell_if_due()?;
            }
            if self.first_failure && self.failed {
                break;
            }
        }
        Ok(())
    }
}

/// Runs a test process in a cgroup of its own.
fn run(command: &mut Command, limit: Duration) -> Result<Ended> {
    let group = Group::new("/sys/fs/cgroup/rfutex-test").context("the test's cgroup")?;
    Ok(trial::run(command, limit, Some(&group))?)
}
