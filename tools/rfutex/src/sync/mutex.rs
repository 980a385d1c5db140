// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mutex.
//!
//! Its byte has four values. A thread that is about to sleep turns `LOCKED` into
//! `CONTENDED` and sleeps while it is that. Who unlocks sets `FREE`, and if the byte was
//! `CONTENDED`, wakes one. The woken thread competes with those that come just now; it
//! cannot know whether others still sleep, so it takes the lock as `CONTENDED`.
//!
//! For a fair unlock, the byte becomes `HANDED` instead, and one thread is woken. Nobody
//! takes the lock then who was not woken. Which of the woken threads takes it is decided
//! by their compare-and-exchange: there may be one that was woken by an earlier unlock
//! and has not looked yet. If it is faster, the other finds `CONTENDED` and sleeps again.
//! So all that has to be true is that at least one thread was woken after the byte became
//! `HANDED`, and that is what the kernel's count says.
//!
//! The first three values are those of Drepper's "Futexes are tricky" (section 6, its second
//! mutex), and that a thread spins only while nobody sleeps is from the standard library. Fair
//! unlocks are an idea of parking_lot's, which has a queue of its own to carry them out.

use super::os::{self, AtomicU8, Deadline, Ordering, Scope, Shared, Waited};
use std::marker::PhantomData;

pub(super) const FREE: u8 = 0;
const LOCKED: u8 = 1;
const CONTENDED: u8 = 2;
const HANDED: u8 = 3;

/// A mutex of one byte, without the data that it protects.
///
/// It is free when its byte is zero. Use it through [`Mutex`](super::Mutex), or where the
/// layout matters, put it into a struct that is `repr(C)` and call it by the traits of the
/// crate `lock_api`, of which it has `RawMutex`, `RawMutexTimed` and `RawMutexFair`.
///
/// An unlock does not touch the byte any more once another thread can have the lock. A fair
/// unlock may do so.
#[repr(transparent)]
pub struct RawMutex<S: Scope = Shared> {
    pub(super) state: AtomicU8,
    pub(super) scope: PhantomData<S>,
}

impl<S: Scope> RawMutex<S> {
    #[inline]
    pub(super) fn try_acquire(&self) -> bool {
        self.state
            .compare_exchange(FREE, LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes the lock when somebody else has it. False if the deadline passed.
    #[cold]
    pub(super) fn acquire_slow(&self, deadline: Option<Deadline>) -> bool {
        self.acquire_as(LOCKED, false, deadline)
    }

    /// Takes the lock after a wait on another word, during which the thread may have been
    /// moved here. `woken`: a wake has counted it, here or there.
    pub(super) fn reacquire(&self, woken: bool) {
        self.acquire_as(LOCKED, woken, None);
    }

    /// `taken` is what the lock is taken as: `CONTENDED` if there may be others who sleep.
    fn acquire_as(&self, mut taken: u8, mut woken: bool, deadline: Option<Deadline>) -> bool {
        let mut spins = os::SPINS;
        loop {
            let state = self.state.load(Ordering::Relaxed);
            let next = match state {
                FREE => taken,
                HANDED if woken => CONTENDED,
                LOCKED if spins > 0 => {
                    spins = self.spin(spins);
                    continue;
                }
                LOCKED => CONTENDED,
                _ => {
                    match os::wait::<S, _>(&self.state, state.into(), os::ANY, deadline) {
                        Waited::Woken => {
                            (taken, woken, spins) = (CONTENDED, true, os::SPINS);
                        }
                        Waited::Changed => woken = false,
                        Waited::TimedOut => return false,
                    }
                    continue;
                }
            };
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            let exchange = self.state.compare_exchange(state, next, success, failure);
            if exchange.is_ok() && state != LOCKED {
                return true;
            }
        }
    }

    /// Looks at the byte up to `spins` times, while it is `LOCKED`. Returns how often it may do
    /// so after that.
    fn spin(&self, mut spins: u32) -> u32 {
        while spins > 0 && self.state.load(Ordering::Relaxed) == LOCKED {
            os::spin_loop();
            spins -= 1;
        }
        spins
    }

    /// The caller has the lock.
    #[inline]
    pub(super) fn release(&self) {
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        let exchange = self.state.compare_exchange(LOCKED, FREE, success, failure);
        if exchange.is_err() {
            self.release_contended();
        }
    }

    /// The byte is `CONTENDED`, which nobody but the owner changes.
    #[cold]
    fn release_contended(&self) {
        self.state.swap(FREE, Ordering::Release);
        self.wake_one();
    }

    fn wake_one(&self) -> bool {
        os::wake::<S, _>(&self.state, 1, os::ANY) != 0
    }

    /// The caller has the lock. It goes to one of those that sleep.
    pub(super) fn release_fair(&self) {
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        let exchange = self.state.compare_exchange(LOCKED, FREE, success, failure);
        if exchange.is_ok() {
            return;
        }
        // It is `CONTENDED`, which nobody but the owner changes.
        self.state.swap(HANDED, Ordering::Release);
        if self.wake_one() {
            return;
        }
        // Nobody sleeps. If it is not `HANDED` any more, a thread that was woken before has
        // taken it. Else those that have come meanwhile sleep while it is `HANDED`.
        let exchange = self.state.compare_exchange(HANDED, FREE, success, failure);
        if exchange.is_ok() {
            self.wake_one();
        }
    }

    /// The caller has the lock, and others may sleep: its next release wakes one.
    pub(super) fn mark_contended(&self) {
        // The others change `LOCKED` to the same value, and no other.
        self.state.swap(CONTENDED, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_taken(&self) -> bool {
        self.state.load(Ordering::Relaxed) != FREE
    }
}
