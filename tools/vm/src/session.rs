// SPDX-License-Identifier: GPL-2.0
//! One boot of the VM for one plan: the guest's events become a report.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rfutex_guest::event::Event;
use rfutex_guest::plan::{END_MARK, Plan};
use rfutex_guest::splat;

use crate::coverage::Reached;
use crate::interrupt::Interrupt;
use crate::kvm;
pub use crate::places::{Places, guest_module, programs};
use crate::report::Report;
use crate::root::Root;
use crate::vng::{Console, End, Limits, Machine};

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
const COUNTING: &str = "-icount sleep=off,shift=";

/// The same for several. While all of them are idle, time goes by as it does on the host: there is
/// work for the host then, and if time leapt, it would only deal with their clocks.
const COUNTING_SEVERAL: &str = "-icount shift=0,sleep=on";

/// QEMU 7.2 reads the stack of a program that returns by iret as if the kernel read it, which SMAP
/// forbids.
const NO_SMAP: &str = "-cpu max,smap=off";

/// As many as take part in what is measured of lines.
const LINES_PROCESSORS: u32 = 32;

/// The script that runs our runner in the guest.
pub const RUNNER: &str = "export PATH=/bin:/sbin RFUTEX_IMAGES=/images; exec rfutex-guest";

/// What is said of a machine that died before anything of ours ran in it.
pub const DIED_BOOTING: &str = "the machine died while it booted, before the module was loaded";

/// The names of a module's sections, and where they are in the guest's memory.
pub type Sections = Vec<(String, u64)>;

/// What a boot of the VM came to.
#[derive(Debug, Default)]
pub struct Ran {
    /// True if the guest carried out its whole plan.
    pub done: bool,
    /// The exit status of the program that had the screen, if one had; of
    /// several that of the first that failed.
    pub exited: Option<i32>,
    /// From power on to the guest's first event.
    pub boot: Duration,
    /// What was reached of instrumented modules.
    pub reached: Vec<Reached>,
}

impl Ran {
    /// Notes what the guest tells; of tests, in `report`.
    pub fn note(&mut self, event: Event, report: &mut Report) -> io::Result<()> {
        match event {
            Event::Up | Event::Loaded { .. } => (),
            Event::Started { name } => report.started(name),
            Event::Ended(outcome) => report.ended(outcome)?,
            Event::Exited { status } => {
                let failed = self.exited.filter(|&status| status != 0);
                self.exited = failed.or(Some(status));
            }
            Event::Stderr { line } => eprintln!("{line}"),
            Event::Reached {
                module,
                blocks,
                reached,
            } => self.reached.push(Reached {
                module,
                blocks,
                reached,
            }),
            Event::Done => self.done = true,
        }
        Ok(())
    }
}

/// A boot of the VM that is over, and not yet judged.
pub struct Ended {
    /// What the guest told.
    pub ran: Ran,
    end: End,
    console: Console,
    /// Where the console's log is.
    log: PathBuf,
    /// The guest said something: the kernel had booted, and our runner ran.
    spoke: bool,
}

impl Ended {
    /// How the machine died before anything of ours ran in it, if it did. One
    /// that hangs without a complaint has not died.
    fn died_booting(&self) -> Option<String> {
        if self.spoke {
            return None;
        }
        let lines = self.console.lines();
        let found = splat::scan(lines.iter().map(|line| splat::console_message(line)));
        let how = match &self.end {
            End::Exited(status) if found.is_empty() => format!("QEMU ended with status {status}"),
            End::Killed(_) if found.is_empty() => return None,
            End::Exited(_) | End::Killed(_) => found.headings.join("; "),
        };
        Some(format!("{DIED_BOOTING}: {how}"))
    }

    /// Has the boot made again, if nothing of ours can be to blame for how it
    /// ended. The log of this one stays.
    fn or_once_more(
        self,
        report: &mut Report,
        again: impl FnOnce(&mut Report) -> Result<Self>,
    ) -> Result<Self> {
        let Some(why) = self.died_booting() else {
            return Ok(self);
        };
        let kept = self.log.with_extension("died.log");
        fs::rename(&self.log, &kept).context("keeping the console's log")?;
        report.died_booting(format!(
            "{why} (console in {}); tried once more",
            kept.display()
        ));
        again(report)
    }

