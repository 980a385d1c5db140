// SPDX-License-Identifier: GPL-2.0
//! A channel between two processes, with tokio on both sides. The parent sends numbers, and the
//! child answers each of them with its square.
//!
//! The channel is a memfd that both have mapped: two rings of numbers, one for each direction. A
//! task that finds its ring empty, or full, waits on a word of the ring, and no thread sleeps for
//! it. So the parent can send, receive, and wait for the child to end, all on one thread.

use anyhow::{Context, Result, bail, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use rfutex::{Error, Rfutex, Word, tokio::AsyncWatches};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const NUMBERS: u64 = 2000;
/// How many numbers a ring has room for: a power of two, as the counters overflow.
const ROOM: u32 = 16;

/// What both processes have mapped. It is all zero in the beginning.
#[repr(C)]
struct Shared {
    questions: Ring,
    answers: Ring,
}

/// One direction. It has one sender and one receiver.
#[repr(C)]
struct Ring {
    /// How many numbers were sent. The receiver waits on this word.
    sent: AtomicU32,
    /// How many numbers were received. The sender waits on this word.
    received: AtomicU32,
    numbers: [AtomicU64; ROOM as usize],
}

impl Ring {
    async fn send(&self, watches: &AsyncWatches, number: u64) -> Result<(), Error> {
        let sent = self.sent.load(Ordering::Relaxed);
        wait_while(watches, &self.received, |received| {
            sent.wrapping_sub(received) == ROOM
        })
        .await?;
        self.place(sent).store(number, Ordering::Relaxed);
        tell(watches, &self.sent, sent.wrapping_add(1))
    }

    async fn receive(&self, watches: &AsyncWatches) -> Result<u64, Error> {
        let received = self.received.load(Ordering::Relaxed);
        wait_while(watches, &self.sent, |sent| sent == received).await?;
        let number = self.place(received).load(Ordering::Relaxed);
        tell(watches, &self.received, received.wrapping_add(1))?;
        Ok(number)
    }

    fn place(&self, count: u32) -> &AtomicU64 {
        &self.numbers[(count % ROOM) as usize]
    }
}

/// Waits for the other process to change `word` until it is no longer as it should not be.
async fn wait_while(
    watches: &AsyncWatches,
    word: &AtomicU32,
    not_yet: impl Fn(u32) -> bool,
) -> Result<(), Error> {
    loop {
        let value = word.load(Ordering::Acquire);
        if !not_yet(value) {
            return Ok(());
        }
        match watches.wait(Word::new(word), value.into()).await {
            Ok(()) | Err(Error::Again) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Changes `word`, and wakes the other process if it waits.
fn tell(watches: &AsyncWatches, word: &AtomicU32, value: u32) -> Result<(), Error> {
    word.store(value, Ordering::Release);
    watches.device().wake_one(Word::new(word))?;
    Ok(())
}

/// Maps the channel, for as long as the process lasts.
fn map(file: impl AsFd) -> Result<&'static Shared> {
    let size = NonZeroUsize::new(size_of::<Shared>()).context("a channel has a size")?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: The kernel chooses an address where nothing is mapped.
    let addr = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, file, 0) }?;
    // SAFETY: The mapping has this size and is never unmapped. It consists of atomics, which any
    // process may change, and for which every value is valid.
    Ok(unsafe { addr.cast().as_ref() })
}

/// The child, whose standard input is the channel.
async fn answer() -> Result<()> {
    let shared = map(std::io::stdin())?;
    let watches = AsyncWatches::new(Rfutex::open()?)?;
    for _ in 0..NUMBERS {
        let number = shared.questions.receive(&watches).await?;
        shared.answers.send(&watches, number * number).await?;
    }
    Ok(())
}

/// The parent.
async fn ask() -> Result<()> {
    let memory = memfd_create("channel", MFdFlags::MFD_CLOEXEC)?;
    nix::unistd::ftruncate(&memory, size_of::<Shared>().try_into()?)?;
    let shared = map(&memory)?;
    let watches = AsyncWatches::new(Rfutex::open()?)?;
    let mut child = tokio::process::Command::new("/proc/self/exe")
        .arg("answer")
        .stdin(Stdio::from(memory))
        .kill_on_drop(true)
        .spawn()?;
    let send = async {
        for number in 0..NUMBERS {
            shared.questions.send(&watches, number).await?;
        }
        Ok(())
    };
    let receive = async {
        for number in 0..NUMBERS {
            let answer = shared.answers.receive(&watches).await?;
            ensure!(answer == number * number, "{number}: {answer}");
        }
        Ok(())
    };
    tokio::select! {
        biased;
        result = async { tokio::try_join!(send, receive) } => drop(result?),
        status = child.wait() => bail!("the child has ended: {}", status?),
    }
    let status = child.wait().await?;
    ensure!(status.success(), "the child: {status}");
    println!("{NUMBERS} numbers were sent and answered");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("answer") => answer().await,
        Some(other) => bail!("what is {other}?"),
        None => ask().await,
    }
}
