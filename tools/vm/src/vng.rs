// SPDX-License-Identifier: GPL-2.0
//! Boots a kernel with virtme-ng, and ends it when it takes too long.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How often limits and interrupts are looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long the guest may take to its first line, however little silence is
/// allowed after it: many times what a boot takes on an idle machine. On one
/// with a load of 18 it took more than three minutes.
const BOOT: Duration = Duration::from_secs(600);

/// The same under KVM: nothing is emulated, so a busy host costs less.
const BOOT_UNDER_KVM: Duration = Duration::from_secs(120);

/// The machine that is booted.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel's image.
    pub image: PathBuf,
    /// Number of processors.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory: u32,
    /// More of the kernel's command line.
    pub append: Vec<String>,
    /// More of QEMU's.
    pub qemu_opts: Option<String>,
    /// Whether KVM runs it; else software emulation does.
    pub kvm: bool,
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

/// The signals that end us.
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes SIGINT and SIGTERM from now on.
    pub fn take() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Machine {
    /// The command that boots this machine with `root` as its root directory.
    fn command(&self, root: &Path, temp: &Path) -> Command {
        let mut vng = Command::new("vng");
        vng.arg("--run").arg(&self.image).arg("--root").arg(root);
        vng.args(["--verbose", "--disable-microvm"]);
        vng.args([
            "--cpus",
            &self.cpus.to_string(),
            "--memory",
            &format!("{}M", self.memory),
        ]);
        if !self.kvm {
            vng.arg("--disable-kvm");
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
        // vng looks at the working directory as one inside the root. Its
        // sockets stay in a directory that goes away with us.
        vng.current_dir(root).env("TMPDIR", temp);
        vng
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
        let mut vm = Vm::start(
            self.command(root, temp.path()).args(["--exec", script]),
            log,
        )?;
        let began = Instant::now();
        let mut heard = began;
        let boot = if self.kvm { BOOT_UNDER_KVM } else { BOOT };
        let mut patience = limits.silence.max(boot);
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
            if interrupt.came() {
                vm.kill();
                bail!("interrupted");
            }
            if heard.elapsed() > patience {
                break Some(format!("no sign of life for {} s", patience.as_secs()));
            }
            if began.elapsed() > limits.total {
                break Some(format!("not done after {} s", limits.total.as_secs()));
            }
            if vm.child.try_wait()?.is_some() {
                break None;
            }
        };
        if end.is_some() {
            vm.kill();
        }
        let status = vm.child.wait()?;
        // What was still in the pipes when it ended.
        let (rest, console) = vm.finish();
        for line in rest {
            on_line(&line)?;
        }
        let end = end.map_or_else(|| End::Exited(status.code().unwrap_or(255)), End::Killed);
        Ok((end, console))
    }

    /// Boots with this terminal as the guest's console, and `shell` on it.
    pub fn boot_interactive(&self, root: &Path, shell: &str) -> Result<i32> {
        let temp = tempfile::Builder::new().prefix("rfutex-").tempdir()?;
        let mut vng = self.command(root, temp.path());
        let status = vng
            .args(["--shell", shell])
            .status()
            .context("vng (virtme-ng) cannot be run")?;
        Ok(status.code().unwrap_or(255))
    }
}

/// A running VM: vng, and below it QEMU and virtiofsd, in a group of their own.
struct Vm {
    child: Child,
    output: Receiver<String>,
    console: Console,
    readers: Vec<JoinHandle<()>>,
}

impl Vm {
    fn start(command: &mut Command, log: &mut File) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
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
            child,
            output,
            console,
            readers,
        })
    }

    fn kill(&self) {
        // Fails only if all of the group are gone.
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
    }

    /// Ends what is left of the group and reads what is left in the pipes.
    fn finish(mut self) -> (Vec<String>, Console) {
        self.kill();
        for reader in self.readers.drain(..) {
            if reader.join().is_err() {
                self.console
                    .push("rfutex-vm: a reader of the VM's output failed".to_owned());
            }
        }
        (self.output.try_iter().collect(), self.console.clone())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.kill();
        // It was killed; reaping it cannot be refused.
        let _ = self.child.wait();
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
