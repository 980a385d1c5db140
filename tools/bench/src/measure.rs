// SPDX-License-Identifier: GPL-2.0
//! Batches of one operation, timed.

use rfutex::Clock;
use rfutex_figures::spread::{Spread, quantile, sorted};
use std::sync::OnceLock;

/// Does an operation so many times. Returns the nanoseconds that they took,
/// without what was done between them.
pub type Batch = Box<dyn FnMut(u32) -> i64>;

/// How many batches warm up, and are counted.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// Before.
    pub warm_up: u32,
    /// Counted.
    pub counted: u32,
}

fn now() -> i64 {
    Clock::Monotonic.now()
}

/// What `run` takes, in nanoseconds, without the reading of the clock.
#[inline]
pub fn timed(run: impl FnOnce()) -> i64 {
    let cost = clock_cost();
    let start = now();
    run();
    now() - start - cost
}

/// What two readings of the clock are apart.
fn clock_cost() -> i64 {
    static COST: OnceLock<i64> = OnceLock::new();
    *COST.get_or_init(|| {
        let readings: Vec<_> = (0..1000)
            .map(|_| {
                let start = now();
                (now() - start) as f64
            })
            .collect();
        quantile(&sorted(&readings), 0.5) as i64
    })
}

/// A batch that is `op` over and over.
pub fn batch(mut op: impl FnMut() + 'static) -> Batch {
    Box::new(move |nr| {
        timed(|| {
            for _ in 0..nr {
                op();
            }
        })
    })
}

/// Two operations, batch by batch in turn: what each took, and the second
/// through the first.
pub fn compare(batches: [&mut Batch; 2], nr: u32, rounds: Rounds) -> [Spread; 3] {
    let [first, second] = batches;
    let mut figures = [const { Vec::new() }; 3];
    for round in 0..rounds.warm_up + rounds.counted {
        let both = [first(nr), second(nr)].map(|ns| ns as f64 / f64::from(nr));
        if round >= rounds.warm_up {
            figures[0].push(both[0]);
            figures[1].push(both[1]);
            figures[2].push(both[1] / both[0]);
        }
    }
    figures.map(|figures| Spread::of(&figures))
}
