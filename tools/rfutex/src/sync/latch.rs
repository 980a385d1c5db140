// SPDX-License-Identifier: MIT OR Apache-2.0
//! The latch, after `std::latch` of C++20: a count, and a bit in the same word that says that
//! somebody may sleep.

use super::os::{self, AtomicU32, Deadline, Ordering, Scope, Shared, Waited};
use std::marker::PhantomData;

/// Somebody may sleep.
const WAITING: u32 = 1 << 31;

/// A latch: threads wait until a number of things have been done. It opens once, and stays
/// open.
///
/// Zeroed, it is open.
///
/// ```
/// use rfutex::sync::Latch;
///
/// static READY: Latch = Latch::new(2);
///
/// READY.count_down(1);
/// assert!(!READY.is_open());
/// READY.count_down(1);
/// READY.wait();
/// ```
#[repr(transparent)]
pub struct Latch<S: Scope = Shared> {
    pub(super) state: AtomicU32,
    pub(super) scope: PhantomData<S>,
}

impl<S: Scope> Latch<S> {
    /// The most that a latch can count.
    pub const MAX: u32 = WAITING - 1;

    /// Counts `done` things as done. If they were the last, the latch opens.
    ///
    /// # Panics
    ///
    /// If fewer were left.
    pub fn count_down(&self, done: u32) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            assert!(
                done <= state & Self::MAX,
                "rfutex: a latch has counted to zero already"
            );
            // When it opens, nobody waits any more.
            let left = state - done;
            let next = if left == WAITING { 0 } else { left };
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            match self
                .state
                .compare_exchange_weak(state, next, success, failure)
            {
                Ok(_) if left == WAITING => break self.open(),
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
    }

    #[cold]
    fn open(&self) {
        os::wake::<S, _>(&self.state, u32::MAX, os::ANY);
    }

    /// Whether it is open.
    #[inline]
    pub fn is_open(&self) -> bool {
        // Nobody waits for an open latch, so it has no other value.
        self.state.load(Ordering::Acquire) == 0
    }

    /// Waits until the latch is open. What was done before it was counted can be seen then.
    #[inline]
    pub fn wait(&self) {
        if !self.is_open() {
            self.wait_slow(None);
        }
    }

    /// False if the deadline passed.
    #[cold]
    pub(super) fn wait_slow(&self, deadline: Option<Deadline>) -> bool {
        let mut spins = os::SPINS;
        loop {
            let state = self.state.load(Ordering::Acquire);
            if state == 0 {
                return true;
            }
            if state & WAITING == 0 && spins > 0 {
                spins -= 1;
                os::spin_loop();
            } else if state & WAITING == 0 {
                let order = Ordering::Relaxed;
                let _ = self
                    .state
                    .compare_exchange(state, state | WAITING, order, order);
            } else if os::wait::<S, _>(&self.state, state.into(), os::ANY, deadline)
                == Waited::TimedOut
            {
                return false;
            }
        }
    }
}
