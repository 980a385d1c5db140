// SPDX-License-Identifier: GPL-2.0
//! What is more than one operation by itself.

pub mod crowd;
pub mod fault;
pub mod hash;
pub mod lines;
pub mod lock;
pub mod reclaim;
pub mod thp;
pub mod threads;
pub mod watches;

use crate::call::{Futex, Ioctl, WakeOne};
use crate::rows::wait;
use crate::side::{self, Side};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use rfutex::raw::uapi;
use rfutex::{Clock, Word};
use rfutex_figures::record::{Line, Record};
use rfutex_figures::spread::{quantile, sorted};
use rfutex_selftests::harness::Child;

/// What an experiment is made with.
#[derive(Debug)]
pub struct Scope {
    /// futex(2), and rfutex with each resolver.
    pub sides: Vec<Side>,
    /// Whether words in an arena are measured, too, in an experiment that has such.
    pub arena: bool,
    /// Only with words of files: with others it has been made.
    pub files_only: bool,
}

/// Tells what was found out about `side`.
pub fn tell(experiment: &str, case: &str, x: Option<f64>, side: &str, figures: &[(&str, f64)]) {
    let figures = figures
        .iter()
        .map(|&(name, figure)| (name.to_owned(), figure));
    let line = Line {
        experiment: experiment.to_owned(),
        case: case.to_owned(),
        x,
        side: side.to_owned(),
        hold: side::hold(),
        figures: figures.collect(),
    };
    Record::Line(line).emit().expect("standard output");
}

/// Runs `work` in a process of its own: what it does to the process, as to make
/// threads, costs the others nothing.
pub fn alone(work: impl FnOnce()) {
    let child = Child::run(work);
    // Asleep, so as not to take the processor from it now and then.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(child.pid()), flags).expect("waitid");
    child.join();
}

/// A wake with nobody there.
#[derive(Clone, Copy, Debug)]
pub enum Wake {
    /// futex(2).
    Native(Futex),
    /// rfutex, with the address in the argument.
    Ours(WakeOne),
}

impl Wake {
    /// Of `side` on `word`.
    pub fn new(side: Side, word: Word<'static>) -> Self {
        match side {
            Side::Native => Self::Native(Futex::wake(word, 1)),
            Side::Ours(device, _) => Self::Ours(WakeOne::new(device, word)),
        }
    }

    /// Makes the call. What it returns, -1 for an error.
    #[inline]
    pub fn call(&self) -> i64 {
        match self {
            Self::Native(call) => call.call(),
            Self::Ours(call) => call.call(),
        }
    }
}

/// A wait.
#[derive(Debug)]
pub enum Wait {
    /// futex(2).
    Native(Futex),
    /// rfutex.
    Ours(Box<Ioctl<uapi::rfutex_wait>>),
}

impl Wait {
    /// Of `side` on `word` while it is `val`.
    pub fn new(side: Side, word: Word<'static>, val: u32) -> Self {
        match side {
            Side::Native => Self::Native(Futex::wait(word, val)),
            Side::Ours(device, _) => Self::Ours(Box::new(wait(device, word, val.into()))),
        }
    }

    /// Makes the call. What it returns, -1 for an error.
    #[inline]
    pub fn call(&mut self) -> i64 {
        match self {
            Self::Native(call) => call.call(),
            Self::Ours(call) => call.call(),
        }
    }
}

/// The time, in nanoseconds.
pub fn now() -> i64 {
    Clock::Monotonic.now()
}

/// What each of many calls took, in nanoseconds.
#[derive(Debug, Default)]
pub struct Latencies(Vec<f64>);

impl Latencies {
    /// Makes a call, and notes what it took.
    #[inline]
    pub fn of<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = now();
        let result = call();
        self.0.push((now() - start) as f64);
        result
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, nr: usize) {
        self.0.reserve(nr);
    }

    /// Adds those of another thread.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The median.
    pub fn median(&self) -> f64 {
        quantile(&sorted(&self.0), 0.5)
    }

    /// How many, median, 99th percentile and the greatest, in microseconds.
    pub fn figures(&self) -> Vec<(&'static str, f64)> {
        let sorted = sorted(&self.0);
        let us = |of| quantile(&sorted, of) / 1000.0;
        vec![
            ("calls", sorted.len() as f64),
            ("median us", us(0.5)),
            ("p99 us", us(0.99)),
            ("max us", us(1.0)),
        ]
    }
}
