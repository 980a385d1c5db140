// SPDX-License-Identifier: GPL-2.0
//! `make bench`: rfutex beside futex(2), in instructions and in time.

mod choice;
mod compare;
mod experiments;
mod lines;
mod more;
mod plots;
mod profile;
mod results;
mod symbols;
mod table;
mod targets;

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{self, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::ProgressBar;
use rfutex_figures::record::{PAGES_FILE, PAGES_LEN, Record};
use rfutex_guest::plan::Plan;

use crate::Options;
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::root::Root;
use crate::session::Places;
use crate::vng::Limits;

pub use choice::Choice;
use choice::{BOOTS, Boot, Load, Machine};
pub use compare::Base;
use lines::Told;
pub use profile::Operation;
use results::Results;
use symbols::Symbols;
pub use table::new as columns;

/// Seconds. A clock that counts instructions leaps when the guest is idle: a file
/// that the host is slow to read may take it minutes. The host's limits hold.
const NO_LIMIT: u64 = 24 * 60 * 60;

/// The kernel for what goes by time. Without one it is that of `--kdir`, as
/// where the user named a kernel.
#[derive(Args, Clone, Debug)]
pub struct TimeKernel {
    /// The build directory of another kernel, on which time is taken
    #[arg(long, value_name = "DIR", requires = "time_modules")]
    time_kdir: Option<PathBuf>,
    /// The directory with the modules built for that one
    #[arg(long, value_name = "DIR", requires = "time_kdir")]
    time_modules: Option<PathBuf>,
}

impl TimeKernel {
    /// Where it is, if it is not where `other` is.
    pub fn places(&self, other: &Places) -> Result<Option<Places>> {
        let (Some(kdir), Some(modules)) = (&self.time_kdir, &self.time_modules) else {
            return Ok(None);
        };
        Ok(Some(Places {
            kdir: path::absolute(kdir)?,
            modules: path::absolute(modules)?,
            ..other.clone()
        }))
    }
}

/// A kernel, and a root with the modules that are built for it.
struct Kernel<'a> {
    places: &'a Places,
    root: Root,
}

impl<'a> Kernel<'a> {
    fn new(places: &'a Places) -> Result<Self> {
        let root = places.root(&["rfutex-bench"])?;
        let pages = File::create(root.path().join(PAGES_FILE.trim_start_matches('/')))?;
        pages.set_len(PAGES_LEN)?;
        Ok(Self { places, root })
    }
}

/// Everything that is needed for a run.
pub struct Bench<'a> {
    options: &'a Options,
    interrupt: &'a Interrupt,
    /// What counts instructions.
    kernel: Kernel<'a>,
    /// What takes time, if that is another.
    time: Option<Kernel<'a>>,
    /// What counts lines that move.
    plugin: Option<PathBuf>,
}

