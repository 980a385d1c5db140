// SPDX-License-Identifier: MIT OR Apache-2.0
//! The locks as the crate `lock_api` wants them, and what else needs the standard
//! library's types.

use super::os::{AtomicU8, AtomicU32, AtomicU64, Deadline, Scope, Shared};
use super::{Barrier, Condvar, Latch, Once, RawMutex, RawRwLock, Semaphore};
use crate::{Clock, InArena};
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// The deadline after `duration`.
pub fn after(duration: Duration) -> Option<Deadline> {
    Some(Deadline::after(Clock::Monotonic, duration))
}

/// The deadline at `instant`. (On Linux, `Instant` is `CLOCK_MONOTONIC`, but does not tell
/// the number.)
pub fn at(instant: Instant) -> Option<Deadline> {
    after(instant.saturating_duration_since(Instant::now()))
}

/// `const fn new`, `Default` and `Debug`.
macro_rules! values {
    ($($type:ident: $($field:ident = $atomic:ident),*;)*) => {$(
        impl<S: Scope> $type<S> {
            /// As if zeroed.
            const fn zeroed() -> Self {
                Self { $($field: $atomic::new(0),)* scope: PhantomData }
            }
        }

        impl<S: Scope> fmt::Debug for $type<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))
                    $(.field(stringify!($field), &self.$field))*
                    .finish()
            }
        }
    )*};
}

values! {
    RawMutex: state = AtomicU8;
    RawRwLock: state = AtomicU64;
    Condvar: notified = AtomicU32, waiting = AtomicU32, moved = AtomicU32;
    Semaphore: state = AtomicU32;
    Once: state = AtomicU8;
    Latch: state = AtomicU32;
}

/// The types of which a new one is always the same.
macro_rules! new {
    ($($type:ident),*) => {$(
        impl<S: Scope> $type<S> {
            /// A new one, as if zeroed.
            pub const fn new() -> Self {
                Self::zeroed()
            }
        }

        impl<S: Scope> Default for $type<S> {
            fn default() -> Self {
                Self::zeroed()
            }
        }
    )*};
}

new!(Condvar, Once);

macro_rules! in_arena {
    ($($type:ident),*) => {$(
        // SAFETY: It consists of atomics, and is accessed as these. Whatever their values are,
        // a call has a result, or panics, or waits. (A private lock is for one process, and
        // no other may have it.)
        unsafe impl InArena for $type<Shared> {}
    )*};
}

in_arena!(
    RawMutex, RawRwLock, Condvar, Semaphore, Barrier, Once, Latch
);

impl<S: Scope> fmt::Debug for Barrier<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl<S: Scope> Semaphore<S> {
    /// A semaphore with this many permits, at most [`MAX`](Self::MAX).
    pub const fn new(permits: u32) -> Self {
        assert!(permits <= Self::MAX, "too many permits");
        Self {
            state: AtomicU32::new(permits),
            ..Self::zeroed()
        }
    }

    /// Takes a permit, and waits `timeout` for one at most. False if there was none.
    pub fn acquire_timeout(&self, timeout: Duration) -> bool {
        self.try_acquire() || self.acquire_slow(after(timeout))
    }
}

impl<S: Scope> Latch<S> {
    /// A latch that opens when `count` things are done, at most [`MAX`](Self::MAX).
    pub const fn new(count: u32) -> Self {
        assert!(count <= Self::MAX, "too high a count");
        Self {
            state: AtomicU32::new(count),
            ..Self::zeroed()
        }
    }

    /// Waits `timeout` at most until the latch is open. False if it is not open then.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.is_open() || self.wait_slow(after(timeout))
    }
}

impl<S: Scope> Barrier<S> {
    /// A barrier for this many threads. For 0 it is the same as for 1.
    pub const fn new(threads: u32) -> Self {
        Self {
            state: AtomicU64::new(0),
            over: AtomicU32::new(0),
            threads: AtomicU32::new(threads),
            scope: PhantomData,
        }
    }
}

