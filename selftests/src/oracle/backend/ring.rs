// SPDX-License-Identifier: GPL-2.0
//! Requests of io_uring that wait, on either side.
//!
//! A thread keeps its ring. When a ring ends, the kernel interrupts the threads that have used it,
//! some time later: where a thread was in a queue meanwhile, it would lose its place there. So
//! whoever closes a ring waits until it is gone.

use super::armed::{ABSURD, CANCELED};
use super::{device, futex};
use crate::oracle::call::{Means, Wait};
use io_uring::{IoUring, opcode, squeue, types};
use rfutex::raw::uapi;
use std::cell::RefCell;
use std::fs;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, pipe};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

thread_local! {
    /// The ring of this thread, which has one request at a time.
    static OWN: RefCell<Option<Ring>> = const { RefCell::new(None) };
}

/// What all rings of this process hold, so that another process sees when they are gone.
static TETHER: OnceLock<PipeWriter> = OnceLock::new();

/// For a new process: closes the rings that it has inherited, and has its own ones hold one end of
/// a pipe, as the process itself does.
pub fn begin(end: PipeWriter) {
    let files = fs::read_dir("/proc/self/fd").expect("/proc/self/fd");
    let is_ring = |path: &Path| {
        let target = fs::read_link(path);
        target.is_ok_and(|target| target == Path::new("anon_inode:[io_uring]"))
    };
    let numbers = files.filter_map(|file| {
        let path = file.expect("/proc/self/fd").path();
        let number = path.file_name()?.to_str()?.parse::<RawFd>().ok()?;
        is_ring(&path).then_some(number)
    });
    for number in numbers.collect::<Vec<_>>() {
        // SAFETY: The thread that owns the file is one of another process, and not in this one.
        unsafe { libc::close(number) };
    }
    TETHER.set(end).expect("the first call");
}

/// By what completions are known: of the wait, and of what cancels it.
const WAIT: u64 = 1;
const CANCEL: u64 = 2;

/// Begins to wait. Returns what that has come to, if it is over already.
pub fn arm(wait: &Wait, means: Means) -> Option<i64> {
    let argument = device::wait(wait, means.size);
    let entry = if means.backend.is_futex() {
        futex::request(wait)
    } else {
        let addr = std::ptr::from_ref(&argument).expose_provenance() as u64;
        command(uapi::RFUTEX_WAIT, addr, means)
    };
    with_own(|ring| {
        ring.submit(entry.user_data(WAIT));
        // What does not wait is completed by now.
        ring.done().map(|(_, result)| result)
    })
}

/// What the wait has come to within that time. `None` if it goes on.
pub fn ended(patience: Duration) -> Option<i64> {
    with_own(|ring| {
        // The thread is told of a wake when it comes out of the kernel. Where it has got an order
        // since the wake, it did.
        if ring.ring.completion().is_empty() && !patience.is_zero() {
            let timeout = types::Timespec::from(patience);
            let args = types::SubmitArgs::new().timespec(&timeout);
            // The time runs out, or a signal ends it early.
            let _ = ring.ring.submitter().submit_with_args(1, &args);
        }
        ring.done().map(|(_, result)| result)
    })
}

/// Cancels the request, and returns what it has come to.
pub fn remove(means: Means) -> i64 {
    // Both tell how many requests they have cancelled, the kernel of those on futexes only.
    let entry = if means.backend.is_futex() {
        opcode::AsyncCancel::new(WAIT).build()
    } else {
        command(uapi::RFUTEX_URING_CANCEL, WAIT, means)
    };
    with_own(|ring| {
        ring.submit(entry.user_data(CANCEL));
        let (mut wait, mut cancel) = (None, None);
        loop {
            match ring.done() {
                Some((WAIT, result)) => wait = Some(result),
                Some((_, result)) => cancel = Some(result),
                None => ring.await_completion(),
            }
            if let (Some(wait), Some(cancel)) = (wait, cancel) {
                let fits = (cancel == 1) == (wait == CANCELED);
                return if fits { wait } else { ABSURD };
            }
        }
    })
}

/// Closes the ring, and waits until it is gone.
pub fn close() {
    let Ring { ring, mut gone } = OWN.take().expect("a ring");
    drop(ring);
    let end = gone.read(&mut [0]).expect("read");
    assert_eq!(end, 0, "nobody writes");
}

/// A command of the device.
fn command(request: u32, argument: u64, means: Means) -> squeue::Entry {
    let mut command = [0; 16];
    command[..8].copy_from_slice(&argument.to_ne_bytes());
    // It stays open: the table of a process changes only between two scenarios.
    let file = device::file(means.device).as_fd().as_raw_fd();
    opcode::UringCmd16::new(types::Fd(file), request)
        .cmd(command)
        .build()
}

fn with_own<T>(work: impl FnOnce(&mut Ring) -> T) -> T {
    OWN.with_borrow_mut(|own| work(own.get_or_insert_with(Ring::new)))
}

struct Ring {
    ring: IoUring,
    /// At its end when the ring is gone.
    gone: PipeReader,
}

impl Ring {
    fn new() -> Self {
        let ring = IoUring::builder().dontfork().build(4).expect("io_uring");
        let (gone, held) = pipe().expect("a pipe");
        let held = [Some(&held), TETHER.get()].map(|end| end.map_or(-1, AsRawFd::as_raw_fd));
        ring.submitter()
            .register_files(&held)
            .expect("a ring can hold files");
        Self { ring, gone }
    }

    /// The next completion, if there is one: by what it is known, and its result.
    fn done(&mut self) -> Option<(u64, i64)> {
        let entry = self.ring.completion().next()?;
        Some((entry.user_data(), entry.result().into()))
    }

    fn await_completion(&mut self) {
        if let Err(error) = self.ring.submit_and_wait(1) {
            assert_eq!(error.kind(), ErrorKind::Interrupted, "io_uring_enter");
        }
    }

    /// Submits an entry. What it refers to is looked at before this returns.
    fn submit(&mut self, entry: squeue::Entry) {
        // SAFETY: What is no word is valid until this returns, and the kernel does not look at it
        // later. Words are in memory that is mapped for good, and the kernel only reads them.
        unsafe { self.ring.submission().push(&entry) }.expect("there is room");
        let submitted = loop {
            match self.ring.submit() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        assert_eq!(submitted.expect("io_uring_enter"), 1);
    }
}
