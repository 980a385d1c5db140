// SPDX-License-Identifier: MIT OR Apache-2.0
//! The semaphore.
//!
//! Its word is the number of permits, and a bit that says that somebody may sleep. Threads
//! sleep while the word is that bit alone. The bit stays until a release finds that fewer
//! sleep than it could wake. A count and a sign that somebody waits, in one word: so it is in
//! glibc, too.

use super::os::{self, AtomicU32, Deadline, Ordering, Scope, Shared, Waited};
use std::marker::PhantomData;

const WAITING: u32 = 1 << 31;

/// A counting semaphore.
///
/// Zeroed, it has no permits. Any thread may [`release`](Self::release) permits, whether it
/// has acquired any or not. Threads that wait are woken in the order in which they came, but
/// those that come later may be faster.
///
/// ```
/// use rfutex::sync::Semaphore;
///
/// static PLACES: Semaphore = Semaphore::new(3);
///
/// PLACES.acquire();
/// assert_eq!(PLACES.available(), 2);
/// PLACES.release(1);
/// assert_eq!(PLACES.available(), 3);
/// ```
#[repr(transparent)]
pub struct Semaphore<S: Scope = Shared> {
    pub(super) state: AtomicU32,
    pub(super) scope: PhantomData<S>,
}

impl<S: Scope> Semaphore<S> {
    /// The most permits that there can be.
    pub const MAX: u32 = WAITING - 1;

    /// Takes a permit, if there is one.
    #[inline]
    pub fn try_acquire(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & Self::MAX != 0 {
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            match self
                .state
                .compare_exchange_weak(state, state - 1, success, failure)
            {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Takes a permit, and sleeps until there is one if necessary.
    #[inline]
    pub fn acquire(&self) {
        if !self.try_acquire() {
            self.acquire_slow(None);
        }
    }

    /// False if the deadline passed.
    #[cold]
    pub(super) fn acquire_slow(&self, deadline: Option<Deadline>) -> bool {
        let mut spins = os::SPINS;
        loop {
            if self.try_acquire() {
                return true;
            }
            let state = self.state.load(Ordering::Relaxed);
            if state == 0 && spins > 0 {
                spins -= 1;
                os::spin_loop();
            } else if state == 0 {
                let order = Ordering::Relaxed;
                let _ = self.state.compare_exchange(0, WAITING, order, order);
            } else if state == WAITING {
                match os::wait::<S, _>(&self.state, WAITING.into(), os::ANY, deadline) {
                    Waited::Woken => spins = os::SPINS,
                    Waited::Changed => {}
                    Waited::TimedOut => return false,
                }
            }
        }
    }

    /// Adds `permits`, and wakes as many of those that wait for one.
    ///
    /// # Panics
    ///
    /// If there would be more than [`MAX`](Self::MAX).
    #[inline]
    pub fn release(&self, permits: u32) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            assert!(
                permits <= Self::MAX - (state & Self::MAX),
                "rfutex: a semaphore has too many permits"
            );
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            match self
                .state
                .compare_exchange_weak(state, state + permits, success, failure)
            {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if state & WAITING != 0 && permits != 0 {
            self.wake(permits);
        }
    }

    #[cold]
    fn wake(&self, permits: u32) {
        if os::wake::<S, _>(&self.state, permits, os::ANY) == permits {
            return;
        }
        // No other slept. One that has come since then sleeps while the bit is set, so it has
        // to look again, and will set the bit anew.
        self.state.fetch_and(!WAITING, Ordering::Relaxed);
        os::wake::<S, _>(&self.state, u32::MAX, os::ANY);
    }

    /// How many permits there are at the moment.
    pub fn available(&self) -> u32 {
        self.state.load(Ordering::Relaxed) & Self::MAX
    }
}