impl<'a> Bench<'a> {
    /// Prepares it.
    pub fn new(
        options: &'a Options,
        places: &'a Places,
        time: Option<&'a Places>,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        Ok(Self {
            options,
            interrupt,
            kernel: Kernel::new(places)?,
            time: time.map(Kernel::new).transpose()?,
            plugin: None,
        })
    }

    /// Has this plugin of QEMU count lines.
    pub fn with_plugin(self, plugin: Option<&PathBuf>) -> Self {
        Self {
            plugin: plugin.cloned(),
            ..self
        }
    }

    /// Measures, and prints what came out. False if something of it did not work.
    pub fn run(&self, choice: &Choice) -> Result<bool> {
        let (results, good) = self.measure(choice)?;
        ensure!(!results.is_empty(), "nothing was measured");
        let build = &self.kernel.places.build;
        let path = build.join("bench.json");
        results.write(&path)?;
        let plots = build.join("bench");
        plots::draw(&results, &plots)?;
        if !results.moved.is_empty() {
            let path = plots.join("lines.txt");
            std::fs::write(&path, lines::listing(&results.moved))
                .with_context(|| path.display().to_string())?;
        }
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
            kernel: self.kernel.release()?,
            inline_helpers: self
                .kernel
                .places
                .built_in()?
                .contains("RUST_INLINE_HELPERS"),
            qemu: output(Command::new("qemu-system-x86_64").arg("--version"))?,
            ..Results::default()
        };
        let mut good = true;
        for boot in BOOTS {
            let loads = choice.loads(boot);
            if !loads.is_empty() {
                good &= self.boot(boot, loads, &mut results)?;
            }
        }
        Ok((results, good))
    }

    /// Boots the machine and takes in what the guest tells.
    fn boot(&self, boot: &Boot, loads: Vec<Load>, results: &mut Results) -> Result<bool> {
        let limits = Limits {
            silence: Duration::from_secs(300),
            total: Duration::from_secs(30 * 60),
        };
        let time = self.time.as_ref();
        let time = time.filter(|_| boot.machine != Machine::Instructions);
        let kernel = time.unwrap_or(&self.kernel);
        let mut session = self
            .options
            .session(kernel.places, self.interrupt, limits)?;
        let temp = tempfile::tempdir()?;
        let counted = temp.path().join("lines");
        match boot.machine {
            Machine::Instructions => session.count_instructions(),
            Machine::Lines => {
                let plugin = self.plugin.as_ref().context("--lines, the plugin")?;
                // A path without anything that means something to who passes it on.
                let link = temp.path().join("lines.so");
                symlink(path::absolute(plugin)?, &link).context("a link to the plugin")?;
                session.count_lines(&link, &counted);
            }
            Machine::Time => {
                results.load = Some(results.load.unwrap_or(0.0).max(load()?));
                session.choose_accelerator(&kernel.root)?;
            }
        }
        // An emulated one is, but seems not to be when the host is slow; and to
        // read another clock takes longer than what is timed.
        session.machine.append.push("tsc=reliable".to_owned());
        let plan = Plan {
            limit: match boot.machine {
                Machine::Instructions | Machine::Lines => NO_LIMIT,
                Machine::Time => self.options.limit,
            },
            stages: loads
                .into_iter()
                .flat_map(|load| load.stages(boot))
                .collect(),
            ..Plan::default()
        };
        let progress = ProgressBar::new_spinner();
        progress.enable_steady_tick(Duration::from_millis(200));
        let mut report = Report::default();
        let map = kernel.places.kdir.join("System.map");
        let mut told = Told::new(match boot.machine {
            Machine::Lines => Symbols::read(&map)?,
            Machine::Instructions | Machine::Time => Symbols::default(),
        });
        let name = format!("bench-{}", boot.name);
        let ran =
            session.run_with(
                &kernel.root,
                &plan,
                &name,
                &mut report,
                |line| match Record::parse(line) {
                    Some(record) => {
                        progress.set_message(format!("{}: {record}", boot.name));
                        match record {
                            Record::Symbols(of_module) => told.loaded(of_module),
                            Record::Line(line) => {
                                if let Some(line) = told.take(line) {
                                    results.add(Record::Line(line), boot.module);
                                }
                            }
                            other => results.add(other, boot.module),
                        }
                    }
                    None => progress.suspend(|| println!("{line}")),
                },
            )?;
        progress.finish_and_clear();
        if boot.machine == Machine::Lines {
            let (lines, mut moved) = told.with(&counted)?;
            // The contender is in the other boot for lines, too.
            moved.retain(|moved| boot.module != "lab" || moved.side != "futex(2)");
            for line in lines {
                results.add(Record::Line(line), boot.module);
            }
            results.moved.extend(moved);
        }
        results.deaths += &report.deaths();
        let good = report.good() && ran.exited == Some(0);
        if !good {
            let console = kernel.places.build.join("console");
            eprintln!(
                "the benchmark failed in the boot for {}: {}",
                boot.name,
                console.join(format!("{name}.log")).display()
            );
        }
        Ok(good)
    }
}

impl Kernel<'_> {
    fn release(&self) -> Result<String> {
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
