// SPDX-License-Identifier: MIT OR Apache-2.0
//! The algorithms of `rfutex::sync`, checked with loom: each of these tests runs a few threads
//! in all orders that can make a difference (some of them with a bound on how often a thread is
//! interrupted), with all that the memory model allows each load to see. A thread that sleeps
//! forever, and data that is not protected, are found in whatever order they come.
//!
//! The algorithms are the files of the crate itself, on another `os`.

#![allow(
    missing_docs,
    dead_code,
    reason = "the parts of the crate are not all used here"
)]

mod os;

#[path = "../../src/sync/barrier.rs"]
mod barrier;
#[path = "../../src/sync/condvar.rs"]
mod condvar;
#[path = "../../src/sync/latch.rs"]
mod latch;
#[path = "../../src/sync/mutex.rs"]
mod mutex;
#[path = "../../src/sync/once.rs"]
mod once;
#[path = "../../src/sync/rwlock.rs"]
mod rwlock;
#[path = "../../src/sync/semaphore.rs"]
mod semaphore;
#[path = "../../src/sync/upgrade.rs"]
mod upgrade;

mod check_condvar;
mod check_mutex;
mod check_others;
mod check_rwlock;
mod check_upgrade;

use loom::cell::UnsafeCell;
use loom::thread;
use os::Fault;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Data that a lock protects: loom sees whether it does.
struct Data(UnsafeCell<u32>);

impl Data {
    fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    fn add(&self) {
        // SAFETY: loom tells if it is not so that nobody else has access.
        self.0.with_mut(|data| unsafe { *data += 1 });
    }

    fn get(&self) -> u32 {
        // SAFETY: loom tells if somebody writes meanwhile.
        self.0.with(|data| unsafe { *data })
    }
}

type Thread<T> = fn(&T);

/// Runs `threads` on what `new` makes, in all orders, and then `end`. If there is a bound, a
/// thread is interrupted by others at most so often.
fn check_with<T: 'static>(
    fault: Fault,
    bound: Option<usize>,
    new: fn() -> T,
    threads: &[Thread<T>],
    end: Thread<T>,
) {
    let runs = Arc::new(AtomicU64::new(0));
    let (count, threads) = (runs.clone(), threads.to_vec());
    let mut model = loom::model::Builder::new();
    model.preemption_bound = bound;
    model.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        os::reset(fault);
        let all = Arc::new(new());
        let (first, others) = threads.split_first().expect("a thread");
        let others: Vec<_> = others
            .iter()
            .map(|&thread| {
                let all = all.clone();
                thread::spawn(move || thread(&all))
            })
            .collect();
        first(&all);
        others
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
        end(&all);
    });
    println!("{} orders", runs.load(Ordering::Relaxed));
}

fn check<T: 'static>(bound: Option<usize>, new: fn() -> T, threads: &[Thread<T>], end: Thread<T>) {
    check_with(Fault::None, bound, new, threads, end);
}

/// Whether something is found when the model has this fault.
fn finds<T: 'static>(fault: Fault, new: fn() -> T, threads: &[Thread<T>], end: Thread<T>) -> bool {
    let threads = threads.to_vec();
    std::panic::catch_unwind(move || check_with(fault, Some(3), new, &threads, end)).is_err()
}

/// The faults that are found in every lock that compares, sleeps and wakes.
const COMMON: [Fault; 4] = [
    Fault::NoAcquire,
    Fault::NoRelease,
    Fault::LostWake,
    Fault::NoCompare,
];

/// Checks that each of these faults is found.
fn finds_each<T: 'static>(faults: &[Fault], new: fn() -> T, threads: &[Thread<T>], end: Thread<T>) {
    for &fault in faults {
        assert!(finds(fault, new, threads, end), "{fault:?}");
    }
}
