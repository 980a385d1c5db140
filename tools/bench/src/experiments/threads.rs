// SPDX-License-Identifier: GPL-2.0
//! What a call costs when so many threads of a process make calls, each on words
//! of its own: the same as in the experiment `hash`, but counted in instructions
//! and so the same every time.

use super::{Scope, Wait, alone, now, tell};
use crate::memory::Memory;
use crate::scheduling::{self, Policy};
use crate::side::Side;
use rfutex_figures::spread::Spread;
use std::sync::Barrier;
use std::thread;

/// Numbers of threads.
const THREADS: [usize; 4] = [1, 4, 16, 64];

/// Words of a thread.
const WORDS: usize = 64;

/// Calls in a round, of all threads.
const CALLS: usize = 64 * 256;

/// How many rounds each side has, the first of which is for warming up.
const ROUNDS: usize = 6;

/// One number of threads on one kind of memory, the sides in turn.
pub fn run(scope: &Scope) {
    for &memory in Memory::of_experiments(scope.files_only) {
        for threads in THREADS {
            alone(|| point(&scope.sides, memory, threads));
        }
    }
}

fn point(sides: &[Side], memory: Memory, threads: usize) {
    let barrier = Barrier::new(threads + 1);
    let mut costs = vec![Vec::new(); sides.len()];
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| worker(sides, memory, CALLS / threads, &barrier));
        }
        // It reads the clock before the others begin, and as soon as they end.
        scheduling::set(Policy::Waker);
        for round in 0..ROUNDS {
            for costs in &mut costs {
                barrier.wait();
                let start = now();
                barrier.wait();
                if round > 0 {
                    costs.push((now() - start) as f64 / CALLS as f64);
                }
            }
        }
        scheduling::set(Policy::Batch);
    });
    let native = Spread::of(&costs[0]).median;
    for (side, costs) in sides.iter().zip(costs) {
        let cost = Spread::of(&costs).median;
        let figures = [("instructions", cost), ("ratio", cost / native)];
        let x = Some(threads as f64);
        tell("threads", memory.name(), x, side.name(), &figures);
    }
}

/// Waits on words that have other values, so many times for each side in turn.
fn worker(sides: &[Side], memory: Memory, nr: usize, barrier: &Barrier) {
    scheduling::set(Policy::Batch);
    let words = memory.many_words(WORDS);
    let mut calls: Vec<Vec<Wait>> = sides
        .iter()
        .map(|&side| words.iter().map(|&word| Wait::new(side, word, 1)).collect())
        .collect();
    for _ in 0..ROUNDS {
        for calls in &mut calls {
            barrier.wait();
            for at in 0..nr {
                assert_eq!(calls[at % WORDS].call(), -1);
            }
            barrier.wait();
        }
    }
}
