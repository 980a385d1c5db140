// SPDX-License-Identifier: GPL-2.0
//! `make check`: everything that is tested, in the order of how soon it tells.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::errno::Errno;
use rfutex_guest::plan::{Plan, Stage};

use crate::report::{Phases, Report};
use crate::samples::Samples;
use crate::session::{Places, guest_module};
use crate::vng::Interrupt;
use crate::{Options, host, splats, suites};

/// Where the selftests are in the guest.
const SELFTESTS: &str = "/bin/rfutex-selftests";

/// Which selftests run on the module as a user has it, too: each command, each
/// error, a wake on every kind of memory, and what depends on the resolvers that
/// a build has. The rest tests the same code, but for what lab builds add to it.
const PLAIN: &[&str] = &[
    "smoke::",
    "errors::",
    "wait::",
    "::wakes",
    PARAMETERS[0],
    PARAMETERS[1],
];

/// The selftests of what the module was loaded with: they run also on a module
/// that was loaded with other parameters.
const PARAMETERS: [&str; 2] = ["resolvers::choose::", "hold::parameter::"];

/// What the module must not be loaded with, and the error that says so: in that
/// order the locked resolver, which only lab builds have; two numbers that are
/// no resolver; more buckets than there may be; and two words that say nothing
/// that a waiter could hold.
const REFUSED: &[(&str, Errno)] = &[
    ("resolver=3", Errno::EOPNOTSUPP),
    ("resolver=0", Errno::EINVAL),
    ("resolver=9", Errno::EINVAL),
    ("buckets=1048577", Errno::EINVAL),
    ("hold=everything", Errno::EINVAL),
    ("hold=2", Errno::EINVAL),
];

/// What the kernel has to have for the tests to mean something.
const NEEDS: &[&str] = &[
    "KUNIT",
    "KUNIT_DEBUGFS",
    "VIRTIO_FS",
    "DEBUG_FS",
    "CGROUPS",
    "PROVE_LOCKING",
    "KASAN",
];

/// One run of all tests.
pub struct Check<'a> {
    options: &'a Options,
    places: &'a Places,
    interrupt: &'a Interrupt,
    report: Report,
    phases: Phases,
}

impl<'a> Check<'a> {
    /// Prepares it.
    pub fn new(options: &'a Options, places: &'a Places, interrupt: &'a Interrupt) -> Self {
        let (report, phases) = (Report::default(), Phases::default());
        Self {
            options,
            places,
            interrupt,
            report,
            phases,
        }
    }

    /// Runs everything; with `only` not empty, only the selftests that have one
    /// of these in their name. An error of the harness is a test that failed.
    pub fn all(&mut self, only: &[String]) -> Result<Report> {
        let result = self.in_phases(only);
        self.report.close(result)?;
        println!("{}", self.report.slowest(5));
        println!("{}", self.phases);
        Ok(std::mem::take(&mut self.report))
    }

    fn in_phases(&mut self, only: &[String]) -> Result<()> {
        check_config(self.places)?;
        let top = self.options.top.clone();
        if only.is_empty() {
            self.phase("host and harness", |check| check.host_and_harness(&top))?;
        }
        self.phase("vm", |check| check.in_vm(only))
    }

    /// The tests of the programs, while the harness's own VMs run: those wait
    /// for time-outs, mostly.
    fn host_and_harness(&mut self, top: &Path) -> Result<()> {
        let (options, places) = (self.options, self.places);
        thread::scope(|scope| {
            let harness = scope.spawn(|| splats::run(options, places));
            let limit = Duration::from_secs(options.limit);
            host::run(top, limit, &mut self.report)?;
            let module = places.modules.join("module/rfutex.ko");
            host::modinfo(&module, &mut self.report)?;
            Samples::new(places, top).build(limit, &mut self.report)?;
            let harness = harness.join().unwrap_or_else(|panic| resume_unwind(panic));
            harness?.judge(&mut self.report)
        })
    }

