// SPDX-License-Identifier: GPL-2.0
//! Sets in io_uring(7): its poll, its reads, and its end.

use super::{EVENT, add, add_repeat, counts, readable, set};
use crate::harness::{Child, LIMIT, Mapping, PAGE, fx, nr_waiters, until};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use nix::sys::signal::Signal;
use nix::unistd::pause;
use rfutex::Watches;
use std::os::fd::AsRawFd;

trials![
    poll,
    poll_again_and_again,
    read,
    read_of_a_set_that_does_not_block,
    read_in_a_worker,
    read_too_short,
    read_again_and_again,
    read_again_and_again_three,
    read_again_and_again_not_blocking,
    ring_ends_with_requests,
    process_ends_with_requests,
    request_cancelled,
];

/// A ring, and memory for what it reads.
struct Ring {
    ring: IoUring,
    memory: Mapping,
}

/// The number of a request's completion, what it returns, and its flags.
type Completion = (u64, i32, u32);

impl Ring {
    fn new() -> Self {
        Self {
            ring: IoUring::new(16).expect("io_uring_setup"),
            memory: Mapping::private(PAGE),
        }
    }

    /// Submits a request, which begins at once.
    #[track_caller]
    fn submit(&mut self, request: squeue::Entry) {
        // SAFETY: What the requests write to is in `memory`, which has atomics only.
        unsafe { self.ring.submission().push(&request) }.expect("room in the ring");
        self.ring.submit().expect("io_uring_enter");
    }

    /// What is completed by now.
    fn completed(&mut self) -> Vec<Completion> {
        // Task work of this thread runs on its way back from the kernel.
        self.ring.submit().expect("io_uring_enter");
        let tell = |cqe: cqueue::Entry| (cqe.user_data(), cqe.result(), cqe.flags());
        self.ring.completion().map(tell).collect()
    }

    /// The next completion.
    #[track_caller]
    fn wait(&mut self) -> Completion {
        let limit = Timespec::from(LIMIT);
        let args = SubmitArgs::new().timespec(&limit);
        let result = self.ring.submitter().submit_with_args(1, &args);
        result.unwrap_or_else(|error| panic!("a completion: {error}"));
        let cqe = self.ring.completion().next().expect("a completion");
        (cqe.user_data(), cqe.result(), cqe.flags())
    }

    /// A read of up to `nr` events to the beginning of the memory.
    fn read(&self, set: &Watches, nr: usize) -> squeue::Entry {
        let to = self.memory.addr() as *mut u8;
        let read = opcode::Read::new(Fd(set.as_raw_fd()), to, (nr * EVENT) as u32);
        read.build().user_data(7)
    }

    /// The cookies and counts of the events that are `bytes` long at `at` in the memory.
    fn events(&self, at: usize, bytes: i32) -> Vec<(u64, u64)> {
        let bytes = self.memory.read(at, bytes as usize);
        let field = |event: &[u8], at: usize| {
            u64::from_ne_bytes(event[at..at + 8].try_into().expect("8 bytes"))
        };
        let events = bytes.chunks_exact(EVENT);
        events
            .map(|event| (field(event, 0), field(event, 16)))
            .collect()
    }

    /// Provides `nr` buffers for `each` events.
    #[track_caller]
    fn provide(&mut self, nr: u16, each: usize) {
        let len = each * EVENT;
        assert!(usize::from(nr) * len <= PAGE);
        let addr = self.memory.addr() as *mut u8;
        self.submit(opcode::ProvideBuffers::new(addr, len as i32, nr, 3, 0).build());
        assert_eq!(self.wait().1, 0, "the buffers");
    }

    /// The events of the completion of a read to a buffer for `each` events.
    #[track_caller]
    fn events_of(&self, completion: Completion, each: usize) -> Vec<(u64, u64)> {
        let (_, result, flags) = completion;
        assert!(result > 0, "{result}");
        let buffer = cqueue::buffer_select(flags).expect("a buffer");
        self.events(usize::from(buffer) * each * EVENT, result)
    }
}

const READABLE: i32 = (libc::POLLIN | libc::POLLRDNORM) as i32;

fn poll() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let mut ring = Ring::new();
    add(&set, map.word(0), 1);
    for mask in [libc::POLLIN, libc::POLLRDNORM] {
        let poll = opcode::PollAdd::new(Fd(set.as_raw_fd()), mask as u32).build();
        ring.submit(poll.clone());
        assert_eq!(ring.completed(), []);
        assert_eq!(fx().wake_all(map.word(0)), Ok(1));
        let (_, result, flags) = ring.wait();
        assert_eq!(result & READABLE, mask.into());
        assert!(!cqueue::more(flags));
        // It is there already.
        ring.submit(poll);
        assert_eq!(ring.wait().1 & READABLE, mask.into());
        assert_eq!(counts(&set), [(1, 1)]);
        add(&set, map.word(0), 1);
    }
}

