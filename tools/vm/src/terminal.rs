// SPDX-License-Identifier: GPL-2.0
//! The terminal that we run on, lent to a machine.

use std::io::{IsTerminal, stdin, stdout};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgrp, getpid, setpgid, tcgetpgrp, tcsetpgrp};

/// The terminal, and how it was.
pub struct Terminal {
    settings: Termios,
    foreground: Pid,
}

impl Terminal {
    /// Ours, if both standard input and standard output are a terminal and we are in
    /// its foreground.
    pub fn ours() -> Option<Self> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return None;
        }
        let foreground = tcgetpgrp(stdin())
            .ok()
            .filter(|&group| group == getpgrp())?;
        Some(Self {
            settings: tcgetattr(stdin()).ok()?,
            foreground,
        })
    }

    /// Starts `command` as the leader of a process group that has the terminal.
    pub fn lend_to(&self, command: &mut Command) -> Result<Child> {
        // SAFETY: Between fork and exec the closure makes system calls only.
        unsafe {
            command.pre_exec(|| {
                setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
                in_background(|| tcsetpgrp(stdin(), getpid()))?;
                Ok(())
            });
        }
        let name = command.get_program().display().to_string();
        command
            .spawn()
            .with_context(|| format!("{name} cannot be run"))
    }
}

impl Drop for Terminal {
    /// Takes it back, as it was.
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = in_background(|| {
            tcsetpgrp(stdin(), self.foreground)?;
            tcsetattr(stdin(), SetArg::TCSADRAIN, &self.settings)
        });
    }
}

/// Does `work` on a terminal that another process group may have: it is not stopped
/// for that.
fn in_background(work: impl FnOnce() -> nix::Result<()>) -> nix::Result<()> {
    // SAFETY: Ignoring a signal runs no handler, and neither does its default action.
    let before = unsafe { signal(Signal::SIGTTOU, SigHandler::SigIgn)? };
    let result = work();
    // SAFETY: As above; nobody here has a handler for it.
    unsafe { signal(Signal::SIGTTOU, before)? };
    result
}