    fn phase(&mut self, name: &str, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        println!("--- {name}");
        work(self)?;
        self.phases.add(name, began.elapsed());
        Ok(())
    }

    /// KUnit and the selftests on the lab build, then some of them and the
    /// samples on the module as a user has it.
    fn in_vm(&mut self, only: &[String]) -> Result<()> {
        let mut session =
            self.options
                .session(self.places, self.interrupt, self.options.limits())?;
        let root = self.places.root_for_selftests()?;
        session.choose_accelerator(&root)?;
        let suites = suites::declared(&self.options.top.join("rust"))?
            .into_iter()
            .collect();
        let samples = if only.is_empty() {
            Samples::new(self.places, &self.options.top).add(&root, self.options.limit)?
        } else {
            Vec::new()
        };
        let plan = Plan {
            limit: self.options.limit,
            stages: stages(suites, samples, only),
            first_failure: false,
        };
        let ran = session.run(&root, &plan, "check", &mut self.report)?;
        self.phases.add("boot", ran.boot);
        Ok(())
    }
}

fn stages(suites: Vec<String>, samples: Vec<Stage>, only: &[String]) -> Vec<Stage> {
    let owned = |words: &[&str]| {
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    let chosen = !only.is_empty();
    let trials = |build: &str, without: &[&str], only: Vec<String>| Stage::Trials {
        build: build.to_owned(),
        program: SELFTESTS.to_owned(),
        without: owned(without),
        only,
        // All that are left out here run on the lab build: none at all is
        // noticed there.
        or_none: chosen && !without.is_empty(),
    };
    let (plain, parameters) = if chosen {
        let is_one = |part: &&String| PARAMETERS.iter().any(|one| part.starts_with(one));
        (only.to_vec(), only.iter().filter(is_one).cloned().collect())
    } else {
        (owned(PLAIN), owned(&PARAMETERS))
    };
    let load = |build: &str, module: &str, parameters: &[&str], suites| Stage::Load {
        build: build.to_owned(),
        module: guest_module(module),
        parameters: owned(parameters),
        without_suites: Option::is_none(&suites),
        suites: suites.unwrap_or_default(),
    };
    let unload = |build: &str| Stage::Unload {
        build: build.to_owned(),
    };
    let mut stages = vec![
        Stage::Boot,
        // A small table, where words meet in one bucket; and the default.
        load("lab", "lab", &["buckets=512"], Some(suites)),
        trials("", &[], only.to_vec()),
        unload("lab"),
        // The suites make tables of their own, whatever the module was loaded with.
        load("nothing", "lab", &["buckets=512", "hold=nothing"], None),
        // Whether the oracle sees faults does not depend on what a waiter holds.
        trials("nothing", &["oracle"], only.to_vec()),
        unload("nothing"),
        load("plain", "module", &[], None),
        trials("plain", &["lab"], plain),
    ];
    stages.extend(samples);
    stages.push(unload("plain"));
    if !parameters.is_empty() {
        stages.extend(REFUSED.iter().map(|&(parameters, errno)| Stage::Refused {
            build: "plain".to_owned(),
            module: guest_module("module"),
            parameters: parameters.to_owned(),
            errno: errno as i32,
        }));
        stages.extend([
            load("others", "module", &["resolver=2", "hold=nothing"], None),
            trials("others", &["lab"], parameters),
            unload("others"),
        ]);
    }
    stages
}

/// Refuses a kernel in which the tests could not run or would see nothing.
fn check_config(places: &Places) -> Result<()> {
    let built_in = places.built_in()?;
    let lacks: Vec<_> = NEEDS
        .iter()
        .copied()
        .filter(|&option| !built_in.contains(option))
        .collect();
    ensure!(
        lacks.is_empty(),
        "the kernel in {} lacks {}: the tests need a debug kernel (without KDIR= one is built)",
        places.kdir.display(),
        lacks.join(", ")
    );
    Ok(())
}