/// Each wake is told of, whether or not the last event was read.
fn poll_again_and_again() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let mut ring = Ring::new();
    add_repeat(&set, map.word(0), 1);
    let poll = opcode::PollAdd::new(Fd(set.as_raw_fd()), libc::POLLIN as u32).multi(true);
    ring.submit(poll.build());
    for nr in 1..6 {
        assert_eq!(ring.completed(), []);
        assert_eq!(fx().wake_all(map.word(0)), Ok(1));
        let (_, result, flags) = ring.wait();
        assert_eq!(result & i32::from(libc::POLLIN), libc::POLLIN.into());
        assert!(cqueue::more(flags));
        if nr % 2 == 0 {
            assert_eq!(counts(&set), [(1, 2)]);
        }
    }
}

/// A read waits for an event.
#[track_caller]
fn reads(set: &Watches, flags: squeue::Flags) {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let request = ring.read(set, 4).flags(flags);
    for round in 0..3 {
        ring.submit(request.clone());
        assert_eq!(ring.completed(), []);
        add(set, map.word(0), 2 * round);
        add(set, map.word(0), 2 * round + 1);
        assert_eq!(fx().wake_all(map.word(0)), Ok(2));
        let (_, result, _) = ring.wait();
        assert_eq!(result, 2 * EVENT as i32);
        assert_eq!(ring.events(0, result), [(2 * round, 1), (2 * round + 1, 1)]);
    }
    // There is one already.
    add(set, map.word(0), 9);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    ring.submit(request);
    let (_, result, _) = ring.wait();
    assert_eq!(ring.events(0, result), [(9, 1)]);
    assert!(!readable(set));
}

fn read() {
    reads(
        &Watches::new(fx()).expect("a watch set"),
        squeue::Flags::empty(),
    );
}

/// `O_NONBLOCK` is about read(2).
fn read_of_a_set_that_does_not_block() {
    reads(&set(), squeue::Flags::empty());
}

fn read_in_a_worker() {
    reads(
        &Watches::new(fx()).expect("a watch set"),
        squeue::Flags::ASYNC,
    );
}

fn read_too_short() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let mut ring = Ring::new();
    add(&set, map.word(0), 1);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    let fd = Fd(set.as_raw_fd());
    let to = ring.memory.addr() as *mut u8;
    for (to, len, error) in [(to, 31, libc::EINVAL), (8 as *mut u8, 32, libc::EFAULT)] {
        ring.submit(opcode::Read::new(fd, to, len).build());
        assert_eq!(ring.wait().1, -error);
    }
    assert_eq!(counts(&set), [(1, 1)]);
}

/// A read that goes on for as long as there are buffers, each of them for `each` events.
#[track_caller]
fn reads_again_and_again(set: &Watches, each: usize) {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    ring.provide(10, each);
    let fd = Fd(set.as_raw_fd());
    ring.submit(opcode::ReadMulti::new(fd, 0, 3).build());
    assert_eq!(ring.completed(), []);
    add_repeat(set, map.word(64), 100);
    let mut used = 0;
    // Some at once, of which more may be left than there is room for.
    for round in 0..2 {
        let mut all = Vec::new();
        for cookie in 0..4 {
            add(set, map.word(0), 10 * round + cookie);
        }
        assert_eq!(fx().wake_all(map.word(0)), Ok(4));
        while all.len() < 4 {
            let completion = ring.wait();
            assert!(cqueue::more(completion.2), "it goes on");
            all.extend(ring.events_of(completion, each));
            used += 1;
        }
        let expected: Vec<_> = (0..4).map(|cookie| (10 * round + cookie, 1)).collect();
        assert_eq!(all, expected);
        assert!(!readable(set));
    }
    // And one by one, until the buffers are used up.
    while used < 10 {
        assert_eq!(ring.completed(), []);
        assert_eq!(fx().wake_all(map.word(64)), Ok(1));
        let completion = ring.wait();
        assert_eq!(ring.events_of(completion, each), [(100, 1)]);
        used += 1;
    }
    assert_eq!(fx().wake_all(map.word(64)), Ok(1));
    let (_, result, flags) = ring.wait();
    assert_eq!(result, -libc::ENOBUFS);
    assert!(!cqueue::more(flags));
    // That event was not lost.
    assert_eq!(ring.completed(), []);
    let mut event = [rfutex::Event::default(); 2];
    assert_eq!(set.read(&mut event), Ok(1));
    assert_eq!((event[0].cookie, event[0].woken), (100, 1));
}