    /// Notes in `report` if the VM did not end as it should: alive to the end
    /// of its plan, with nothing on the console after that.
    pub fn judge(&self, report: &mut Report) -> Result<()> {
        let lines = self.console.lines();
        let after = lines
            .iter()
            .position(|line| line.contains(END_MARK))
            .unwrap_or(0);
        let found = splat::scan(
            lines[after..]
                .iter()
                .map(|line| splat::console_message(line)),
        );
        let done = self.ran.done;
        let why = match (&self.end, self.died_booting()) {
            (End::Exited(0), _) if done && found.is_empty() => return Ok(()),
            (End::Exited(0), _) if done => {
                format!("after the last test: {}", found.headings.join("; "))
            }
            (_, Some(died)) => died,
            (End::Exited(255), _) => format!("the VM died ({})", found.headings.join("; ")),
            (End::Exited(status), _) => format!("the guest ended early, with status {status}"),
            (End::Killed(why), _) => format!("the VM hung: {why}"),
        };
        let log = format!(
            "{}\n(all of the console: {})",
            self.console.tail(TAIL),
            self.log.display()
        );
        Ok(report.cut_short(why, found.kinds, log)?)
    }
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
    /// Who is told where the module lies once it is loaded, if the plan has a
    /// debugger.
    pub loaded: Option<Sender<Sections>>,
}

