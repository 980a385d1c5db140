// SPDX-License-Identifier: GPL-2.0
//! io_uring(7), as cheap as a program of one thread can have it.

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};
use linux_raw_sys::general::{FUTEX2_PRIVATE, FUTEX2_SIZE_U32};
use rfutex::raw::{self, uapi};
use rfutex::{Rfutex, Word};
use rfutex_selftests::harness::{Mapping, PAGE};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

/// A request.
///
/// # Invariants
///
/// What it reads and writes is there for good, and nothing of Rust's that must not change.
#[derive(Clone, Debug)]
pub struct Request(squeue::Entry);

fn futex_flags(word: Word<'static>) -> u32 {
    let private = if word.is_private() { FUTEX2_PRIVATE } else { 0 };
    FUTEX2_SIZE_U32 | private
}

/// A command of the device with this argument.
fn command(device: &'static Rfutex, op: u32, arg: u64) -> squeue::Entry {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&arg.to_ne_bytes());
    let fd = Fd(device.as_fd().as_raw_fd());
    opcode::UringCmd16::new(fd, op).cmd(bytes).build()
}

/// Any wait is meant.
const MASK_ANY: u64 = u32::MAX as u64;

impl Request {
    /// A wait of futex(2) on `word` while it is `val`.
    pub fn futex_wait(word: Word<'static>, val: u32) -> Self {
        let addr = ptr::with_exposed_provenance(word.addr() as usize);
        let wait = opcode::FutexWait::new(addr, val.into(), MASK_ANY, futex_flags(word));
        // INVARIANT: The kernel only reads the word.
        Self(wait.build())
    }

    /// A wake of futex(2) of one waiter on `word`. Nothing is heard of it if it succeeds.
    pub fn futex_wake(word: Word<'static>) -> Self {
        let addr = ptr::with_exposed_provenance(word.addr() as usize);
        let wake = opcode::FutexWake::new(addr, 1, MASK_ANY, futex_flags(word));
        // INVARIANT: The kernel does not touch the word.
        Self(wake.build().flags(squeue::Flags::SKIP_SUCCESS))
    }

    /// A wait of rfutex on `word` while it is `val`.
    pub fn wait(device: &'static Rfutex, word: Word<'static>, val: u32) -> Self {
        let wait = Box::leak(Box::new(uapi::rfutex_wait {
            word: word.into(),
            val: val.into(),
            mask: uapi::RFUTEX_MASK_ANY,
            ..Default::default()
        }));
        let arg = ptr::from_ref(wait).expose_provenance() as u64;
        // INVARIANT: The kernel only reads the struct, which is there for good, and the word.
        Self(command(device, uapi::RFUTEX_WAIT, arg))
    }

    /// A wake of rfutex of one waiter on `word`. Nothing is heard of it if it succeeds.
    pub fn wake(device: &'static Rfutex, word: Word<'static>) -> Self {
        let op = raw::wake_one(word);
        // INVARIANT: The kernel does not touch the word.
        Self(command(device, op, word.addr()).flags(squeue::Flags::SKIP_SUCCESS))
    }

    /// Cancels the request that is numbered `number`.
    pub fn cancel(number: u64) -> Self {
        // INVARIANT: It uses no memory.
        Self(opcode::AsyncCancel::new(number).build())
    }

    /// Reads from `file` each time that there is something, until it fails. Each time it takes one
    /// of the [`Buffers`].
    pub fn read_often(file: &'static impl AsFd) -> Self {
        let fd = Fd(file.as_fd().as_raw_fd());
        // INVARIANT: The buffers are there for good.
        Self(opcode::ReadMulti::new(fd, 0, GROUP).build())
    }

    /// The same with a number, which its completion has, too.
    pub fn number(self, number: u64) -> Self {
        Self(self.0.user_data(number))
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The number of the request.
    pub number: u64,
    /// What it returned, a negative error.
    pub result: i32,
    /// Whether there will be another one of the same request.
    pub more: bool,
    /// The buffer that it has taken.
    pub buffer: Option<u16>,
}

/// A ring that only one thread submits to. The kernel completes requests only when this thread waits
/// for that.
pub struct Ring(IoUring);

impl Ring {
    /// A ring for so many requests at a time, a power of two, and as many completions as `nr`. It is
    /// the calling thread's.
    pub fn new(requests: u32, nr: u32) -> Self {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(nr)
            .build(requests);
        Self(ring.expect("io_uring_setup"))
    }

    /// Puts a request into the ring.
    #[inline]
    pub fn push(&mut self, request: &Request) {
        // SAFETY: By its invariants, the request uses memory that it may.
        unsafe { self.0.submission().push(&request.0) }.expect("room in the ring");
    }

    /// Submits what is in the ring, and waits for at least `nr` completions. Returns how many
    /// requests were submitted.
    #[inline]
    pub fn submit(&mut self, nr: usize) -> usize {
        self.0.submit_and_wait(nr).expect("io_uring_enter")
    }

    /// A completion, if there is one.
    #[inline]
    pub fn next(&mut self) -> Option<Completion> {
        let cqe = self.0.completion().next()?;
        Some(Completion {
            number: cqe.user_data(),
            result: cqe.result(),
            more: cqueue::more(cqe.flags()),
            buffer: cqueue::buffer_select(cqe.flags()),
        })
    }
}

/// How many buffers there are, a power of two.
const NR: u16 = 8;

/// The number under which a ring has them.
const GROUP: u16 = 0;

/// Buffers that the kernel takes for what it reads, and that are given back to it one by one.
///
/// # Invariants
///
/// `memory` is two pages. The first one has `NR` entries of a ring, to which a request may add
/// nothing; the second one has the buffers.
#[derive(Debug)]
pub struct Buffers {
    memory: &'static Mapping,
    /// How long each of them is, in bytes.
    len: usize,
    /// How many were given to the kernel so far.
    given: u16,
}

impl Buffers {
    /// Buffers of `len` bytes, of which the requests of `ring` take.
    pub fn new(ring: &Ring, len: usize) -> Self {
        assert!(usize::from(NR) * len <= PAGE);
        let memory: &Mapping = Box::leak(Box::new(Mapping::private(2 * PAGE)));
        let submitter = ring.0.submitter();
        // SAFETY: The memory is mapped for good, and nothing of Rust's is there.
        unsafe { submitter.register_buf_ring_with_flags(memory.addr(), NR, GROUP, 0) }
            .expect("a ring of buffers");
        // INVARIANT: The memory was mapped for this only.
        let mut buffers = Self {
            memory,
            len,
            given: 0,
        };
        for buffer in 0..NR {
            buffers.give(buffer);
        }
        buffers
    }

    /// Gives the buffer back to the kernel.
    #[inline]
    pub fn give(&mut self, buffer: u16) {
        let entries = ptr::with_exposed_provenance_mut::<BufRingEntry>(self.memory.addr() as usize);
        let entry = entries.wrapping_add(usize::from(self.given % NR));
        self.given = self.given.wrapping_add(1);
        let addr = self.memory.addr() + (PAGE + usize::from(buffer) * self.len) as u64;
        // SAFETY: By the type invariants, there are so many entries. The kernel has read what it was
        // given there before, and reads this one when it sees the new number of those that were given.
        unsafe {
            (*entry).set_addr(addr);
            (*entry).set_len(self.len as u32);
            (*entry).set_bid(buffer);
        }
        // SAFETY: The entries begin there.
        let tail = unsafe { BufRingEntry::tail(entries) };
        // SAFETY: It is aligned, mapped for good, and accessed as an atomic only.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.given, Ordering::Release);
    }
}
