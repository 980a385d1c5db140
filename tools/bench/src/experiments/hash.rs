// SPDX-License-Identifier: GPL-2.0
//! How many operations several threads get done, each on words of its own: the
//! calls meet in the hash table only. What `perf bench futex hash` does.

use super::{Scope, Wait, now, tell};
use crate::memory::Memory;
use crate::scheduling::{self, Policy};
use crate::side::Side;
use rfutex_figures::spread::Spread;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Numbers of threads.
const THREADS: [usize; 4] = [1, 4, 16, 64];

/// Words of a thread.
const WORDS: usize = 256;

/// How long one side has the processors before the next one gets them.
const TURN: Duration = Duration::from_millis(60);

/// How often each side has its turn.
const TURNS: usize = 15;

/// After so many calls a thread looks whose turn it is.
const UNTIL_LOOK: usize = 8;

/// Whose turn it is; above all of them, nobody's.
struct Turn(AtomicUsize);

/// One number of threads on one kind of memory, the sides in turn.
pub fn run(scope: &Scope) {
    for &memory in Memory::of_experiments(scope.files_only) {
        for threads in THREADS {
            super::alone(|| point(&scope.sides, memory, threads));
        }
    }
}

fn point(sides: &[Side], memory: Memory, threads: usize) {
    let turns = sides.len() * TURNS;
    // One turn before the first that counts.
    let turn = Turn(AtomicUsize::new(0));
    let done: Vec<_> = (0..=turns).map(|_| AtomicU64::new(0)).collect();
    let ready = Barrier::new(threads + 1);
    let mut took = vec![0.0; turns + 1];
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| worker(sides, memory, &turn, &done, &ready));
        }
        ready.wait();
        // Not to be late for the end of a turn.
        scheduling::set(Policy::Waker);
        for (now_turn, took) in took.iter_mut().enumerate() {
            turn.0.store(now_turn, Ordering::Relaxed);
            let start = now();
            thread::sleep(TURN);
            *took = (now() - start) as f64 / 1e9;
        }
        turn.0.store(usize::MAX, Ordering::Relaxed);
        scheduling::set(Policy::Batch);
    });
    let per_second = |at: usize| done[at].load(Ordering::Relaxed) as f64 / took[at];
    let of_side = |side: usize| -> Vec<f64> {
        (0..TURNS)
            .map(|turn| per_second(1 + turn * sides.len() + side))
            .collect()
    };
    let native = of_side(0);
    for (place, side) in sides.iter().enumerate() {
        let own = of_side(place);
        let ratios: Vec<_> = own.iter().zip(&native).map(|(a, b)| a / b).collect();
        let (own, ratio) = (Spread::of(&own), Spread::of(&ratios));
        let figures = [
            ("calls/s", own.median),
            ("ratio", ratio.median),
            ("ratio low", ratio.low),
            ("ratio high", ratio.high),
        ];
        tell(
            "hash",
            memory.name(),
            Some(threads as f64),
            side.name(),
            &figures,
        );
    }
}

/// Calls of the side whose turn it is, until it is nobody's.
fn worker(sides: &[Side], memory: Memory, turn: &Turn, done: &[AtomicU64], ready: &Barrier) {
    let words = memory.many_words(WORDS);
    let mut calls: Vec<Vec<Wait>> = sides
        .iter()
        .map(|&side| words.iter().map(|&word| Wait::new(side, word, 1)).collect())
        .collect();
    ready.wait();
    let mut next = 0;
    loop {
        let turn = turn.0.load(Ordering::Relaxed);
        let Some(done) = done.get(turn) else { break };
        let side = (turn + sides.len() - 1) % sides.len();
        for _ in 0..UNTIL_LOOK {
            assert_eq!(calls[side][next % WORDS].call(), -1);
            next += 1;
        }
        done.fetch_add(UNTIL_LOOK as u64, Ordering::Relaxed);
    }
}