impl Session<'_> {
    /// Decides between KVM and software emulation, by trying.
    pub fn choose_accelerator(&mut self, root: &Root) -> Result<()> {
        self.use_emulation();
        if self.machine.architecture.foreign().is_none() {
            self.machine.kvm = kvm::works(&self.places.cache, &self.machine, root, self.interrupt)?;
        }
        Ok(())
    }

    /// Decides for what [`Self::choose_accelerator`] has found for an equal
    /// machine.
    pub fn use_accelerator(&mut self, kvm: bool) {
        self.use_emulation();
        self.machine.kvm = kvm;
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
        self.use_clock_of_instructions(0);
    }

    /// Decides for one emulated processor, each instruction of which takes as many nanoseconds as
    /// two to the power of `shift`: a program that goes on for some seconds ends sooner.
    pub fn use_clock_of_instructions(&mut self, shift: u32) {
        self.use_emulation();
        self.machine.cpus = 1;
        let given = self.machine.qemu_opts.take().unwrap_or_default();
        self.machine.qemu_opts = Some(format!("{given} {COUNTING}{shift}").trim().to_owned());
    }

    /// Decides for many emulated processors, of which one runs at a time, and whose clock is the
    /// number of instructions that all of them have run; `plugin` counts which lines move between
    /// them, and writes that to `counted`.
    pub fn count_lines(&mut self, plugin: &Path, counted: &Path) {
        self.use_emulation();
        self.machine.cpus = LINES_PROCESSORS;
        // Where functions are is looked up in System.map; and where words are decides which
        // buckets they are in.
        let fixed = ["nokaslr", "norandmaps"].map(str::to_owned);
        self.machine.append.extend(fixed);
        let given = self.machine.qemu_opts.take().unwrap_or_default();
        let plugin = format!(
            "-plugin file={},out={}",
            plugin.display(),
            counted.display()
        );
        self.machine.qemu_opts = Some(
            format!("{given} {COUNTING_SEVERAL} {NO_SMAP} {plugin}")
                .trim()
                .to_owned(),
        );
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
        let mut ended = self.boot(root, plan, name, report, &mut on_line)?;
        if self.machine.kvm && !ended.spoke {
            eprintln!("  kvm        no word from the guest: software emulation instead");
            kvm::forget(&self.places.cache)?;
            self.machine.kvm = false;
            ended = self.boot(root, plan, name, report, &mut on_line)?;
        }
        let ended = ended.or_once_more(report, |report| {
            self.boot(root, plan, name, report, &mut on_line)
        })?;
        ended.judge(report)?;
        Ok(ended.ran)
    }

    /// One boot, however it ends.
    pub fn boot(
        &self,
        root: &Root,
        plan: &Plan,
        name: &str,
        report: &mut Report,
        mut on_line: impl FnMut(&str),
    ) -> Result<Ended> {
        root.set_plan(plan)?;
        let logs = self.places.build.join("console");
        fs::create_dir_all(&logs)?;
        // A file of its own under a name that an earlier boot may have had. It is there
        // from the beginning: most is wanted of the boot that is interrupted.
        let path = logs.join(format!("{name}.log"));
        let mut log = tempfile::NamedTempFile::new_in(&logs)?
            .persist(&path)
            .context("keeping the console's log")?;
        let mut ran = Ran::default();
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
        let (end, console) = self.machine.boot(
            root.path(),
            RUNNER,
            self.limits,
            self.interrupt,
            &mut log,
            |line| {
                spoke = true;
                let event = Event::parse(line);
                if ran.boot.is_zero() && event.is_some() {
                    ran.boot = began.elapsed();
                }
                match event {
                    Some(Event::Loaded { sections }) => {
                        if let Some(loaded) = &self.loaded {
                            loaded.send(sections).context("nobody debugs")?;
                        }
                    }
                    Some(event) => ran.note(event, report)?,
                    None => on_line(line),
                }
                Ok(())
            },
        )?;
        Ok(Ended {
            ran,
            end,
            console,
            log: path,
            spoke,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rfutex_guest::event::Outcome;
    use tempfile::TempDir;

    /// A boot that ended, with a log in `logs`.
    fn ended(logs: &TempDir, end: End, spoke: bool, done: bool, console: &[&str]) -> Ended {
        let log = logs.path().join("x.log");
        fs::write(&log, "").unwrap();
        Ended {
            ran: Ran {
                done,
                ..Ran::default()
            },
            end,
            console: Console::of(console),
            log,
            spoke,
        }
    }

    const PANIC: &str = "[    1.0] Kernel panic - not syncing: Fatal exception in interrupt";

    #[test]
    fn only_a_finished_plan_is_a_good_end() {
        let logs = tempfile::tempdir().unwrap();
        let failures = |end, done| {
            let mut report = Report::default();
            let ended = ended(&logs, end, true, done, &[]);
            ended.judge(&mut report).unwrap();
            report.outcomes().len()
        };
        assert_eq!(failures(End::Exited(0), true), 0);
        assert_eq!(failures(End::Exited(0), false), 1);
        assert_eq!(failures(End::Exited(1), true), 1);
        assert_eq!(failures(End::Exited(255), false), 1);
        assert_eq!(failures(End::Killed("hang".to_owned()), false), 1);
    }

    #[test]
    fn what_died_before_anything_of_ours_ran() {
        let logs = tempfile::tempdir().unwrap();
        let died = |end: &End, spoke, console: &[&str]| {
            let ended = ended(&logs, end.clone(), spoke, false, console);
            ended.died_booting().is_some()
        };
        let (panicked, hung) = (End::Exited(255), End::Killed("hang".to_owned()));
        assert!(died(&panicked, false, &[PANIC]));
        assert!(died(&End::Exited(1), false, &[]), "QEMU itself");
        assert!(died(&hung, false, &["Oops: int3: 0000 [#1] SMP NOPTI"]));
        assert!(!died(&hung, false, &["a kernel that says nothing more"]));
        for end in [panicked, hung] {
            assert!(!died(&end, true, &[PANIC]), "ours ran");
        }
    }

    /// How many boots there are if the first ends so, and all others as the
    /// second; and the report.
    fn boots(logs: &TempDir, first: Ended, second: impl Fn() -> Ended) -> (u32, Report) {
        let (mut boots, mut report) = (1, Report::default());
        let last = first
            .or_once_more(&mut report, |_| {
                boots += 1;
                Ok(second())
            })
            .unwrap();
        last.judge(&mut report).unwrap();
        let kept = logs.path().join("x.died.log").exists();
        assert_eq!(kept, boots > 1, "the log of what died");
        (boots, report)
    }

    #[test]
    fn a_boot_that_died_is_made_once_more_and_once_only() {
        let logs = tempfile::tempdir().unwrap();
        let dies = || ended(&logs, End::Exited(255), false, false, &[PANIC]);
        let (nr, report) = boots(&logs, dies(), || {
            ended(&logs, End::Exited(0), true, true, &[])
        });
        assert_eq!((nr, report.outcomes().len()), (2, 0), "that is no failure");
        assert!(
            report.deaths().contains("Fatal exception"),
            "but it is said"
        );

        let (nr, report) = boots(&logs, dies(), dies);
        assert_eq!(nr, 2);
        let [Outcome { name, why, .. }] = report.outcomes() else {
            panic!("{report}")
        };
        assert!(name == "vm" && why[0].starts_with(DIED_BOOTING), "{why:?}");
    }

    #[test]
    fn what_ours_ran_in_is_not_made_again() {
        let logs = tempfile::tempdir().unwrap();
        let first = ended(&logs, End::Exited(255), true, false, &[PANIC]);
        let (nr, report) = boots(&logs, first, || unreachable!());
        assert_eq!((nr, report.outcomes().len()), (1, 1));
        assert_eq!(report.deaths(), "");
    }
}
