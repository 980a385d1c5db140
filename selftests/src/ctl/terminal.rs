// SPDX-License-Identifier: GPL-2.0
//! A pseudo-terminal with a program in it, and what a person would see there.

use super::PROGRAM;
use crate::harness::LIMIT;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{ForkptyResult, Winsize, forkpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, execv, write};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

nix::ioctl_write_ptr_bad!(set_size, libc::TIOCSWINSZ, Winsize);

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// A terminal in which `rfutexctl` runs. That is killed if the test ends before it.
pub struct Terminal {
    master: OwnedFd,
    child: Pid,
    reaped: bool,
    screen: vt100::Parser,
}

impl Terminal {
    /// Starts the program with these arguments on a screen of this size.
    #[track_caller]
    pub fn start(arguments: &[&str], rows: u16, columns: u16) -> Self {
        Self::start_after(|| (), arguments, rows, columns)
    }

    /// The same, in a process that calls `prepare` first. That makes system calls and no more.
    #[track_caller]
    pub fn start_after(
        prepare: impl FnOnce(),
        arguments: &[&str],
        rows: u16,
        columns: u16,
    ) -> Self {
        let text = |text: &str| CString::new(text).expect("no zero");
        let argv: Vec<_> = [PROGRAM].iter().chain(arguments).map(|a| text(a)).collect();
        let program = text(PROGRAM);
        // SAFETY: The child executes the program, and does nothing before that but to prepare,
        // by system calls, and to set its environment; no other thread runs that could hold a
        // lock which that takes.
        match unsafe { forkpty(&size(rows, columns), None) }.expect("forkpty") {
            ForkptyResult::Parent { child, master } => Self {
                master,
                child,
                reaped: false,
                screen: vt100::Parser::new(rows, columns, 0),
            },
            ForkptyResult::Child => {
                // SAFETY: This process has one thread.
                unsafe { std::env::set_var("TERM", "xterm") };
                prepare();
                let _ = execv(&program, &argv);
                // SAFETY: It ends the process without running what belongs to the parent.
                unsafe { libc::_exit(127) }
            }
        }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.child
    }

    /// What the screen shows.
    pub fn screen(&self) -> &vt100::Screen {
        self.screen.screen()
    }

    /// The lines of the screen, without the blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        let (_, columns) = self.screen().size();
        let rows = self.screen().rows(0, columns);
        rows.map(|row| row.trim_end().to_owned()).collect()
    }

    /// Presses keys.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        assert_eq!(write(&self.master, keys.as_bytes()), Ok(keys.len()));
    }

    /// Changes the size of the terminal.
    #[track_caller]
    pub fn resize(&mut self, rows: u16, columns: u16) {
        self.screen.screen_mut().set_size(rows, columns);
        // SAFETY: It reads a struct that is there.
        unsafe { set_size(self.master.as_raw_fd(), &size(rows, columns)) }.expect("TIOCSWINSZ");
    }

    /// Takes what the program writes until the screen is as it should be.
    #[track_caller]
    pub fn until(&mut self, what: &str, condition: impl Fn(&[String]) -> bool) {
        let start = Instant::now();
        while !condition(&self.lines()) {
            let shown = self.lines().join("\n");
            assert!(
                start.elapsed() < LIMIT,
                "not within {LIMIT:?}: {what}:\n{shown}"
            );
            assert!(self.take(), "the program has ended before {what}:\n{shown}");
        }
    }

    /// Takes what has been written. False if there is nobody who writes.
    fn take(&mut self) -> bool {
        let mut polled = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut polled, PollTimeout::from(100_u8)).expect("poll") == 0 {
            return true;
        }
        let mut bytes = [0; 4096];
        match nix::unistd::read(&self.master, &mut bytes) {
            Ok(0) | Err(Errno::EIO) => false,
            Ok(n) => {
                self.screen.process(&bytes[..n]);
                true
            }
            Err(error) => panic!("the terminal: {error}"),
        }
    }

    /// Whether the terminal edits lines and shows what is typed, as it did before the program.
    pub fn is_as_before(&self) -> bool {
        let modes = tcgetattr(&self.master).expect("tcgetattr").local_flags;
        modes.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
            && !self.screen().alternate_screen()
            && !self.screen().hide_cursor()
    }

    /// Sends the program a signal.
    pub fn kill(&self, signal: Signal) {
        kill(self.child, signal).expect("kill");
    }

    /// Its exit status; fails the test if it does not end.
    #[track_caller]
    pub fn end(&mut self) -> i32 {
        let start = Instant::now();
        while self.take() {
            assert!(
                start.elapsed() < LIMIT,
                "not within {LIMIT:?}: the program ends"
            );
        }
        self.reaped = true;
        match waitpid(self.child, None).expect("waitpid") {
            WaitStatus::Exited(_, status) => status,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = kill(self.child, Signal::SIGKILL);
            let _ = waitpid(self.child, None);
        }
    }
}
