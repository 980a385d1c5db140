// SPDX-License-Identifier: GPL-2.0
//! The signals that end us: whatever is waited for has to end then, too.

use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use wait_timeout::ChildExt;

/// How often it is looked at.
pub const TICK: Duration = Duration::from_millis(100);

/// How long a process may take to end once it was asked to: a run of our own has
/// a VM to end, and a root directory to remove.
const PARTING: Duration = Duration::from_secs(20);

/// Whether such a signal came.
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes SIGINT, SIGTERM and SIGHUP from now on.
    pub fn take() -> Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    /// Whether one came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails if one came.
    pub fn check(&self) -> Result<()> {
        if self.came() {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Waits for `child`, which leads a process group of its own. When we are
    /// interrupted, asks the group to end, and ends it if it does not.
    pub fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        loop {
            if let Some(status) = child.wait_timeout(TICK)? {
                return Ok(status);
            }
            if self.came() {
                let group = Pid::from_raw(child.id() as i32);
                // Each fails only if all of the group are gone.
                let _ = killpg(group, Signal::SIGTERM);
                if child.wait_timeout(PARTING)?.is_none() {
                    let _ = killpg(group, Signal::SIGKILL);
                    child.wait()?;
                }
                bail!("interrupted");
            }
        }
    }

    /// Runs `command` to its end, or until we are interrupted, and returns what it
    /// wrote to standard output and, unless `seen`, to standard error.
    pub fn output(&self, command: &mut Command, seen: bool) -> Result<Output> {
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdout(stdout.try_clone()?).process_group(0);
        if !seen {
            command.stderr(stderr.try_clone()?);
        }
        let program = command.get_program().display().to_string();
        let mut child = command
            .spawn()
            .with_context(|| format!("{program} cannot be run"))?;
        let status = self.wait(&mut child)?;
        let read = |file: &mut std::fs::File| -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            file.rewind()?;
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        Ok(Output {
            status,
            stdout: read(&mut stdout)?,
            stderr: read(&mut stderr)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Interrupted before it began.
    fn interrupted() -> Interrupt {
        Interrupt(Arc::new(AtomicBool::new(true)))
    }

    #[test]
    fn what_is_waited_for_ends_with_us() {
        let began = Instant::now();
        let mut command = Command::new("sh");
        // Of the group, the leader's child has the output's files, too.
        let result = interrupted().output(command.args(["-c", "sleep 1000; true"]), false);
        assert_eq!(result.unwrap_err().to_string(), "interrupted");
        assert!(began.elapsed() < PARTING);
    }

    #[test]
    fn what_is_not_interrupted_ends_by_itself() {
        let quiet = Interrupt(Arc::new(AtomicBool::new(false)));
        let mut command = Command::new("sh");
        let output = quiet.output(
            command.args(["-c", "echo out; echo err >&2; exit 3"]),
            false,
        );
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(
            (&*output.stdout, &*output.stderr),
            (&b"out\n"[..], &b"err\n"[..])
        );
    }
}
