// SPDX-License-Identifier: GPL-2.0

//! Buckets, and the counters in them.
//!
//! All waiters in a bucket share its lock and its queue. But they are counted by several counters,
//! which are chosen by other bits of the key's hash than those that choose the bucket. This makes
//! it likely that a wake on a word that nobody waits on finds its counter at zero, and does not
//! need to search the queue, even if there are other waiters in the bucket. The counters cost no
//! memory, because they fit into the cache line of the lock.

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
    alloc::Flags,
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

/// The number of waiters that are queued or about to be queued. It is never less than the number of
/// those that are in the queue.
type Counter = Atomic<i32>;

/// The number of counters in a bucket, which is as many as its cache line has room for.
pub(crate) const NR_COUNTERS: usize = 8;

/// The lock, the queue and the counters of the waiters whose keys belong here.
///
/// A bucket shares no cache line with other data. It occupies just one, unless debugging options
/// make the lock larger.
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

    /// Whether anybody is counted as a waiter.
    pub(crate) fn has_waiters(&self) -> bool {
        self.counters
            .iter()
            .any(|counter| counter.load(Relaxed) != 0)
    }

    /// The values of the counters.
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
    /// Makes `nr` buckets, all of them empty, in memory that is allocated with `flags`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `nr` is not a power of two. `ENOMEM`: there is no memory.
    ///
    /// # Context
    ///
    /// Process context. May sleep.
    pub(crate) fn new(nr: usize, flags: Flags) -> Result<Self> {
        if !nr.is_power_of_two() {
            return Err(EINVAL);
        }
        // INVARIANT: `nr` is a power of two, as was just checked.
        Ok(Self(PinnedSlice::new(nr, flags, Bucket::new)?))
    }

    /// The indices of the bucket that `hash` chooses out of `nr`, and of the counter in that
    /// bucket. `nr` must be a power of two.
    #[inline]
    pub(crate) const fn index(nr: usize, hash: u64) -> (usize, usize) {
        let hash = hash as usize;
        ((hash / NR_COUNTERS) & (nr - 1), hash % NR_COUNTERS)
    }

    /// The bucket that `hash` chooses, and the counter in that bucket.
    #[inline]
    pub(crate) fn at_hash(&self, hash: u64) -> BucketSlot<'_> {
        let (bucket, counter) = Self::index(self.0.len(), hash);
        BucketSlot {
            bucket: &self.0[bucket],
            counter,
        }
    }

    /// Locks the buckets that the two hashes choose, so that waiters can be woken in both of them,
    /// or moved from the first to the second. See [`Pair::lock`].
    ///
    /// # Context
    ///
    /// Does not sleep. The caller must not hold the lock of any bucket.
    #[inline]
    pub(crate) fn pair(&self, from: u64, to: u64) -> Pair<'_> {
        Pair::lock(self.at_hash(from), self.at_hash(to))
    }

    /// All buckets.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[Bucket] {
        &self.0
    }
}

/// Where the waiters on a key are: the bucket that they queue in, and the counter in that bucket
/// that counts them.
#[derive(Clone, Copy)]
pub(crate) struct BucketSlot<'t> {
    pub(super) bucket: &'t Bucket,
    /// The index of the counter.
    pub(super) counter: usize,
}

