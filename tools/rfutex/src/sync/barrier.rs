// SPDX-License-Identifier: MIT OR Apache-2.0
//! The barrier.
//!
//! One word has the number of the round and of those who have arrived in it; both change in
//! one step. It changes with each arrival, so the threads sleep on another word: the number
//! of rounds that are over, and a bit that says that somebody may sleep. The standard library has the same two numbers under a mutex.

use super::os::{self, AtomicU32, AtomicU64, Ordering, Scope, Shared};
use std::marker::PhantomData;

/// The number of the round is in the upper half of the word.
const ROUND: u64 = 1 << 32;

/// Somebody may sleep.
const WAITING: u32 = 1;
/// One round that is over.
const OVER: u32 = 2;

/// A barrier: a number of threads wait until all of them have come.
///
/// It can be used again at once. Zeroed, it is one for a single thread, which waits for
/// nobody.
///
/// ```
/// use rfutex::sync::Barrier;
///
/// let barrier = Barrier::<rfutex::sync::Private>::new(1);
/// assert!(barrier.wait());
/// ```
#[repr(C)]
pub struct Barrier<S: Scope = Shared> {
    pub(super) state: AtomicU64,
    pub(super) over: AtomicU32,
    pub(super) threads: AtomicU32,
    pub(super) scope: PhantomData<S>,
}

impl<S: Scope> Barrier<S> {
    /// Waits until as many threads wait as the barrier is for. True for one of them: the one
    /// that came last.
    pub fn wait(&self) -> bool {
        // It never changes, but other processes could write to it.
        let threads = self.threads.load(Ordering::Relaxed);
        let mut state = self.state.load(Ordering::Relaxed);
        let (round, last) = loop {
            let (round, arrived) = (state / ROUND, state % ROUND + 1);
            let last = arrived >= threads.into();
            let next = if last {
                round.wrapping_add(1).wrapping_mul(ROUND)
            } else {
                state + 1
            };
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            match self
                .state
                .compare_exchange_weak(state, next, success, failure)
            {
                Ok(_) => break (round as u32, last),
                Err(now) => state = now,
            }
        };
        if last {
            self.end_round();
        } else {
            self.wait_slow(round.wrapping_mul(OVER));
        }
        last
    }

    fn end_round(&self) {
        // Not a store: with more threads than it is for, two rounds can end at a time.
        let mut over = self.over.load(Ordering::Relaxed);
        loop {
            let next = (over & !WAITING).wrapping_add(OVER);
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            match self
                .over
                .compare_exchange_weak(over, next, success, failure)
            {
                Ok(_) => break,
                Err(now) => over = now,
            }
        }
        if over & WAITING != 0 {
            os::wake::<S, _>(&self.over, u32::MAX, os::ANY);
        }
    }

    /// Waits while no more rounds are over than `before`.
    fn wait_slow(&self, before: u32) {
        let mut spins = os::SPINS;
        loop {
            let over = self.over.load(Ordering::Acquire);
            if (over & !WAITING).wrapping_sub(before).cast_signed() > 0 {
                return;
            }
            if over & WAITING != 0 {
                os::wait::<S, _>(&self.over, over.into(), os::ANY, None);
            } else if spins > 0 {
                spins -= 1;
                os::spin_loop();
            } else {
                let order = Ordering::Relaxed;
                let _ = self
                    .over
                    .compare_exchange(over, over | WAITING, order, order);
            }
        }
    }
}
