// SPDX-License-Identifier: GPL-2.0
//! One call for many waiters.

use super::single;
use crate::call::Futex;
use crate::measure::{Batch, timed};
use crate::memory::Memory;
use crate::scheduling::{self, Policy};
use crate::side::Side;
use rfutex::Word;
use rfutex_selftests::harness::{futex, nr_waiters, until};
use rfutex_selftests::memory::RegionWord;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

/// How many there are.
pub const NR: u32 = 64;

/// Threads that wait on the first of some words, each time it has changed anew.
struct Waiters {
    side: Side,
    words: Vec<Word<'static>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Waiters {
    /// Starts `nr` of them.
    fn new(side: Side, words: Vec<Word<'static>>, nr: u32) -> Self {
        scheduling::set(Policy::Batch);
        let first = words[0];
        let over = Arc::new(AtomicBool::new(false));
        let threads = (0..nr)
            .map(|_| {
                let over = Arc::clone(&over);
                Builder::new()
                    .stack_size(64 << 10)
                    .spawn(move || sleep_often(side, first, &over))
                    .expect("a thread")
            })
            .collect();
        let waiters = Self {
            side,
            words,
            over,
            threads,
        };
        waiters.all_sleep_on(first);
        waiters
    }

    /// Returns when all of them are queued on `word`.
    fn all_sleep_on(&self, word: Word<'static>) {
        until("all of them are queued", || {
            let queued = match self.side {
                // Moves those that are there to where they are, which counts them.
                Side::Native => {
                    Futex::requeue(word, word.load(), word, i32::MAX as u32).call() as usize
                }
                Side::Ours(..) => nr_waiters(word) as usize,
            };
            queued == self.threads.len()
        });
    }
}

/// Waits on `word` whatever its value, until it is over.
fn sleep_often(side: Side, word: Word<'static>, over: &AtomicBool) {
    scheduling::set(Policy::Batch);
    while !over.load(Ordering::SeqCst) {
        let val = word.load();
        match side {
            Side::Native => Futex::wait(word, val).call(),
            Side::Ours(device, _) => single::wait(device, word, val.into()).call(),
        };
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let word = self.words[0];
        while !self.threads.iter().all(|thread| thread.is_finished()) {
            word.store(word.load() + 1);
            for &word in &self.words {
                match self.side {
                    Side::Native => {
                        let woken = futex::wake(word.addr(), i32::MAX, word.is_private());
                        woken.expect("a wake");
                    }
                    Side::Ours(device, _) => {
                        device.wake_all(word).expect("a wake");
                    }
                }
            }
            std::thread::yield_now();
        }
        for thread in self.threads.drain(..) {
            thread.join().expect("a waiter's end");
        }
    }
}

/// A batch of wakes of `nr` waiters, who sleep again between them.
fn wakes(
    side: Side,
    word: Word<'static>,
    nr: u32,
    mut wake: impl FnMut() -> i64 + 'static,
) -> Batch {
    let waiters = Waiters::new(side, vec![word], nr);
    Box::new(move |rounds| {
        let mut sum = 0;
        for _ in 0..rounds {
            waiters.all_sleep_on(word);
            scheduling::set(Policy::Waker);
            word.store(word.load() + 1);
            let mut woken = 0;
            sum += timed(|| woken = wake());
            scheduling::set(Policy::Batch);
            assert_eq!(woken, i64::from(nr));
        }
        sum
    })
}

/// Wakes all of them in one call.
pub fn wake(side: Side, memory: Memory) -> Batch {
    wake_of(side, memory, NR)
}

/// Wakes the only one there is.
pub fn wake_one(side: Side, memory: Memory) -> Batch {
    wake_of(side, memory, 1)
}

fn wake_of(side: Side, memory: Memory, nr: u32) -> Batch {
    let [word] = memory.words();
    match side {
        Side::Native => {
            let call = Futex::wake(word, nr);
            wakes(side, word, nr, move || call.call())
        }
        Side::Ours(device, _) => {
            let mut call = single::wake(device, word, nr);
            wakes(side, word, nr, move || call.call())
        }
    }
}

/// How many words they are moved between. Two may share a bucket by chance, which
/// is cheaper; the median is not of these.
const PLACES: usize = 16;

/// Moves all of them in one call, from word to word.
pub fn requeue(side: Side, memory: Memory) -> Batch {
    let waiters = Waiters::new(side, memory.many_words(PLACES), NR);
    let mut place = 0;
    Box::new(move |rounds| {
        waiters.all_sleep_on(waiters.words[place]);
        scheduling::set(Policy::Waker);
        let mut sum = 0;
        for _ in 0..rounds {
            let [from, to] = [place, place + 1].map(|at| waiters.words[at % PLACES]);
            place = (place + 1) % PLACES;
            let mut moved = 0;
            sum += match side {
                Side::Native => {
                    let call = Futex::requeue(from, from.load(), to, NR);
                    timed(|| moved = call.call())
                }
                Side::Ours(device, _) => {
                    let mut call = single::requeue(device, from, from.load().into(), to, NR);
                    timed(|| moved = call.call())
                }
            };
            assert_eq!(moved, i64::from(NR));
        }
        scheduling::set(Policy::Batch);
        sum
    })
}
