// SPDX-License-Identifier: GPL-2.0

//! Buckets, and the counters in them.
//!
//! Waiters in one bucket share its lock and its queue. They are counted apart, by other bits of
//! their keys' hashes than those that choose the bucket: so a wake that finds nobody seldom has to
//! look at who else is in the queue. The counters cost no memory: they lie where the lock's cache
//! line has room.

use super::{
    Pair,
    Queue, //
};
use crate::{
    key::KeyId,
    mm::{
        arch,
        pinned_slice::PinnedSlice, //
    },
    wake_chain::WakeChain, //
};
use core::mem::ManuallyDrop;
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        lock::spinlock::SpinLockGuard,
        SpinLock, //
    },
};

/// Waiters that are queued or about to be: never fewer than there are in the queue.
type Counter = Atomic<i32>;

/// As many as the cache line has room for.
pub(crate) const NR_COUNTERS: usize = 8;

/// Where waiters with some of the keys queue, on cache lines of its own: on one, unless debugging
/// makes the lock larger.
#[pin_data]
#[repr(C, align(64))]
pub(crate) struct Bucket {
    #[pin]
    pub(super) queue: SpinLock<Queue>,
    counters: [Counter; NR_COUNTERS],
}

impl Bucket {
    /// An empty bucket.
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            queue <- SpinLock::new(Queue::default(), c"rfutex_bucket", static_lock_class!()),
            counters: [const { Counter::new(0) }; NR_COUNTERS],
        })
    }

    /// How many waiters each counter counts.
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn nr_waiters(&self) -> impl Iterator<Item = i32> + '_ {
        self.counters.iter().map(|counter| counter.load(Relaxed))
    }
}

/// The buckets of a table.
///
/// # Invariants
///
/// Their number is a power of two.
pub(crate) struct Buckets(PinnedSlice<Bucket>);

impl Buckets {
    /// Makes `nr` of them.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `nr` is no power of two. `ENOMEM`.
    ///
    /// # Context
    ///
    /// May sleep.
    pub(crate) fn new(nr: usize) -> Result<Self> {
        if !nr.is_power_of_two() {
            return Err(EINVAL);
        }
        // INVARIANT: Just checked.
        Ok(Self(PinnedSlice::new(nr, GFP_KERNEL, Bucket::new)?))
    }

    /// Which of `nr` buckets `hash` chooses, and which of the counters in it.
    #[inline]
    pub(crate) const fn index(nr: usize, hash: u64) -> (usize, usize) {
        let hash = hash as usize;
        ((hash / NR_COUNTERS) & (nr - 1), hash % NR_COUNTERS)
    }

    /// The bucket that `hash` chooses, and the counter in it.
    #[inline]
    pub(crate) fn at_hash(&self, hash: u64) -> BucketSlot<'_> {
        let (bucket, counter) = Self::index(self.0.len(), hash);
        BucketSlot {
            bucket: &self.0[bucket],
            counter,
        }
    }

    /// Locks the buckets that two hashes choose, for waiters to be woken in both or moved from the
    /// first to the second.
    ///
    /// # Context
    ///
    /// Does not sleep. No bucket may be locked.
    #[inline]
    pub(crate) fn pair(&self, from: u64, to: u64) -> Pair<'_> {
        Pair::lock(self.at_hash(from), self.at_hash(to))
    }

    /// All of them.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[Bucket] {
        &self.0
    }
}

/// Where the waiters under a key are: a bucket, and the counter in it that counts them.
#[derive(Clone, Copy)]
pub(crate) struct BucketSlot<'t> {
    pub(super) bucket: &'t Bucket,
    /// The index of the counter.
    pub(super) counter: usize,
}