// SAFETY: Of the threads that change `FREE` or `HANDED` into something else by a
// compare-and-exchange, one succeeds; nobody else does before this one has set one of these
// values again. Nothing depends on which thread that is, so guards may be sent.
unsafe impl<S: Scope> lock_api::RawMutex for RawMutex<S> {
    const INIT: Self = Self::zeroed();

    type GuardMarker = lock_api::GuardSend;

    #[inline]
    fn lock(&self) {
        if !self.try_acquire() {
            self.acquire_slow(None);
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.try_acquire()
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.release();
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.is_taken()
    }
}

// SAFETY: As above; the lock is taken if and only if the answer is true.
unsafe impl<S: Scope> lock_api::RawMutexTimed for RawMutex<S> {
    type Duration = Duration;
    type Instant = Instant;

    #[inline]
    fn try_lock_for(&self, timeout: Duration) -> bool {
        self.try_acquire() || self.acquire_slow(after(timeout))
    }

    #[inline]
    fn try_lock_until(&self, timeout: Instant) -> bool {
        self.try_acquire() || self.acquire_slow(at(timeout))
    }
}

// SAFETY: The lock is given back, or handed to a thread that was waiting for it.
unsafe impl<S: Scope> lock_api::RawMutexFair for RawMutex<S> {
    #[inline]
    unsafe fn unlock_fair(&self) {
        self.release_fair();
    }
}

// SAFETY: A writer enters by changing a state without readers, reservations and writer, or
// by taking over `HANDED`, which one thread can do; a reader enters a state without a writer,
// and is counted until it leaves. Nothing depends on which threads these are.
unsafe impl<S: Scope> lock_api::RawRwLock for RawRwLock<S> {
    const INIT: Self = Self::zeroed();

    type GuardMarker = lock_api::GuardSend;

    #[inline]
    fn lock_shared(&self) {
        if !self.try_acquire_shared(false) {
            self.acquire_shared_slow(false, None);
        }
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        self.try_acquire_shared(false)
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        self.release_shared();
    }

    #[inline]
    fn lock_exclusive(&self) {
        if !self.try_acquire_exclusive() {
            self.acquire_exclusive_slow(None);
        }
    }

    #[inline]
    fn try_lock_exclusive(&self) -> bool {
        self.try_acquire_exclusive() || self.try_acquire_awaited()
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        self.release_exclusive();
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.is_taken()
    }

    #[inline]
    fn is_locked_exclusive(&self) -> bool {
        self.is_taken_exclusive()
    }
}

// SAFETY: As above; the lock is taken if and only if the answer is true.
unsafe impl<S: Scope> lock_api::RawRwLockTimed for RawRwLock<S> {
    type Duration = Duration;
    type Instant = Instant;

    #[inline]
    fn try_lock_shared_for(&self, timeout: Duration) -> bool {
        self.try_acquire_shared(false) || self.acquire_shared_slow(false, after(timeout))
    }

    #[inline]
    fn try_lock_shared_until(&self, timeout: Instant) -> bool {
        self.try_acquire_shared(false) || self.acquire_shared_slow(false, at(timeout))
    }

    #[inline]
    fn try_lock_exclusive_for(&self, timeout: Duration) -> bool {
        self.try_acquire_exclusive() || self.acquire_exclusive_slow(after(timeout))
    }

    #[inline]
    fn try_lock_exclusive_until(&self, timeout: Instant) -> bool {
        self.try_acquire_exclusive() || self.acquire_exclusive_slow(at(timeout))
    }
}

// SAFETY: The lock is given back, or handed to a thread that was waiting for it.
unsafe impl<S: Scope> lock_api::RawRwLockFair for RawRwLock<S> {
    #[inline]
    unsafe fn unlock_shared_fair(&self) {
        self.release_shared_fair();
    }

