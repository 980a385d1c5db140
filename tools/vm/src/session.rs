// SPDX-License-Identifier: GPL-2.0
//! One boot of the VM for one plan: the guest's events become a report.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use rfutex_guest::event::Event;
use rfutex_guest::plan::{END_MARK, Plan};
use rfutex_guest::splat;

use crate::kvm;
use crate::report::Report;
use crate::root::Root;
use crate::vng::{Console, End, Interrupt, Limits, Machine};

/// Lines of console shown when the VM died or hung.
const TAIL: usize = 150;

/// What the kernel is told, beside what virtme-ng says: all reports of KASAN
/// and not the first alone, KUnit, and a log that no report overruns. With
/// five-level page tables, an interrupt during identify_cpu(), which clears the
/// feature bits for a moment, makes KASAN take every address for a wild one.
const COMMAND_LINE: &[&str] = &[
    "kasan_multi_shot",
    "kunit.enable=1",
    "kunit.autorun=1",
    "log_buf_len=4M",
    "no5lvl",
];

/// QEMU's options for a processor that counts time in instructions.
const COUNTING: &str = "-icount shift=0,sleep=off";

/// Where everything is on the host.
#[derive(Clone, Debug)]
pub struct Places {
    /// The kernel's build directory.
    pub kdir: PathBuf,
    /// The checkout's build directory.
    pub build: PathBuf,
    /// The modules of this kernel: below it `module/` and `lab/`.
    pub modules: PathBuf,
    /// Our programs.
    pub programs: PathBuf,
    /// The cache outside the checkout.
    pub cache: PathBuf,
}

impl Places {
    /// The kernel's image.
    pub fn image(&self) -> Result<PathBuf> {
        let image = self.kdir.join("arch/x86/boot/bzImage");
        anyhow::ensure!(
            image.exists(),
            "{} is missing: KDIR has to be the build directory of a kernel that was built here, \
             not the headers of an installed one",
            image.display()
        );
        Ok(image)
    }

    /// Keeps other runs from building in the checkout while files are copied.
    pub fn lock(&self) -> Result<Flock<File>> {
        let path = self.build.join("lock");
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        Flock::lock(file, FlockArg::LockShared)
            .map_err(|(_, error)| error)
            .context("locking build/")
    }

    /// A program of ours.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A build of the module.
    fn module(&self, build: &str) -> PathBuf {
        self.modules.join(build).join("rfutex.ko")
    }

    /// Adds a build of the module to a root.
    pub fn add_module(&self, root: &Root, build: &str) -> Result<()> {
        root.add_file(&self.module(build), &guest_module(build))
    }

    /// A root that has our programs `names`, the guest's runner, and both modules.
    pub fn root(&self, names: &[&str]) -> Result<Root> {
        let root = Root::new(&self.build.join("vm"))?;
        let _lock = self.lock()?;
        for name in ["rfutex-guest"].iter().chain(names) {
            root.add_program(&self.program(name))?;
        }
        for build in ["lab", "module"] {
            if self.module(build).exists() {
                self.add_module(&root, build)?;
            }
        }
        Ok(root)
    }

    /// A root in which the selftests can run.
    pub fn root_for_selftests(&self) -> Result<Root> {
        let root = self.root(&["rfutex-selftests"])?;
        root.add_images()?;
        Ok(root)
    }
}

/// Where a build of the module is in the guest.
pub fn guest_module(build: &str) -> String {
    format!("/lib/modules/{build}/rfutex.ko")
}

/// What a boot of the VM came to.
pub struct Ran {
    /// True if the guest carried out its whole plan.
    pub done: bool,
    /// The exit status of the program that had the screen, if one had; of
    /// several that of the first that failed.
    pub exited: Option<i32>,
    /// From power on to the guest's first event.
    pub boot: Duration,
}

/// One boot.
pub struct Session<'a> {
    /// Where everything is.
    pub places: &'a Places,
    /// What is booted.
    pub machine: Machine,
    /// The signals that end us.
    pub interrupt: &'a Interrupt,
    /// How long it may take.
    pub limits: Limits,
}

