// SPDX-License-Identifier: GPL-2.0
//! The side that sleeps, in a thread or in another process, and what it tells the
//! other side.

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{getpid, gettid};
use rfutex::{Clock, Folio, Rfutex, WaitOptions, Word};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

/// How long either side waits for the other before it calls that a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often the waiter sleeps: once to be looked at, then to be measured.
pub const ROUNDS: u32 = 101;

/// A key: its kind, the file or address space, the page in that, the offset in
/// the page.
pub type Key = (String, String, u64, u32);

/// A word as a thread sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sight {
    /// Who looked.
    pub pid: i32,
    pub tid: i32,
    /// The address there.
    pub addr: u64,
    pub key: Key,
    /// The order of the folio and the index of the page in it, if the module told.
    pub folio: Option<(u32, u64)>,
}

impl Sight {
    /// Looks at `word`.
    pub fn of(rfutex: &Rfutex, word: Word<'_>) -> Result<Self> {
        let info = rfutex.key_info(word).context("KEY_INFO")?;
        let pid = getpid().as_raw();
        let space = || format!("address space of {pid}");
        let key = match info.key {
            rfutex::Key::Private { index, offset } => ("private".into(), space(), index, offset),
            rfutex::Key::Mm { index, offset } => ("mm".into(), space(), index, offset),
            rfutex::Key::Inode {
                dev: (major, minor),
                ino,
                index,
                offset,
            } => (
                "inode".into(),
                format!("file {major}:{minor} inode {ino}"),
                index,
                offset,
            ),
            other => bail!("a key of an unknown kind: {other:?}"),
        };
        Ok(Self {
            pid,
            tid: gettid().as_raw(),
            addr: word.addr(),
            key,
            folio: info.folio.map(|Folio { order, index }| (order, index)),
        })
    }
}

/// What a waiter tells.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// It is about to wait.
    Ready(Sight),
    /// The wait has returned.
    Back {
        /// Why it failed, if it did.
        error: Option<String>,
        /// When it returned, in nanoseconds on `CLOCK_MONOTONIC`.
        at: i64,
        /// How often this thread gave up the processor to sleep meanwhile.
        switches: i64,
    },
}

/// Waits on `word` [`ROUNDS`] times, each time while it has the number of the
/// round as its value, and tells about it.
pub fn wait(
    rfutex: &Rfutex,
    word: Word<'_>,
    mut tell: impl FnMut(Message) -> Result<()>,
) -> Result<()> {
    let switches =
        || -> Result<i64> { Ok(getrusage(UsageWho::RUSAGE_THREAD)?.voluntary_context_switches()) };
    tell(Message::Ready(Sight::of(rfutex, word)?))?;
    for round in 0..ROUNDS {
        let before = switches()?;
        let options = WaitOptions::default().within(PATIENCE);
        let result = rfutex.wait_with(word, round.into(), options);
        let at = Clock::Monotonic.now();
        tell(Message::Back {
            error: result.err().map(|error| error.to_string()),
            at,
            switches: switches()? - before,
        })?;
        if result.is_err() {
            break;
        }
    }
    Ok(())
}

/// Where the messages of a waiter come from.
pub trait Messages {
    /// The next one.
    fn next(&mut self) -> Result<Message>;
}

impl Messages for Receiver<Message> {
    fn next(&mut self) -> Result<Message> {
        self.recv_timeout(2 * PATIENCE).context("from the waiter")
    }
}

/// Sends a waiter's messages to another thread.
pub fn to_thread(sender: Sender<Message>) -> impl FnMut(Message) -> Result<()> {
    move |message| sender.send(message).context("to the waker")
}

/// A waiter in another process, which writes its messages to a pipe, one to a
/// line. It gives up after [`PATIENCE`], so reading from it ends.
pub struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Process {
    /// Takes the process, which must have been started with a pipe.
    pub fn new(mut child: Child) -> Result<Self> {
        let lines = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, lines })
    }

    /// Waits until the process has ended, and fails unless it succeeded.
    pub fn join(mut self) -> Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "the waiting process ended with {status}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It is there only after an error, which is reported elsewhere.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Messages for Process {
    fn next(&mut self) -> Result<Message> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        serde_json::from_str(&line).context("from the waiting process")
    }
}

/// Writes a message as [`Process`] reads it.
pub fn to_stdout(message: Message) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &message)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
