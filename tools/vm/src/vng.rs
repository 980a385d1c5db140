// SPDX-License-Identifier: GPL-2.0
//! Boots a kernel with virtme-ng, and ends it when it takes too long.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::interrupt::{Interrupt, TICK};
use crate::kernels::Architecture;
use crate::terminal::Terminal;

/// How long the guest may take to its first line, however much or little silence
/// is allowed after it: many times what a boot takes on an idle machine. On one
/// with a load of 18 it took more than three minutes.
const BOOT: Duration = Duration::from_secs(600);

/// The same under KVM: nothing is emulated, so a busy host costs less.
const BOOT_UNDER_KVM: Duration = Duration::from_secs(120);

/// The machine that is booted.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel's image.
    pub image: PathBuf,
    /// What it runs on.
    pub architecture: Architecture,
    /// Number of processors.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory: u32,
    /// More of the kernel's command line.
    pub append: Vec<String>,
    /// More of QEMU's.
    pub qemu_opts: Option<String>,
    /// More of virtme-ng's, each a word.
    pub virtme: Vec<String>,
    /// Directories of the host that are mounted in the guest.
    pub shares: Vec<Share>,
    /// What the guest's command has for its standard input; else it has nothing.
    pub input: Option<Arc<OwnedFd>>,
    /// Whether KVM runs it; else software emulation does.
    pub kvm: bool,
    /// Whether the kernel patches its own code while it runs.
    pub patches_itself: bool,
}

/// A directory of the host that is mounted in the guest.
#[derive(Clone, Debug)]
pub struct Share {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Where it is mounted in the guest.
    pub guest: &'static str,
    /// Whether the guest may write to it.
    pub writable: bool,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Without a line from the guest.
    pub silence: Duration,
    /// From power on to power off.
    pub total: Duration,
}

/// How the VM's run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with the exit status of the guest's command; a panic gives 255.
    Exited(i32),
    /// It was ended here, for this reason.
    Killed(String),
}

/// What the VM's console showed.
#[derive(Clone, Debug, Default)]
pub struct Console {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Console {
    /// All of it.
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Its last `count` lines.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// One that showed these lines.
    #[cfg(test)]
    pub fn of(lines: &[&str]) -> Self {
        let console = Self::default();
        lines.iter().for_each(|&line| console.push(line.to_owned()));
        console
    }

    fn push(&self, line: String) {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}

impl Machine {
    /// The command that boots this machine with `root` as its root directory.
    fn command(&self, root: &Path, temp: &Path) -> Result<Command> {
        let mut vng = Command::new("vng");
        vng.arg("--run").arg(&self.image).arg("--root").arg(root);
        vng.arg("--disable-microvm");
        vng.args([
            "--cpus",
            &self.cpus.to_string(),
            "--memory",
            &format!("{}M", self.memory),
        ]);
        if let Some(name) = self.architecture.foreign() {
            vng.args(["--arch", name]);
        }
        if !self.kvm {
            vng.arg("--disable-kvm");
        }
        if !self.kvm && self.patches_itself {
            // QEMU before 8.1 may translate, for one processor, the breakpoint that another is just
            // removing. Not if one of them runs at a time.
            vng.arg("--qemu-opts=-accel tcg,thread=single");
        }
        // The kernel panics if no timer interrupt comes while it counts some
        // loops: on a busy host none need come.
        vng.args(["--append", "no_timer_check"]);
        for option in &self.append {
            vng.args(["--append", option]);
        }
        if let Some(options) = &self.qemu_opts {
            vng.arg(format!("--qemu-opts={options}"));
        }
        for (number, share) in self.shares.iter().enumerate() {
            // vng takes few characters in a path, and hands it to a shell: it gets one
            // of ours, which leads there.
            let link = temp.join(format!("share{number}"));
            symlink(&share.host, &link).context("a link to a shared directory")?;
            let option = if share.writable { "rwdir" } else { "rodir" };
            vng.arg(format!("--{option}={}={}/.", share.guest, link.display()));
        }
        vng.args(&self.virtme);
        // vng looks at the working directory as one inside the root. Its
        // sockets stay in a directory that goes away with us.
        vng.current_dir(root).env("TMPDIR", temp);
        Ok(vng)
    }