impl Session<'_> {
    /// Decides between KVM and software emulation, by trying.
    pub fn choose_accelerator(&mut self, root: &Root) -> Result<()> {
        self.use_emulation();
        self.machine.kvm = kvm::works(&self.places.cache, &self.machine, root, self.interrupt)?;
        Ok(())
    }

    /// Decides for software emulation.
    pub fn use_emulation(&mut self) {
        // Before what the user gives: the last one counts.
        let ours = COMMAND_LINE.iter().map(|&option| option.to_owned());
        self.machine.append.splice(0..0, ours);
        self.machine.kvm = false;
    }

    /// Decides for one emulated processor that counts time in instructions:
    /// whatever else the host does, the guest sees nothing of it.
    pub fn count_instructions(&mut self) {
        self.use_emulation();
        self.machine.cpus = 1;
        let given = self.machine.qemu_opts.take().unwrap_or_default();
        self.machine.qemu_opts = Some(format!("{given} {COUNTING}").trim().to_owned());
    }

    /// Boots `root`, has the guest carry out `plan`, and notes in `report` what
    /// became of its tests. `name` names the console's log.
    pub fn run(
        &mut self,
        root: &Root,
        plan: &Plan,
        name: &str,
        report: &mut Report,
    ) -> Result<Ran> {
        self.run_with(root, plan, name, report, |line| println!("{line}"))
    }

    /// The same, with what is done with each line that a program printed.
    pub fn run_with(
        &mut self,
        root: &Root,
        plan: &Plan,
        name: &str,
        report: &mut Report,
        mut on_line: impl FnMut(&str),
    ) -> Result<Ran> {
        root.set_plan(plan)?;
        let logs = self.places.build.join("console");
        fs::create_dir_all(&logs)?;
        let mut log = tempfile::NamedTempFile::new_in(&logs)?;
        let mut ran = Ran {
            done: false,
            exited: None,
            boot: Duration::ZERO,
        };
        let how = if self.machine.kvm {
            "KVM"
        } else {
            "software emulation"
        };
        eprintln!(
            "  vm         booting {} with {how}",
            self.places.kdir.display()
        );
        let began = Instant::now();
        let mut spoke = false;
        let script = "export PATH=/bin:/sbin RFUTEX_IMAGES=/images; exec rfutex-guest";
        let (end, console) = self.machine.boot(
            root.path(),
            script,
            self.limits,
            self.interrupt,
            log.as_file_mut(),
            |line| {
                spoke = true;
                let event = Event::parse(line);
                if ran.boot.is_zero() && event.is_some() {
                    ran.boot = began.elapsed();
                }
                match event {
                    Some(Event::Started { name }) => report.started(name),
                    Some(Event::Ended(outcome)) => report.ended(outcome)?,
                    Some(Event::Exited { status }) => {
                        let failed = ran.exited.filter(|&status| status != 0);
                        ran.exited = failed.or(Some(status));
                    }
                    Some(Event::Done) => ran.done = true,
                    None => on_line(line),
                }
                Ok(())
            },
        )?;
        if self.machine.kvm && !spoke {
            eprintln!("  kvm        no word from the guest: software emulation instead");
            kvm::forget(&self.places.cache)?;
            self.machine.kvm = false;
            return self.run_with(root, plan, name, report, on_line);
        }
        let path = logs.join(format!("{name}.log"));
        log.persist(&path).context("keeping the console's log")?;
        judge_end(&end, &console, ran.done, &path, report)?;
        Ok(ran)
    }
}

/// Notes in `report` if the VM did not end as it should: alive to the end of
/// its plan, with nothing on the console after that.
fn judge_end(
    end: &End,
    console: &Console,
    done: bool,
    path: &Path,
    report: &mut Report,
) -> Result<()> {
    let lines = console.lines();
    let after = lines
        .iter()
        .position(|line| line.contains(END_MARK))
        .unwrap_or(0);
    let found = splat::scan(
        lines[after..]
            .iter()
            .map(|line| splat::console_message(line)),
    );
    let why = match end {
        End::Exited(0) if done && found.is_empty() => return Ok(()),
        End::Exited(0) if done => format!("after the last test: {}", found.headings.join("; ")),
        End::Exited(255) => format!("the VM died ({})", found.headings.join("; ")),
        End::Exited(status) => format!("the guest ended early, with status {status}"),
        End::Killed(why) => format!("the VM hung: {why}"),
    };
    let log = format!(
        "{}\n(all of the console: {})",
        console.tail(TAIL),
        path.display()
    );
    Ok(report.cut_short(why, found.kinds, log)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(end: End, done: bool) -> usize {
        let mut report = Report::default();
        judge_end(
            &end,
            &Console::default(),
            done,
            Path::new("log"),
            &mut report,
        )
        .unwrap();
        report.outcomes().len()
    }

    #[test]
    fn only_a_finished_plan_is_a_good_end() {
        assert_eq!(failures(End::Exited(0), true), 0);
        assert_eq!(failures(End::Exited(0), false), 1);
        assert_eq!(failures(End::Exited(1), true), 1);
        assert_eq!(failures(End::Exited(255), false), 1);
        assert_eq!(failures(End::Killed("hang".to_owned()), false), 1);
    }
}