fn read_again_and_again() {
    reads_again_and_again(&Watches::new(fx()).expect("a watch set"), 1);
}

fn read_again_and_again_three() {
    reads_again_and_again(&Watches::new(fx()).expect("a watch set"), 3);
}

fn read_again_and_again_not_blocking() {
    reads_again_and_again(&set(), 1);
    reads_again_and_again(&set(), 3);
}

/// A request of each kind, none of which has completed.
fn pending(set: &Watches) -> Ring {
    let mut ring = Ring::new();
    ring.provide(4, 1);
    let fd = Fd(set.as_raw_fd());
    ring.submit(opcode::PollAdd::new(fd, libc::POLLIN as u32).build());
    ring.submit(
        opcode::PollAdd::new(fd, libc::POLLIN as u32)
            .multi(true)
            .build(),
    );
    ring.submit(opcode::ReadMulti::new(fd, 0, 3).build());
    let read = ring.read(set, 1);
    ring.submit(read.clone());
    ring.submit(read.flags(squeue::Flags::ASYNC));
    assert_eq!(ring.completed(), []);
    ring
}

/// The set and its ring are closed, in either order, with requests pending. Nothing keeps the file
/// then.
fn ring_ends_with_requests() {
    let map = Mapping::shared(PAGE);
    for ring_first in [true, false] {
        let set = Watches::new(fx()).expect("a watch set");
        add_repeat(&set, map.word(0), 1);
        let ring = pending(&set);
        if ring_first {
            drop(ring);
            assert_eq!(nr_waiters(map.word(0)), 1);
            drop(set);
        } else {
            drop(set);
            // The requests hold the file.
            assert_eq!(nr_waiters(map.word(0)), 1);
            drop(ring);
        }
        until("the set is closed", || nr_waiters(map.word(0)) == 0);
    }
}

fn process_ends_with_requests() {
    let map = Mapping::shared(PAGE);
    for killed in [false, true] {
        let child = Child::run(|| {
            let set = Watches::new(fx()).expect("a watch set");
            let ring = pending(&set);
            add_repeat(&set, map.word(0), 1);
            if killed {
                loop {
                    pause();
                }
            }
            std::mem::forget((ring, set));
        });
        if killed {
            until("it is armed", || nr_waiters(map.word(0)) == 1);
            child.kill(Signal::SIGKILL);
        }
        child.status();
        until("the set is closed", || nr_waiters(map.word(0)) == 0);
        assert_eq!(fx().wake_all(map.word(0)), Ok(0));
    }
}

/// Cancels the read that was submitted. Returns what the first cancellation says, and the result of
/// the read.
///
/// A worker that is at the read just then is told to leave it (`EALREADY`). It may have the read
/// wait for the set nevertheless, if it was about to. That is found by the next cancellation.
#[track_caller]
fn cancel(ring: &mut Ring) -> (i32, i32) {
    let (mut said, mut read) = (Vec::new(), None);
    while read.is_none() {
        let mut found = None;
        ring.submit(opcode::AsyncCancel::new(7).build().user_data(8));
        while found.is_none() || found != Some(-libc::EALREADY) && read.is_none() {
            match ring.wait() {
                (7, result, _) => read = Some(result),
                (_, result, _) => found = Some(result),
            }
        }
        said.extend(found);
    }
    (said[0], read.expect("a result"))
}

/// A read that was cancelled takes no event.
fn request_cancelled() {
    let map = Mapping::shared(PAGE);
    let set = Watches::new(fx()).expect("a watch set");
    for flags in [squeue::Flags::empty(), squeue::Flags::ASYNC] {
        let mut ring = Ring::new();
        let read = ring.read(&set, 1).flags(flags);
        ring.submit(read);
        assert_eq!(ring.completed(), []);
        let (found, result) = cancel(&mut ring);
        assert!(
            found == 0 || flags == squeue::Flags::ASYNC && found == -libc::EALREADY,
            "{found}"
        );
        assert!(
            [-libc::ECANCELED, -libc::EINTR].contains(&result),
            "{result}"
        );
        add(&set, map.word(0), 1);
        assert_eq!(fx().wake_all(map.word(0)), Ok(1));
        assert_eq!(ring.completed(), []);
        assert!(readable(&set));
        let mut event = [rfutex::Event::default()];
        assert_eq!(set.read(&mut event), Ok(1));
    }
}