    /// Boots, runs `script` in the guest, and gives each line of its output to
    /// `on_line` as it comes. The console's output goes to `log` too.
    pub fn boot(
        &self,
        root: &Path,
        script: &str,
        limits: Limits,
        interrupt: &Interrupt,
        log: &mut File,
        mut on_line: impl FnMut(&str) -> Result<()>,
    ) -> Result<(End, Console)> {
        let temp = tempfile::Builder::new().prefix("rfutex-").tempdir()?;
        let mut command = self.command(root, temp.path())?;
        command.args(["--verbose", "--exec", script]);
        command.stdin(match &self.input {
            Some(input) => Stdio::from(input.try_clone()?),
            None => Stdio::null(),
        });
        let mut vm = Vm::start(&mut command, log)?;
        let began = Instant::now();
        let mut heard = began;
        // However long the guest's command may be silent, booting takes its time and no more.
        let mut patience = if self.kvm { BOOT_UNDER_KVM } else { BOOT };
        let end = loop {
            match vm.output.recv_timeout(TICK) {
                Ok(line) => {
                    heard = Instant::now();
                    patience = limits.silence;
                    on_line(&line)?;
                }
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) => (),
            }
            interrupt.check()?;
            if heard.elapsed() > patience {
                break Some(format!("no sign of life for {} s", patience.as_secs()));
            }
            if began.elapsed() > limits.total {
                break Some(format!("not done after {} s", limits.total.as_secs()));
            }
            if vm.group.0.try_wait()?.is_some() {
                break None;
            }
        };
        if end.is_some() {
            vm.group.kill();
        }
        let status = vm.group.0.wait()?;
        // What was still in the pipes when it ended.
        let (rest, console) = vm.finish();
        for line in rest {
            on_line(&line)?;
        }
        let end = end.map_or_else(|| End::Exited(status.code().unwrap_or(255)), End::Killed);
        Ok((end, console))
    }

    /// Boots with `terminal` as the guest's console, and `shell` on it. The guest
    /// ends when `shell` does.
    pub fn boot_on(
        &self,
        terminal: &Terminal,
        root: &Path,
        shell: &str,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let temp = tempfile::Builder::new().prefix("rfutex-").tempdir()?;
        let mut command = self.command(root, temp.path())?;
        command.args(["--shell", shell]);
        let mut vng = Group(terminal.lend_to(&mut command)?);
        // Its exit status says nothing of `shell`'s.
        interrupt.wait(&mut vng.0).map(drop)
    }
}

/// A process group that is ended when this is dropped, and its leader.
struct Group(Child);

impl Group {
    fn kill(&self) {
        // Fails only if all of the group are gone.
        let _ = killpg(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        // It was killed; reaping it cannot be refused.
        let _ = self.0.wait();
    }
}

/// A running VM: vng, and below it QEMU and virtiofsd, in a group of their own.
struct Vm {
    group: Group,
    output: Receiver<String>,
    console: Console,
    readers: Vec<JoinHandle<()>>,
}

impl Vm {
    fn start(command: &mut Command, log: &mut File) -> Result<Self> {
        let mut child = command
            // A pipe, never a file: QEMU would open it again and truncate it.
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("vng (virtme-ng) cannot be run")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (sender, output) = mpsc::channel();
        let console = Console::default();
        let mut log = log.try_clone()?;
        let kept = console.clone();
        let readers = vec![
            std::thread::spawn(move || each_line(stdout, |line| send(&sender, line))),
            std::thread::spawn(move || {
                each_line(stderr, |line| {
                    // The log is for a person; losing it loses no verdict.
                    let _ = writeln!(log, "{line}");
                    kept.push(line);
                });
            }),
        ];
        Ok(Self {
            group: Group(child),
            output,
            console,
            readers,
        })
    }

    /// Ends what is left of the group and reads what is left in the pipes.
    fn finish(mut self) -> (Vec<String>, Console) {
        self.group.kill();
        for reader in self.readers.drain(..) {
            if reader.join().is_err() {
                self.console
                    .push("rfutex-vm: a reader of the VM's output failed".to_owned());
            }
        }
        (self.output.try_iter().collect(), self.console.clone())
    }
}

fn send(sender: &Sender<String>, line: String) {
    // Nobody listens any more once the VM has been given up.
    let _ = sender.send(line);
}

/// Reads lines, whatever bytes they are of, until the other end closes.
fn each_line(from: Option<impl Read>, mut with: impl FnMut(String)) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from
        .read_until(b'\n', &mut line)
        .is_ok_and(|length| length > 0)
    {
        let text = String::from_utf8_lossy(&line);
        with(text.trim_end_matches(['\n', '\r']).to_owned());
        line.clear();
    }
}
