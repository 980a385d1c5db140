// SPDX-License-Identifier: MIT OR Apache-2.0
//! The condition variable with guards of the mutex.

use super::os::{Deadline, Scope};
use super::traits::{after, at};
use super::{Condvar, RawMutex};
use lock_api::MutexGuard;
use std::time::{Duration, Instant};

/// Whether a wait ended because its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was over before any notification came.
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl<S: Scope> Condvar<S> {
    fn wait_for<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, RawMutex<S>, T>,
        deadline: Option<Deadline>,
    ) -> WaitTimeoutResult {
        // SAFETY: `wait_raw` gives the lock back and takes it again. While it does not have
        // it, nobody uses the guard: it is borrowed, and a panic ends the process.
        let mutex = unsafe { MutexGuard::mutex(guard).raw() };
        WaitTimeoutResult(!self.wait_raw(mutex, deadline))
    }

    /// Unlocks the mutex, waits for a notification, and locks the mutex again.
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, RawMutex<S>, T>) {
        let _ = self.wait_for(guard, None);
    }

    /// Waits for as long as `condition` is true. It is called with the mutex locked.
    pub fn wait_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, RawMutex<S>, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) {
        while condition(guard) {
            self.wait(guard);
        }
    }

    /// Like [`wait`](Self::wait), for `timeout` at most; then the mutex still has to be
    /// locked, which can take longer.
    pub fn wait_timeout<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, RawMutex<S>, T>,
        timeout: Duration,
    ) -> WaitTimeoutResult {
        self.wait_for(guard, after(timeout))
    }

    /// Like [`wait_timeout`](Self::wait_timeout), until `deadline` at most.
    pub fn wait_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, RawMutex<S>, T>,
        deadline: Instant,
    ) -> WaitTimeoutResult {
        self.wait_for(guard, at(deadline))
    }

    /// Like [`wait_while`](Self::wait_while), for `timeout` at most. It has timed out if
    /// `condition` is true at the end.
    pub fn wait_timeout_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, RawMutex<S>, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> WaitTimeoutResult {
        let deadline = after(timeout);
        while condition(guard) {
            if self.wait_for(guard, deadline).timed_out() {
                return WaitTimeoutResult(condition(guard));
            }
        }
        WaitTimeoutResult(false)
    }

    /// Ends the wait of all threads that wait with the mutex of `guard`, without waking all
    /// of them at once: they are moved to the mutex, and each wakes up as the one before it
    /// unlocks.
    ///
    /// If the waiters cannot be moved, this is the same as [`notify_all`](Self::notify_all):
    /// those of other processes cannot, if the mutex is in private memory, or in another file
    /// than the condition variable while the module holds inodes.
    ///
    /// A thread that waits with another mutex is moved as well, and sleeps until somebody
    /// unlocks this one.
    pub fn notify_all_with<T: ?Sized>(&self, guard: &MutexGuard<'_, RawMutex<S>, T>) {
        // SAFETY: `notify_all_raw` does not give the lock back.
        let mutex = unsafe { MutexGuard::mutex(guard).raw() };
        self.notify_all_raw(mutex);
    }
}
