// SPDX-License-Identifier: GPL-2.0
//! Threads on processors of their own, one of which acts at a time.
//!
//! A thread that is not in turn spins in user space, on a line that it only reads.
//! It gives way to the other processors each time (`pause`), so the one in turn soon
//! gets to run. No call of the kernel hands the turn on: the kernel would write to
//! what the next one has to read. A timer interrupt may come into a turn all the
//! same; it comes once in many thousand instructions, and the median is not of those.

use super::marker;
use rfutex_selftests::harness::stay_on;
use std::hint;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How a row is played.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// So many turns of each thread are not counted: until all have had what they need.
    pub warm_up: usize,
    /// So often a processor gives way before it acts. With each of them, every other one
    /// runs until it has nothing to do or gives way, too: until those are asleep that go
    /// to sleep, and nothing but spinning is left.
    pub give_way: usize,
}

/// Nobody sleeps.
pub const BRISK: Pace = Pace {
    warm_up: 3,
    give_way: 2,
};

/// Some do, and [`WORDS`](super::places::WORDS) are used in turn.
pub const CALM: Pace = Pace {
    warm_up: super::places::WORDS + 1,
    give_way: 8,
};

impl Pace {
    /// How many turns each of `nr` threads has: the warm-up, and an odd number that are
    /// counted, which has a median.
    pub fn rounds(self, nr: usize) -> usize {
        self.warm_up
            + match nr {
                0..=8 => 9,
                9..=16 => 7,
                _ => 5,
            }
    }

    /// Lets all others come to rest.
    pub fn rest(self) {
        for _ in 0..self.give_way {
            hint::spin_loop();
        }
    }
}

/// What one thread does in its turns.
pub trait Part {
    /// What it needs for turn `round`, and what is not counted.
    fn prepare(&mut self, _round: usize) {}
    /// What is counted.
    fn act(&mut self);
    /// What comes after that, and is not counted.
    fn done(&mut self) {}
}

/// Alone on its lines, and those that a processor fetches along with them.
#[repr(align(128))]
struct Apart<T>(T);

/// `nr` threads take turns; thread `i` is on processor `on(i)`. `make` is called in the
/// thread.
pub fn take<P: Part>(
    pace: Pace,
    nr: usize,
    on: impl Fn(usize) -> usize + Sync,
    make: impl Fn(usize) -> P + Sync,
) {
    let turn = Apart(AtomicUsize::new(0));
    let ready = Barrier::new(nr);
    let thread = |place: usize| {
        stay_on(on(place));
        let mut part = Apart(make(place));
        ready.wait();
        for round in 0..pace.rounds(nr) {
            while turn.0.load(Ordering::Acquire) != round * nr + place {
                hint::spin_loop();
            }
            pace.rest();
            part.0.prepare(round);
            if round < pace.warm_up {
                part.0.act();
            } else {
                marker::begin(place);
                part.0.act();
                marker::end();
            }
            part.0.done();
            turn.0.store(round * nr + place + 1, Ordering::Release);
        }
    };
    thread::scope(|scope| {
        for place in 0..nr {
            let thread = &thread;
            scope.spawn(move || thread(place));
        }
    });
}
