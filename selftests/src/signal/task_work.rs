// SPDX-License-Identifier: GPL-2.0
//! Task work of io_uring arrives while its thread waits. In the kernel, it interrupts the wait as a
//! signal would. But there is no signal, so a wait must not fail with `EINTR`.

use crate::harness::{
    LIMIT, Mapping, PAGE, Service, Task, futex, fx, nr_waiters, until, until_in_syscall,
    until_queued,
};
use io_uring::{IoUring, opcode, types};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use rfutex::{Error, WaitEntry, WaitOptions, Word};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

trials![wait, wait_until_a_deadline, waitv, swap, as_futex];

/// How many requests complete during one wait.
const TIMES: u32 = 5;

/// The requests of a thread that has a ring.
struct Work {
    /// There is a request for each of these: it completes when the eventfd becomes readable.
    begin: [EventFd; TIMES as usize],
    /// The ring counts completed requests here.
    ended: EventFd,
}

impl Work {
    fn new() -> Arc<Self> {
        let eventfd = || EventFd::from_flags(EfdFlags::EFD_NONBLOCK).expect("eventfd");
        Arc::new(Self {
            begin: [(); TIMES as usize].map(|()| eventfd()),
            ended: eventfd(),
        })
    }

    /// A thread that submits the requests, and then does `wait`.
    fn wait<R: Send + 'static>(
        self: &Arc<Self>,
        wait: impl FnOnce() -> R + Send + 'static,
    ) -> Task<R> {
        let work = self.clone();
        Task::spawn(move || {
            let mut ring = IoUring::new(8).expect("io_uring_setup");
            ring.submitter()
                .register_eventfd(work.ended.as_fd().as_raw_fd())
                .expect("an eventfd for the ring");
            for begin in &work.begin {
                let fd = types::Fd(begin.as_fd().as_raw_fd());
                let request = opcode::PollAdd::new(fd, libc::POLLIN as u32).build();
                // SAFETY: It names no memory.
                unsafe { ring.submission().push(&request) }.expect("room in the ring");
            }
            ring.submit().expect("io_uring_enter");
            let result = wait();
            assert_eq!(ring.completion().count(), TIMES as usize, "requests");
            result
        })
    }

    /// Has the requests complete, one by one. `waits` returns when the thread waits again. A
    /// request completes only when its own thread has run the task work, and so has left the wait.
    #[track_caller]
    fn arrives(&self, waits: impl Fn()) {
        for begin in &self.begin {
            waits();
            begin.write(1).expect("an eventfd");
            let limit = PollTimeout::try_from(LIMIT).expect("a time that poll takes");
            let mut fds = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, limit), Ok(1), "a request ends");
            self.ended.read().expect("an eventfd");
        }
        waits();
    }
}

fn words(map: &Mapping) -> [[Word<'static>; 2]; 2] {
    let words = [map.word(0), map.word(64)];
    [words, words.map(Word::private)]
}

fn goes_on(options: WaitOptions) {
    let map = Mapping::shared(PAGE);
    for [word, _] in words(&map) {
        let work = Work::new();
        let task = work.wait(move || fx().wait_with(word, 0, options));
        work.arrives(|| until_queued(word, 1));
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(task.join(), Ok(()));
    }
}

fn wait() {
    goes_on(WaitOptions::default());
}

fn wait_until_a_deadline() {
    goes_on(WaitOptions::default().within(Duration::from_secs(3600)));
}

fn waitv() {
    let map = Mapping::shared(PAGE);
    for words in words(&map) {
        let work = Work::new();
        let task = work.wait(move || {
            let entries = words.map(|word| WaitEntry::new(word, 0));
            fx().wait_any(&entries, None)
        });
        work.arrives(|| until_queued(words[1], 1));
        assert_eq!(fx().wake_one(words[1]), Ok(1));
        assert_eq!(task.join(), Ok(1));
        assert_eq!(nr_waiters(words[0]), 0);
    }
}

/// The wake of the call has been made, so that it cannot start again. It fails with `EINTR`, and
/// the caller goes on with a plain wait.
fn swap() {
    let map = Mapping::shared(PAGE);
    for [word, other] in words(&map) {
        let [first, second] = Service::Ours.sleepers(other);
        let work = Work::new();
        let task = work.wait(move || {
            assert_eq!(fx().swap(word, 0, other), Err(Error::Interrupted));
            fx().wait(word, 0)
        });
        work.arrives(|| until_queued(word, 1));
        first.woken();
        assert_eq!(nr_waiters(other), 1);
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(task.join(), Ok(()));
        assert_eq!(fx().wake_one(other), Ok(1));
        second.woken();
    }
}

/// A wait on a word while it is 0: the errno, or 0.
type Wait = fn(Word<'static>) -> i32;

/// futex(2) and futex_waitv(2) do the same.
fn as_futex() {
    let map = Mapping::private(PAGE);
    let word = map.word(0).private();
    let wait: Wait = |word| Service::Theirs.wait(word, 0);
    let waitv: Wait = |word| {
        let entry = futex::waitv_entry(word.addr(), 0, true);
        futex::waitv(&[entry], None).map_or_else(|error| error as i32, |_| 0)
    };
    let waits = [(wait, libc::SYS_futex), (waitv, libc::SYS_futex_waitv)];
    for (wait, nr) in waits {
        let work = Work::new();
        let task = work.wait(move || wait(word));
        let (pid, tid) = (nix::unistd::getpid(), task.tid());
        work.arrives(|| until_in_syscall(pid, tid, nr));
        until("it is woken", || Service::Theirs.wake(word, 1) == Ok(1));
        assert_eq!(task.join(), 0);
    }
}
