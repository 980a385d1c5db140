// SPDX-License-Identifier: MIT OR Apache-2.0
//! The condition variable.
//!
//! A word counts the notifications, and threads sleep while it has the value that they saw
//! before they gave back the mutex: so no notification is lost that comes after that. Another
//! counts those that wait, so that a notification without waiters is no system call.
//!
//! A third counts how often the waiters were moved to the mutex. A thread that may have been
//! among them does not know whether others still sleep there, so it has the mutex as
//! contended.
//!
//! The counter of notifications is in the standard library and in chapter 9 of Mara Bos' "Rust
//! Atomics and Locks", which counts waiters as well. Moving them is what requeueing was made
//! for (Drepper, section 8); parking_lot does it in its own queues.

use super::mutex::RawMutex;
use super::os::{self, AtomicU32, Deadline, Ordering, Scope, Shared, Waited};
use std::marker::PhantomData;

/// A condition variable.
///
/// It goes with a [`Mutex`](super::Mutex) of the same scope; which one is up to those that
/// wait, but at any time it must be the same for all of them. Zeroed, nobody waits.
///
/// As with every condition variable, a wait can end although nobody has notified: look at the
/// condition again, or use [`wait_while`](Self::wait_while). Whoever makes the condition
/// true must do so with the mutex locked; it may notify before or after it unlocks.
///
/// ```
/// use rfutex::sync::{Condvar, Mutex};
///
/// static JOBS: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// static MORE: Condvar = Condvar::new();
///
/// fn produce(job: u32) {
///     JOBS.lock().push(job);
///     MORE.notify_one();
/// }
///
/// fn consume() -> u32 {
///     let mut jobs = JOBS.lock();
///     MORE.wait_while(&mut jobs, |jobs| jobs.is_empty());
///     jobs.pop().expect("there is one")
/// }
///
/// produce(7);
/// assert_eq!(consume(), 7);
/// ```
#[repr(C)]
pub struct Condvar<S: Scope = Shared> {
    pub(super) notified: AtomicU32,
    pub(super) waiting: AtomicU32,
    pub(super) moved: AtomicU32,
    pub(super) scope: PhantomData<S>,
}

/// Ends the process if a thread that waits unwinds: it does not have the mutex, and whoever
/// catches the panic would unlock it all the same.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        os::abort();
    }
}

impl<S: Scope> Condvar<S> {
    /// Gives back the mutex, which the caller has, waits, and takes it again. False if the
    /// deadline passed without any notification.
    pub(super) fn wait_raw(&self, mutex: &RawMutex<S>, deadline: Option<Deadline>) -> bool {
        // Then the panic for want of one comes while the mutex is locked.
        os::need_place::<S, _>(&self.notified);
        os::need_place::<S, _>(&mutex.state);
        let bomb = Bomb;
        // The mutex orders these against those that notify and have had it since.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let seen = self.notified.load(Ordering::Relaxed);
        let moved = self.moved.load(Ordering::Relaxed);
        mutex.release();
        let waited = os::wait::<S, _>(&self.notified, seen.into(), os::ANY, deadline);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        // If it was woken as one of those at the mutex, the lock may be meant for it.
        mutex.reacquire(waited == Waited::Woken);
        // Only now, with the mutex, it surely sees whether there was a move.
        if self.moved.load(Ordering::Relaxed) != moved {
            mutex.mark_contended();
        }
        // One that was notified may have been moved to the mutex, and its deadline passed there.
        let notified = self.notified.load(Ordering::Relaxed) != seen;
        std::mem::forget(bomb);
        notified || waited != Waited::TimedOut
    }

    /// Ends the wait of one thread, if one waits.
    #[inline]
    pub fn notify_one(&self) {
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.notify(1);
        }
    }

    /// Ends the wait of all threads that wait.
    ///
    /// All of them wake up at once, and wait for the mutex again, but for one. A caller who has
    /// the mutex locked can use [`notify_all_with`](Self::notify_all_with) instead.
    #[inline]
    pub fn notify_all(&self) {
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.notify(u32::MAX);
        }
    }

    #[cold]
    fn notify(&self, nr: u32) {
        self.notified.fetch_add(1, Ordering::Relaxed);
        os::wake::<S, _>(&self.notified, nr, os::ANY);
    }

    /// The caller has the mutex: those that wait are moved there, and wake up one after the
    /// other as it is unlocked.
    #[inline]
    pub(super) fn notify_all_raw(&self, mutex: &RawMutex<S>) {
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.move_all(mutex);
        }
    }

    #[cold]
    fn move_all(&self, mutex: &RawMutex<S>) {
        self.moved.fetch_add(1, Ordering::Relaxed);
        self.notified.fetch_add(1, Ordering::Relaxed);
        if os::requeue::<S, _, _>(&self.notified, &mutex.state) {
            mutex.mark_contended();
        } else {
            os::wake::<S, _>(&self.notified, u32::MAX, os::ANY);
        }
    }
}
