// SPDX-License-Identifier: GPL-2.0
//! `make check`: everything that is tested, in two lanes.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rfutex_guest::plan::{Plan, Stage};

use crate::coverage::Reached;
use crate::interrupt::Interrupt;
use crate::report::{Phases, Report};
use crate::root::Root;
use crate::samples::Samples;
use crate::session::{Places, Session};
use crate::{Options, host, kernels, results, stages, stock, suites};

/// One run of all tests.
pub struct Check<'a> {
    options: &'a Options,
    places: &'a Places,
    interrupt: &'a Interrupt,
    /// Whether the module is instrumented, which takes its time.
    coverage: bool,
    /// Whether some run once that would run in both lanes, and repeat less.
    brief: bool,
}

impl<'a> Check<'a> {
    /// Prepares it.
    pub fn new(options: &'a Options, places: &'a Places, interrupt: &'a Interrupt) -> Self {
        Self {
            options,
            places,
            interrupt,
            coverage: false,
            brief: false,
        }
    }

    /// Without the tests in one lane that tell hardly more than in the other, and with less of
    /// what is repeated.
    pub fn briefly(self, brief: bool) -> Self {
        Self { brief, ..self }
    }

    /// For modules that are instrumented.
    pub fn of_coverage(self) -> Self {
        Self {
            coverage: true,
            ..self
        }
    }

    /// Runs everything; with `only` not empty, only the selftests and samples that
    /// have one of these in their name; with `only_module`, only what runs in the VM with the
    /// module. An error of the harness is a test that failed.
    ///
    /// Most tests keep one processor busy, or wait. So two lanes run side by
    /// side, each with a VM of its own.
    pub fn all(&self, only: &[String], only_module: bool) -> Result<Checked> {
        let mut report = Report::default();
        let prepared = kernels::good_for_tests(self.places).and_then(|()| self.kvm_works());
        let kvm = match prepared {
            Ok(kvm) => kvm,
            Err(error) => {
                report.close(Err(error))?;
                let reached = Vec::new();
                return Ok(Checked { report, reached });
            }
        };
        if self.places.stock.is_some() {
            let lane = Lane::new(self, kvm).carry_out(|lane| lane.stock(only))?;
            return self.checked([lane]);
        }
        let lanes = thread::scope(|scope| {
            let inode = scope.spawn(|| Lane::new(self, kvm).carry_out(|lane| lane.inode(only)));
            let nothing = scope
                .spawn(|| Lane::new(self, kvm).carry_out(|lane| lane.nothing(only, only_module)));
            [inode, nothing].map(|lane| lane.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let [inode, nothing] = lanes;
        self.checked([inode?, nothing?])
    }

    /// What became of all lanes together.
    fn checked(&self, lanes: impl IntoIterator<Item = Lane<'a>>) -> Result<Checked> {
        let (mut report, mut phases, mut reached) =
            (Report::default(), Phases::default(), Vec::new());
        for lane in lanes {
            report.join(lane.report);
            phases.join(lane.phases);
            reached.extend(lane.reached);
        }
        println!("{}", report.slowest(5));
        println!("{phases}");
        let build = &self.places.build;
        results::write(build, report.outcomes())?;
        println!("results: {0}/check.tap, {0}/check.xml", build.display());
        Ok(Checked { report, reached })
    }

    /// Finds out, once for both lanes, whether KVM can be used.
    fn kvm_works(&self) -> Result<bool> {
        let mut session = self.session()?;
        session.choose_accelerator(&self.places.root(&[])?)?;
        Ok(session.machine.kvm)
    }

    fn session(&self) -> Result<Session<'a>> {
        let mut limits = self.options.limits();
        if self.coverage {
            limits.total *= 4;
        }
        if self.places.stock.is_some() {
            // What the guest runs first says nothing to us until it has ended.
            limits.silence += stock::LIMIT;
            limits.total += stock::LIMIT;
        }
        self.options.session(self.places, self.interrupt, limits)
    }
}

/// What became of all.
pub struct Checked {
    /// Of the tests.
    pub report: Report,
    /// And what they reached of instrumented modules.
    pub reached: Vec<Reached>,
}

/// Tests that run one after the other.
struct Lane<'a> {
    check: &'a Check<'a>,
    kvm: bool,
    report: Report,
    phases: Phases,
    reached: Vec<Reached>,
}

impl<'a> Lane<'a> {
    fn new(check: &'a Check<'a>, kvm: bool) -> Self {
        let (report, phases) = (Report::default(), Phases::default());
        Self {
            check,
            kvm,
            report,
            phases,
            reached: Vec::new(),
        }
    }

