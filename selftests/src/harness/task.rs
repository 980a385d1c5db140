// SPDX-License-Identifier: GPL-2.0
//! Threads of a test.

use super::{fx, nr_waiters, until};
use nix::unistd::Pid;
use rfutex::{Error, WaitOptions, Word};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// A thread whose end is waited for within [`LIMIT`](super::LIMIT) only.
#[derive(Debug)]
pub struct Task<T> {
    thread: JoinHandle<T>,
    tid: Pid,
}

impl<T: Send + 'static> Task<T> {
    /// Runs `f` in a thread, and returns when that has begun.
    pub fn spawn(f: impl FnOnce() -> T + Send + 'static) -> Self {
        let (tell, told) = mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            tell.send(nix::unistd::gettid()).expect("somebody listens");
            f()
        });
        Self {
            thread,
            tid: told.recv().expect("a thread begins"),
        }
    }

    /// Its thread id.
    pub fn tid(&self) -> Pid {
        self.tid
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Whether it sleeps in futex(2) on the word at `addr`.
    pub fn sleeps_in_futex(&self, addr: u64) -> bool {
        let read = |file| {
            let path = format!("/proc/self/task/{}/{file}", self.tid);
            std::fs::read_to_string(path).unwrap_or_default()
        };
        // One that was woken, and waits for a processor to take it, passes for asleep in the call;
        // its state tells it from one that sleeps again. So the state comes first.
        if !read("stat").contains(") S ") {
            return false;
        }
        let line = read("syscall");
        let mut fields = line.split(' ');
        fields.next() == Some(&libc::SYS_futex.to_string())
            && fields.next() == Some(&format!("{addr:#x}"))
    }

    /// What it returns; fails the test if it does not end, or failed itself.
    #[track_caller]
    pub fn join(self) -> T {
        until("a thread ends", || self.thread.is_finished());
        self.thread.join().expect("the thread's own checks")
    }
}

/// A thread that waits on a word.
#[derive(Debug)]
pub struct Waiter(Task<Result<(), Error>>);

impl Waiter {
    /// Waits on `word` for as long as it is `val`. Returns when the thread is
    /// queued; fails the test if the wait ends before that. Nobody else may
    /// come to or leave the word meanwhile.
    #[track_caller]
    pub fn start(word: Word<'static>, val: u64) -> Self {
        Self::start_with(word, val, WaitOptions::default())
    }

    /// Like [`start`](Self::start), with options.
    #[track_caller]
    pub fn start_with(word: Word<'static>, val: u64, options: WaitOptions) -> Self {
        let nr = nr_waiters(word) + 1;
        let waiter = Self(Task::spawn(move || fx().wait_with(word, val, options)));
        until("a waiter is queued, or has failed", || {
            waiter.is_finished() || nr_waiters(word) == nr
        });
        if waiter.is_finished() {
            panic!("the wait ended at once: {:?}", waiter.join());
        }
        waiter
    }

    /// Its thread id.
    pub fn tid(&self) -> Pid {
        self.0.tid()
    }

    /// Whether the wait has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// What the wait returned; fails the test if it does not end.
    #[track_caller]
    pub fn join(self) -> Result<(), Error> {
        self.0.join()
    }

    /// Ends when the waiter was woken; fails the test if it was not.
    #[track_caller]
    pub fn woken(self) {
        assert_eq!(self.join(), Ok(()), "woken");
    }
}
