// SPDX-License-Identifier: GPL-2.0
//! What a wake costs while many sleep on other words, and what memory the
//! kernel has for somebody who sleeps.

use super::{Scope, Wait, Wake, alone, tell};
use crate::call::Futex;
use crate::measure::timed;
use crate::memory::Memory;
use crate::side::Side;
use rfutex::raw::uapi;
use rfutex::{WaitEntry, Word};
use rfutex_figures::spread::Spread;
use rfutex_selftests::harness::{futex, nr_waiters, until};
use rfutex_selftests::vmstat::Counters;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

/// Numbers of waiters.
const CROWDS: [usize; 6] = [1, 10, 100, 1000, 10_000, 100_000];

/// Words that are woken, with nobody there: what they cost depends on the bucket.
const WOKEN: usize = 512;

/// How often each of them is woken.
const ROUNDS: usize = 9;

/// Words of one thread.
const PER_THREAD: usize = uapi::RFUTEX_WAITV_MAX as usize;

/// Bytes of stack of a thread that only sleeps.
const STACK: usize = 32 << 10;

/// Threads for the memory of a waiter.
const SLEEPERS: usize = 1000;

/// Counts both, for each side; in instructions, if the processor does that.
pub fn run(scope: &Scope) {
    for &memory in Memory::of_experiments(scope.files_only) {
        for &side in &scope.sides {
            alone(|| wakes(side, memory));
        }
    }
    for &side in &scope.sides {
        alone(|| slab(side));
    }
}

/// The process ends with all its threads asleep.
fn wakes(side: Side, memory: Memory) {
    let words = memory.many_words(CROWDS[CROWDS.len() - 1]);
    let calls: Vec<_> = memory
        .many_words(WOKEN)
        .into_iter()
        .map(|word| Wake::new(side, word))
        .collect();
    let mut crowd = Crowd::new(side, &words);
    for nr in CROWDS {
        crowd.grow(nr);
        let mut figures = Vec::new();
        for _ in 0..=ROUNDS {
            let took = timed(|| {
                for call in &calls {
                    assert_eq!(call.call(), 0);
                }
            });
            figures.push(took as f64 / WOKEN as f64);
        }
        let cost = Spread::of(&figures[1..]).median;
        tell(
            "crowd",
            memory.name(),
            Some(nr as f64),
            side.name(),
            &[("instructions", cost)],
        );
    }
}

