// SPDX-License-Identifier: GPL-2.0
//! The kernel log, read from where the last look ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;

/// The longest record that the kernel gives out, in bytes.
const RECORD_MAX: usize = 8192;

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// When it was logged, in microseconds since boot.
    pub micros: u64,
    /// Its text, one line.
    pub text: String,
}

/// A reader of `/dev/kmsg`.
#[derive(Debug)]
pub struct Kmsg {
    file: File,
}

impl Kmsg {
    /// Begins at the first message that the kernel still has.
    ///
    /// # Errors
    ///
    /// There is none for this user.
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open("/dev/kmsg")?;
        Ok(Self { file })
    }

    /// All messages since the last call.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn drain(&mut self) -> io::Result<Vec<Message>> {
        let mut messages = Vec::new();
        let mut record = [0; RECORD_MAX];
        loop {
            match self.file.read(&mut record) {
                Ok(length) => {
                    messages.extend(parse(&String::from_utf8_lossy(&record[..length])));
                }
                Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                    Errno::EAGAIN => return Ok(messages),
                    // What was overwritten may have been a splat.
                    Errno::EPIPE => messages.push(Message {
                        micros: 0,
                        text: "WARNING: messages were lost before they could be read".to_owned(),
                    }),
                    Errno::EINTR => (),
                    _ => return Err(error),
                },
            }
        }
    }
}

/// The messages in a record: `LEVEL,NUMBER,MICROS,FLAGS;TEXT`, then lines that
/// begin with a blank and belong to no text.
fn parse(record: &str) -> Option<Message> {
    let (head, rest) = record.split_once(';')?;
    let micros = head.split(',').nth(2)?.parse().ok()?;
    let text = rest.lines().next().unwrap_or_default().to_owned();
    Some(Message { micros, text })
}

/// Messages as lines for a person.
pub fn lines(messages: &[Message]) -> String {
    let line = |m: &Message| {
        let seconds = m.micros / 1_000_000;
        format!("[{seconds:5}.{:06}] {}\n", m.micros % 1_000_000, m.text)
    };
    messages.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_taken_apart() {
        let m = parse("4,812,14043451,-;WARNING: a; b\n SUBSYSTEM=x\n").unwrap();
        assert_eq!((m.micros, m.text.as_str()), (14_043_451, "WARNING: a; b"));
        assert_eq!(lines(&[m]), "[   14.043451] WARNING: a; b\n");
        assert!(parse("nonsense").is_none());
    }
}