    #[inline]
    unsafe fn unlock_exclusive_fair(&self) {
        self.release_exclusive_fair();
    }
}

// SAFETY: In one step, the writer goes and is counted as a reader.
unsafe impl<S: Scope> lock_api::RawRwLockDowngrade for RawRwLock<S> {
    #[inline]
    unsafe fn downgrade(&self) {
        RawRwLock::downgrade(self);
    }
}

// SAFETY: If the caller has a read lock, then there is no writer and a reader is counted,
// which is all that the recursive functions ask for.
unsafe impl<S: Scope> lock_api::RawRwLockRecursive for RawRwLock<S> {
    #[inline]
    fn lock_shared_recursive(&self) {
        if !self.try_acquire_shared(true) {
            self.acquire_shared_slow(true, None);
        }
    }

    #[inline]
    fn try_lock_shared_recursive(&self) -> bool {
        self.try_acquire_shared(true)
    }
}

// SAFETY: As above; the lock is taken if and only if the answer is true.
unsafe impl<S: Scope> lock_api::RawRwLockRecursiveTimed for RawRwLock<S> {
    #[inline]
    fn try_lock_shared_recursive_for(&self, timeout: Duration) -> bool {
        self.try_acquire_shared(true) || self.acquire_shared_slow(true, after(timeout))
    }

    #[inline]
    fn try_lock_shared_recursive_until(&self, timeout: Instant) -> bool {
        self.try_acquire_shared(true) || self.acquire_shared_slow(true, at(timeout))
    }
}

// SAFETY: An upgradable lock is taken by setting a bit that was not set, while there is no writer,
// and given back by clearing it. In one step it becomes that of a reader, or of the writer if
// nobody else has the lock.
unsafe impl<S: Scope> lock_api::RawRwLockUpgrade for RawRwLock<S> {
    #[inline]
    fn lock_upgradable(&self) {
        if !self.try_acquire_upgradable() {
            self.acquire_upgradable_slow(None);
        }
    }

    #[inline]
    fn try_lock_upgradable(&self) -> bool {
        self.try_acquire_upgradable()
    }

    #[inline]
    unsafe fn unlock_upgradable(&self) {
        self.release_upgradable();
    }

    #[inline]
    unsafe fn upgrade(&self) {
        if !self.try_upgrade_now() {
            self.upgrade_slow(None);
        }
    }

    #[inline]
    unsafe fn try_upgrade(&self) -> bool {
        self.try_upgrade_now()
    }
}

// SAFETY: As above; the lock is taken if and only if the answer is true.
unsafe impl<S: Scope> lock_api::RawRwLockUpgradeTimed for RawRwLock<S> {
    #[inline]
    fn try_lock_upgradable_for(&self, timeout: Duration) -> bool {
        self.try_acquire_upgradable() || self.acquire_upgradable_slow(after(timeout))
    }

    #[inline]
    fn try_lock_upgradable_until(&self, timeout: Instant) -> bool {
        self.try_acquire_upgradable() || self.acquire_upgradable_slow(at(timeout))
    }

    #[inline]
    unsafe fn try_upgrade_for(&self, timeout: Duration) -> bool {
        self.try_upgrade_now() || self.upgrade_slow(after(timeout))
    }

    #[inline]
    unsafe fn try_upgrade_until(&self, timeout: Instant) -> bool {
        self.try_upgrade_now() || self.upgrade_slow(at(timeout))
    }
}

// SAFETY: The lock is given back, or handed to a thread that was waiting for it.
unsafe impl<S: Scope> lock_api::RawRwLockUpgradeFair for RawRwLock<S> {
    #[inline]
    unsafe fn unlock_upgradable_fair(&self) {
        self.release_upgradable_fair();
    }
}

// SAFETY: In one step, the upgradable lock becomes that of a reader, or the writer's becomes
// upgradable.
unsafe impl<S: Scope> lock_api::RawRwLockUpgradeDowngrade for RawRwLock<S> {
    #[inline]
    unsafe fn downgrade_upgradable(&self) {
        RawRwLock::downgrade_upgradable(self);
    }

    #[inline]
    unsafe fn downgrade_to_upgradable(&self) {
        RawRwLock::downgrade_to_upgradable(self);
    }
}