impl<'t> BucketSlot<'t> {
    /// The counter.
    #[inline]
    fn counter(self) -> &'t Counter {
        &self.bucket.counters[self.counter % NR_COUNTERS]
    }

    /// Adds `nr` waiters, which are about to be queued, to the counter. Implies a full barrier
    /// after that.
    #[inline]
    pub(super) fn waiters_inc(self, nr: i32) {
        // (A) The counter goes up before the caller reads the word. See the top of queue.rs.
        self.counter().fetch_add(nr, Full);
    }

    /// Subtracts `nr` waiters, which are no longer queued, from the counter.
    #[inline]
    pub(super) fn waiters_dec(self, nr: i32) {
        self.counter().fetch_sub(nr, Relaxed);
    }

    /// Counts the caller as a waiter, then locks the bucket.
    ///
    /// # Context
    ///
    /// Does not sleep. The caller must not hold the lock of any bucket.
    #[inline]
    pub(crate) fn enter(self) -> Entry<'t> {
        // The caller reads the word only after it was counted here.
        let counted = Counted::new(self);
        Entry {
            counted,
            queue: self.bucket.queue.lock(),
        }
    }

    /// Whether nobody is counted as a waiter here. If so, a wake has nothing to do and needs no
    /// lock.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        // (B) User space changed the word before it asked for the wake. See the top of queue.rs.
        arch::smp_mb();
        self.counter().load(Relaxed) == 0
    }

    /// Takes up to `nr` waiters out of the queue whose key is `id`, and whose mask has a bit in
    /// common with `mask`. Marks them as woken, and adds their tasks to `chain`. Returns their
    /// number.
    ///
    /// `id` must belong to this slot. Where there is likely to be nobody, callers should use
    /// [`Self::is_empty`] first, which takes no lock.
    ///
    /// # Context
    ///
    /// Does not sleep. Takes the bucket's lock. The caller must not hold the lock of any bucket.
    #[inline(always)]
    pub(crate) fn wake(self, id: KeyId, mask: u64, nr: u32, chain: &mut WakeChain) -> u32 {
        self.lock().wake(id, mask, nr, chain)
    }

    /// Locks the bucket, for a caller that is not going to wait.
    ///
    /// # Context
    ///
    /// Does not sleep. The caller must not hold the lock of any bucket.
    #[inline]
    pub(crate) fn lock(self) -> LockedSlot<'t> {
        LockedSlot {
            queue: self.bucket.queue.lock(),
            again: Queue::default(),
            slot: self,
        }
    }

    /// The value of the counter: how many waiters are queued here, or about to be queued.
    #[cfg(RFUTEX_KUNIT)]
    pub(crate) fn nr_waiters(self) -> i32 {
        self.counter().load(Relaxed)
    }
}

/// A [`BucketSlot`] whose bucket is locked.
pub(crate) struct LockedSlot<'t> {
    // The guard is dropped after `drop` has run.
    queue: SpinLockGuard<'t, Queue>,
    /// The waiters that were woken and stay queued. They join the queue again only when the lock is
    /// about to be released, so that nobody meets one twice.
    again: Queue,
    slot: BucketSlot<'t>,
}

impl LockedSlot<'_> {
    /// Does what [`BucketSlot::wake`] does, with the bucket already locked.
    #[inline]
    pub(crate) fn wake(&mut self, id: KeyId, mask: u64, nr: u32, chain: &mut WakeChain) -> u32 {
        let met = self.queue.wake(id, mask, nr, chain, &mut self.again);
        if met.gone != 0 {
            self.slot.waiters_dec(met.gone as i32);
        }
        met.nr
    }

    /// Wakes those waiters whose key is `id`, and of whose masks `wanted` returns `Some(true)`, in
    /// one walk through the queue, which ends when `wanted` returns `None`. `id` must belong to
    /// this slot.
    pub(crate) fn wake_where(
        &mut self,
        id: KeyId,
        chain: &mut WakeChain,
        wanted: impl FnMut(u64) -> Option<bool>,
    ) {
        let met = self.queue.wake_where(id, chain, &mut self.again, wanted);
        self.slot.waiters_dec(met.gone as i32);
    }

    /// Whether more than `nr` waiters are queued whose key is `id`, which must belong to this slot.
    #[inline]
    pub(crate) fn has_more_than(&self, id: KeyId, nr: u32) -> bool {
        self.queue.under(id).nth(nr as usize).is_some()
    }

    /// The number of queued waiters whose key is `id`, which must belong to this slot.
    pub(crate) fn count(&self, id: KeyId) -> u32 {
        self.queue.under(id).count() as u32
    }
}

impl Drop for LockedSlot<'_> {
    #[inline]
    fn drop(&mut self) {
        self.queue.append(&mut self.again);
    }
}

/// A locked bucket, in which the caller is already counted as a waiter, but not yet queued.
pub(crate) struct Entry<'t> {
    // This is dropped first, so that the counter goes down while the bucket is locked.
    pub(super) counted: Counted<'t>,
    pub(super) queue: SpinLockGuard<'t, Queue>,
}

/// Counts the caller as a waiter until this is dropped.
pub(super) struct Counted<'t>(BucketSlot<'t>);

impl<'t> Counted<'t> {
    /// Counts the caller as a waiter at `slot`. Implies a full barrier after that.
    #[inline]
    pub(super) fn new(slot: BucketSlot<'t>) -> Self {
        slot.waiters_inc(1);
        Self(slot)
    }

    /// Keeps the caller counted: from now on, the count belongs to the waiter that was queued.
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
