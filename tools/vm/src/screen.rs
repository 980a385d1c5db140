// SPDX-License-Identifier: GPL-2.0
//! A pseudo-terminal in which programs run, and what a person would see there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use nix::unistd::setsid;

/// How long something may take to be shown: a boot of the debug kernel beside others.
pub const LIMIT: Duration = Duration::from_secs(900);

/// How long the rest of a text may take, once it has begun, in milliseconds.
const QUIET: u16 = 200;

nix::ioctl_write_ptr_bad!(set_size, nix::libc::TIOCSWINSZ, Winsize);

/// Starts `command` with `file` for its standard files, in a session of its own. If that is a
/// terminal, it is the session's.
pub fn start(mut command: Command, file: &OwnedFd) -> Result<Child> {
    command
        .stdin(file.try_clone()?)
        .stdout(file.try_clone()?)
        .stderr(file.try_clone()?);
    // SAFETY: Between fork and exec the closure makes two system calls. The second
    // fails if standard input is no terminal, which is as well.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0);
            Ok(())
        });
    }
    let name = command.get_program().display().to_string();
    command
        .spawn()
        .with_context(|| format!("{name} cannot be run"))
}

/// The terminal.
pub struct Screen {
    master: File,
    /// All that was shown.
    pub seen: String,
    /// Up to where something was waited for.
    looked: usize,
    /// Texts that are shown as others.
    shown_as: Vec<(String, String)>,
    /// The beginning of what may become such a text, or a character.
    held: Vec<u8>,
    parser: vt100::Parser,
}

impl Screen {
    /// Starts `command` in a terminal of this size.
    pub fn start(command: Command, rows: u16, columns: u16) -> Result<(Self, Child)> {
        // No other program may have a copy: the terminal is gone for those who use it when we
        // have closed it.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = open(&*ptsname_r(&master)?, flags, Mode::empty())?;
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: It reads a struct that is there.
        unsafe { set_size(slave.as_raw_fd(), &size) }?;
        let child = start(command, &slave)?;
        let screen = Self {
            master: File::from(OwnedFd::from(master)),
            seen: String::new(),
            looked: 0,
            shown_as: Vec::new(),
            held: Vec::new(),
            parser: vt100::Parser::new(rows, columns, 0),
        };
        Ok((screen, child))
    }

    /// From here on, shows `text` as `other`.
    pub fn show_as(&mut self, text: &str, other: &str) {
        self.shown_as.push((text.to_owned(), other.to_owned()));
    }

    /// What is on the screen.
    pub fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// The lines of the screen, without the blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        let (_, columns) = self.screen().size();
        let rows = self.screen().rows(0, columns);
        rows.map(|row| row.trim_end().to_owned()).collect()
    }

    /// The line in which the cursor is, up to the cursor.
    pub fn line(&self) -> String {
        let (row, column) = self.screen().cursor_position();
        let mut rows = self.screen().rows(0, column);
        rows.nth(row.into()).unwrap_or_default()
    }

    /// Types something.
    pub fn write(&mut self, keys: &str) -> Result<()> {
        Ok(self.master.write_all(keys.as_bytes())?)
    }

    /// Returns when `wanted` is shown after what was last waited for.
    pub fn wait_for(&mut self, wanted: &str) -> Result<()> {
        let from = self.looked;
        let found = |screen: &Self| screen.seen[from..].find(wanted);
        self.until(wanted, |screen| found(screen).is_some())?;
        self.looked += found(self).unwrap_or(0) + wanted.len();
        Ok(())
    }

    /// Returns when the screen is as it should be; `what` says how that is.
    pub fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) -> Result<()> {
        let began = Instant::now();
        while !condition(self) {
            ensure!(began.elapsed() < LIMIT, "no \"{what}\": {}", self.seen);
            ensure!(self.read()?, "ended before \"{what}\": {}", self.seen);
        }
        Ok(())
    }

    /// Reads to the end of what is shown.
    pub fn drain(&mut self) -> Result<()> {
        while self.read()? {}
        Ok(())
    }

    /// Reads what is shown within a while. False if nobody has the terminal any more.
    fn read(&mut self) -> Result<bool> {
        let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        let quiet = if self.held.is_empty() { 1000 } else { QUIET };
        if poll(&mut ready, PollTimeout::from(quiet))? == 0 {
            self.release();
            return Ok(true);
        }
        let mut bytes = [0; 4096];
        match self.master.read(&mut bytes) {
            Ok(length) => self.take(&bytes[..length]),
            Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    fn take(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        let whole = match str::from_utf8(&self.held) {
            // The rest of a character will come.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.held.len(),
        };
        let mut rest = self.held.split_off(whole);
        let mut text = String::from_utf8_lossy(&self.held).into_owned();
        for (from, to) in &self.shown_as {
            text = text.replace(from, to);
        }
        let begun = self.shown_as.iter().map(|(from, _)| begun(&text, from));
        let kept = text.len() - begun.max().unwrap_or(0);
        self.held = text.split_off(kept).into_bytes();
        self.held.append(&mut rest);
        self.show(&text);
    }

    /// Shows what was held: nothing has come that goes on with it.
    fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.show(&String::from_utf8_lossy(&held));
    }

    fn show(&mut self, text: &str) {
        self.parser.process(text.as_bytes());
        self.seen += text;
    }
}

/// How long the longest end of `text` is with which `wanted` begins, and goes on.
fn begun(text: &str, wanted: &str) -> usize {
    let begins = |&length: &usize| {
        let end = text.len().checked_sub(length);
        end.is_some_and(|at| text.as_bytes()[at..] == wanted.as_bytes()[..length])
    };
    (1..wanted.len()).rev().find(begins).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_on_the_screen() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            r"printf 'one\r\ntwo '; read line; printf '\033[1;1Hthree'",
        ]);
        let (mut screen, mut child) = Screen::start(command, 5, 20).unwrap();
        screen.wait_for("two ").unwrap();
        assert_eq!(screen.lines(), ["one", "two", "", "", ""]);
        assert_eq!(screen.line(), "two ");
        screen.write("x\r").unwrap();
        screen.until("three", |s| s.lines()[0] == "three").unwrap();
        screen.drain().unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(screen.lines()[1], "two x");
    }

    #[test]
    fn a_terminal_that_was_closed_is_gone() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; read line"]);
        let (mut screen, mut child) = Screen::start(command, 2, 40).unwrap();
        screen.wait_for("begun").unwrap();
        drop(screen);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn what_only_begins_like_such_a_text_is_shown() {
        let mut command = Command::new("sh");
        command.args(["-c", "printf 'in /tmp'; read line"]);
        let (mut screen, mut child) = Screen::start(command, 2, 40).unwrap();
        screen.show_as("/tmp/a", "~");
        screen.wait_for("in /tmp").unwrap();
        screen.write("\r").unwrap();
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn texts_are_shown_as_others_wherever_they_are_cut() {
        let text = "in /tmp/a/b, é and /tmp/a";
        for cut in 0..text.len() {
            let (mut screen, mut child) = Screen::start(Command::new("true"), 2, 40).unwrap();
            child.wait().unwrap();
            screen.show_as("/tmp/a", "~");
            screen.take(&text.as_bytes()[..cut]);
            screen.take(&text.as_bytes()[cut..]);
            assert_eq!(screen.lines()[0], "in ~/b, é and ~", "cut at {cut}");
        }
    }
}