impl<'t> BucketSlot<'t> {
    #[inline]
    fn counter(self) -> &'t Counter {
        &self.bucket.counters[self.counter % NR_COUNTERS]
    }

    /// Counts `nr` waiters more: they are about to be queued.
    #[inline]
    pub(super) fn waiters_inc(self, nr: i32) {
        // (A) The count goes up, then a full barrier, which the function implies.
        self.counter().fetch_add(nr, Full);
    }

    /// Counts `nr` waiters less: they are no longer queued.
    #[inline]
    pub(super) fn waiters_dec(self, nr: i32) {
        self.counter().fetch_sub(nr, Relaxed);
    }

    /// Counts the caller as a waiter, then locks the queue.
    ///
    /// # Context
    ///
    /// Does not sleep. No other bucket may be locked.
    #[inline]
    pub(crate) fn enter(self) -> Entry<'t> {
        // Only after this does the caller read the word.
        let counted = Counted::new(self);
        Entry {
            counted,
            queue: self.bucket.queue.lock(),
        }
    }

    /// Whether nobody waits here: then a wake is done, without any lock.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        // (B) The caller changed the word before it asked for the wake.
        arch::smp_mb();
        self.counter().load(Relaxed) == 0
    }

    /// Takes up to `nr` waiters under `id`, which must belong here, with a mask that shares a bit
    /// with `mask`, out of the queue, marks them as woken and adds their tasks to `chain`. Returns
    /// how many.
    ///
    /// # Context
    ///
    /// Does not sleep. Takes the bucket's lock: ask [`Self::is_empty`] first.
    #[inline]
    pub(crate) fn wake(self, id: KeyId, mask: u64, nr: u32, chain: &mut WakeChain) -> u32 {
        self.lock().wake(id, mask, nr, chain)
    }

    /// Locks the queue, for a caller that does not wait.
    ///
    /// # Context
    ///
    /// Does not sleep. No other bucket may be locked.
    #[inline]
    pub(crate) fn lock(self) -> LockedSlot<'t> {
        LockedSlot {
            queue: self.bucket.queue.lock(),
            slot: self,
        }
    }

    /// How many waiters are counted here, queued or about to be.
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn nr_waiters(self) -> i32 {
        self.counter().load(Relaxed)
    }
}

/// A [`BucketSlot`] with the queue locked.
pub(crate) struct LockedSlot<'t> {
    queue: SpinLockGuard<'t, Queue>,
    slot: BucketSlot<'t>,
}

impl LockedSlot<'_> {
    /// As [`BucketSlot::wake`].
    #[inline]
    pub(crate) fn wake(&mut self, id: KeyId, mask: u64, nr: u32, chain: &mut WakeChain) -> u32 {
        let woken = self.queue.wake(id, mask, nr, chain);
        if woken != 0 {
            self.slot.waiters_dec(woken as i32);
        }
        woken
    }

    /// Whether more than `nr` waiters are queued under `id`, which must belong here.
    #[inline]
    pub(crate) fn has_more_than(&self, id: KeyId, nr: u32) -> bool {
        self.queue.under(id).nth(nr as usize).is_some()
    }

    /// How many waiters are queued under `id`, which must belong here.
    pub(crate) fn count(&self, id: KeyId) -> u32 {
        self.queue.under(id).count() as u32
    }
}

/// A stay in front of a bucket: counted as a waiter, with the queue locked.
pub(crate) struct Entry<'t> {
    // Dropped first, so that the count goes down while the queue is locked.
    pub(super) counted: Counted<'t>,
    pub(super) queue: SpinLockGuard<'t, Queue>,
}

/// A count of the caller as a waiter, which goes when this is dropped.
pub(super) struct Counted<'t>(BucketSlot<'t>);

impl<'t> Counted<'t> {
    #[inline]
    pub(super) fn new(slot: BucketSlot<'t>) -> Self {
        slot.waiters_inc(1);
        Self(slot)
    }

    /// Leaves the count as it is.
    #[inline]
    pub(super) fn keep(self) -> BucketSlot<'t> {
        ManuallyDrop::new(self).0
    }
}

impl Drop for Counted<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.waiters_dec(1);
    }
}