/// Threads that sleep on words. All are there from the beginning: each has mappings of its own,
/// and to find a word among them costs more when they are more, but has nothing to do with waiters.
struct Crowd {
    side: Side,
    /// The words of each thread.
    words: Arc<[Vec<Word<'static>>]>,
    /// How many of them sleep.
    asleep: usize,
    /// Where a thread is given the number of the words that it is to sleep on.
    gate: File,
}

impl Crowd {
    /// Makes the threads, which do not sleep on words yet, but in a pipe: that touches no futex.
    fn new(side: Side, words: &[Word<'static>]) -> Self {
        let begins = [0].into_iter().chain(CROWDS);
        let words: Arc<[_]> = begins
            .zip(CROWDS)
            .flat_map(|(begin, end)| words[begin..end].chunks(PER_THREAD))
            .map(<[_]>::to_vec)
            .collect();
        let (entrance, gate) = nix::unistd::pipe().expect("a pipe");
        let entrance = Arc::new(File::from(entrance));
        let at_gate = Arc::new(AtomicUsize::new(0));
        for _ in 0..words.len() {
            let (entrance, at_gate) = (Arc::clone(&entrance), Arc::clone(&at_gate));
            let words = Arc::clone(&words);
            sleeper(side, move || {
                let mut number = [0; size_of::<usize>()];
                at_gate.fetch_add(1, Ordering::SeqCst);
                (&*entrance).read_exact(&mut number).expect("a number");
                words[usize::from_ne_bytes(number)].clone()
            });
        }
        until("all threads are there", || {
            at_gate.load(Ordering::SeqCst) == words.len()
        });
        Self {
            side,
            words,
            asleep: 0,
            gate: gate.into(),
        }
    }

    /// Has threads sleep until `nr` words have a waiter.
    fn grow(&mut self, nr: usize) {
        let mut waiters: usize = self.words[..self.asleep].iter().map(Vec::len).sum();
        while waiters < nr {
            let words = &self.words[self.asleep];
            self.gate
                .write_all(&self.asleep.to_ne_bytes())
                .expect("room in the pipe");
            until_queued(self.side, words);
            self.asleep += 1;
            waiters += words.len();
        }
    }
}

/// How many are queued on `word`.
fn queued(side: Side, word: Word<'static>) -> i64 {
    match side {
        // Moves those that are there to where they are, which counts them.
        Side::Native => Futex::requeue(word, 0, word, i32::MAX as u32).call(),
        Side::Ours(..) => nr_waiters(word).into(),
    }
}

/// A thread that sleeps on `words`, which are zero, for good. Returns when it is queued.
pub fn sleep_on(side: Side, words: Vec<Word<'static>>) {
    let theirs = words.clone();
    sleeper(side, move || theirs);
    until_queued(side, &words);
}

/// Waits until a thread is queued on these words.
fn until_queued(side: Side, words: &[Word<'static>]) {
    // The last of its words is the last that it is queued on.
    let last = *words.last().expect("a word");
    until("a thread is queued", || queued(side, last) == 1);
}

/// A thread that sleeps for good on those words, which are zero, that `words` gives.
fn sleeper(side: Side, words: impl FnOnce() -> Vec<Word<'static>> + Send + 'static) {
    let sleep = move || match side {
        Side::Native => {
            let entry = |word: &Word<'_>| futex::waitv_entry(word.addr(), 0, word.is_private());
            let entries: Vec<_> = words().iter().map(entry).collect();
            futex::waitv(&entries, None).map(drop).expect("a wait")
        }
        Side::Ours(device, _) => {
            let entry = |word: Word<'static>| WaitEntry::new(word, 0);
            let entries: Vec<_> = words().into_iter().map(entry).collect();
            device.wait_any(&entries, None).map(drop).expect("a wait")
        }
    };
    let thread = Builder::new().stack_size(STACK).spawn(sleep);
    drop(thread.expect("a thread"));
}

/// The slab memory of waiters: what comes when threads that slept elsewhere
/// sleep on words, and what is still there when they have left.
fn slab(side: Side) {
    let words = Memory::Shared.many_words(SLEEPERS);
    // They sleep in futex(2) at first, and in the end, on this one.
    let [gate] = Memory::Private.words();
    let at_gate = Arc::new(AtomicUsize::new(0));
    for &word in &words {
        let at_gate = Arc::clone(&at_gate);
        let sleep = move || {
            at_gate.fetch_add(1, Ordering::SeqCst);
            Futex::wait(gate, 0).call();
            assert_eq!(Wait::new(side, word, 0).call(), 0, "woken");
            at_gate.fetch_add(1, Ordering::SeqCst);
            Futex::wait(gate, 0).call();
        };
        let thread = Builder::new().stack_size(STACK).spawn(sleep);
        drop(thread.expect("a thread"));
    }
    let all_at_gate = || {
        until("all are at the gate", || {
            at_gate.load(Ordering::SeqCst) == SLEEPERS
                && queued(Side::Native, gate) == SLEEPERS as i64
        });
        at_gate.store(0, Ordering::SeqCst);
    };
    all_at_gate();
    let before = Counters::now();
    let woken = Futex::wake(gate, SLEEPERS as u32).call();
    assert_eq!(woken, SLEEPERS as i64);
    for &word in &words {
        until("all of them wait", || queued(side, word) == 1);
    }
    let asleep = Counters::now();
    for &word in &words {
        assert_eq!(Wake::new(side, word).call(), 1);
    }
    all_at_gate();
    let after = Counters::now();
    let bytes = |later: &Counters, earlier| {
        let pages = ["nr_slab_unreclaimable", "nr_slab_reclaimable"]
            .map(|name| later.since(earlier, name))
            .iter()
            .sum::<i64>();
        (pages * 4096) as f64 / SLEEPERS as f64
    };
    let figures = [
        ("bytes a waiter", bytes(&asleep, &before)),
        ("after it", bytes(&after, &before)),
    ];
    tell(
        "slab",
        "shared",
        Some(SLEEPERS as f64),
        side.name(),
        &figures,
    );
}