    /// Notes an error of the harness as a test that failed.
    fn carry_out(mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<Self> {
        let result = work(&mut self);
        self.report.close(result)?;
        Ok(self)
    }

    /// KUnit and the selftests on the lab build, with its default parameters but
    /// for a small table.
    fn inode(&mut self, only: &[String]) -> Result<()> {
        let suites = suites::declared(&self.check.options.top.join("rust"))?
            .into_iter()
            .collect();
        let root = self.check.places.root_for_selftests()?;
        // Samples may be all that was asked for; they run in the other lane.
        let or_none = !only.is_empty() && self.has_samples(only)?;
        let stages = stages::inode(suites, only, or_none, self.check.brief);
        self.in_vm("vm", &root, stages)
    }

    /// `make stock-install` for one of Debian's own kernels while that runs; and the selftests, the
    /// tests of the preloaded library and the samples on the module that it installs.
    fn stock(&mut self, only: &[String]) -> Result<()> {
        let (options, places) = (self.check.options, self.check.places);
        let stock = places.stock.as_ref().context("a kernel of Debian's")?;
        let root = places.root_for_selftests()?;
        self.build_samples(only)?;
        let samples = self.add_samples(&root, only)?;
        let top = std::path::absolute(&options.top)?;
        let install = stock.install(&top)?;
        stock.add_peers(&root, places)?;
        let module = stock.module()?;
        let stages = stages::stock(install, &module, stock.peers(only), samples, only);
        self.in_vm("stock", &root, stages)
    }

    /// The tests of the programs; then the selftests on a module whose waiters hold
    /// nothing, and some of them and the samples on the module as a user has it.
    fn nothing(&mut self, only: &[String], only_module: bool) -> Result<()> {
        if only.is_empty() && !only_module {
            let samples = self.samples(only);
            self.phase("host", |lane| lane.host(&samples))?;
        } else {
            self.build_samples(only)?;
        }
        let root = self.check.places.root_for_selftests()?;
        let samples = self.add_samples(&root, only)?;
        let mut stages = stages::nothing(samples, only, self.check.brief);
        if only.is_empty() && self.check.coverage {
            stages.extend(stages::fuzz());
        }
        self.in_vm("second vm", &root, stages)
    }

    /// The tests of the programs.
    fn host(&mut self, samples: &Samples<'_>) -> Result<()> {
        let check = self.check;
        let (limit, interrupt) = (self.limit(), check.interrupt);
        host::run(&check.options.top, limit, interrupt, &mut self.report)?;
        let module = check.places.modules.join("module/rfutex.ko");
        host::modinfo(&module, &mut self.report)?;
        samples.build(limit, interrupt, &mut self.report)
    }

    /// How long a test may take.
    fn limit(&self) -> Duration {
        Duration::from_secs(self.check.options.limit)
    }

    fn samples<'o>(&self, only: &'o [String]) -> Samples<'o>
    where
        'a: 'o,
    {
        Samples::new(self.check.places, &self.check.options.top, only)
    }

    /// Whether samples are to run. Those in C are compiled for the host, so they are left out on
    /// another architecture.
    fn has_samples(&self, only: &[String]) -> Result<bool> {
        let architecture = kernels::architecture(self.check.places)?;
        Ok(architecture.foreign().is_none() && self.samples(only).any()?)
    }

    /// Builds those that are to run.
    fn build_samples(&mut self, only: &[String]) -> Result<()> {
        if !self.has_samples(only)? {
            return Ok(());
        }
        let samples = self.samples(only);
        self.phase("samples", |lane| {
            samples.build(lane.limit(), lane.check.interrupt, &mut lane.report)
        })
    }

    /// Adds them to `root`. The tests that run them.
    fn add_samples(&self, root: &Root, only: &[String]) -> Result<Vec<Stage>> {
        if !self.has_samples(only)? {
            return Ok(Vec::new());
        }
        self.samples(only).add(root, self.check.options.limit)
    }

    fn phase(&mut self, name: &str, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        println!("--- {name}");
        work(self)?;
        self.phases.add(name, began.elapsed());
        Ok(())
    }

    fn in_vm(&mut self, name: &str, root: &Root, stages: Vec<Stage>) -> Result<()> {
        self.phase(name, |lane| {
            let mut session = lane.check.session()?;
            session.use_accelerator(lane.kvm);
            let plan = Plan {
                limit: lane.check.options.limit,
                stages,
                first_failure: false,
                lacks: kernels::lacks(lane.check.places)?,
                brief: lane.check.brief,
            };
            let log = format!("check-{}", name.replace(' ', "-"));
            let ran = session.run(root, &plan, &log, &mut lane.report)?;
            lane.phases.add("boot", ran.boot);
            lane.reached.extend(ran.reached);
            Ok(())
        })
    }
}
