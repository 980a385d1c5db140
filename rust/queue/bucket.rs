// SPDX-License-Identifier: GPL-2.0

//! Buckets, and the counters in them.
//!
//! Waiters in one bucket share its lock and its queue. They are counted apart, by other bits of
//! their keys' hashes than those that choose the bucket: so a wake that finds nobody seldom has to
//! look at who else is in the queue. The counters cost no memory: they lie where the lock's cache
//! line has room.

use super::{
    Counted,
    Entry,
    Queue, //
};
use crate::{
    key::{
        Borrowed,
        KeyId, //
    },
    mm::{
        arch,
        pinned_slice::PinnedSlice,
        spinlock::SpinLock, //
    },
    wake_chain::WakeChain, //
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    static_assert,
    static_lock_class,
    sync::atomic::Atomic, //
};

/// Waiters that are queued, or about to be, or just woken: never less than there are in the queue.
type Counter = Atomic<i32>;

/// As many as the cache line has room for.
pub(crate) const NR_COUNTERS: usize = 8;

/// The bytes of the counters.
const COUNTERS: usize = NR_COUNTERS * size_of::<Counter>();

/// The bytes of a bucket before the padding.
const USED: usize = size_of::<SpinLock<Queue>>() + COUNTERS;

/// Where waiters with some of the keys queue. On cache lines of its own: on one, if the lock is
/// not made larger by debugging. Its size is a power of two.
#[pin_data]
#[repr(C, align(64))]
pub(crate) struct Bucket {
    #[pin]
    pub(super) queue: SpinLock<Queue>,
    counters: [Counter; NR_COUNTERS],
    padding: [u8; USED.next_power_of_two() - USED],
}

static_assert!(size_of::<Bucket>().is_power_of_two());
static_assert!(COUNTERS.is_power_of_two() && COUNTERS <= align_of::<Bucket>());

impl Bucket {
    /// An empty bucket.
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            queue <- SpinLock::new(Queue::default(), c"rfutex_bucket", static_lock_class!()),
            counters: [const { Counter::new(0) }; NR_COUNTERS],
            padding: [0; USED.next_power_of_two() - USED],
        })
    }

    /// How many waiters each counter counts.
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn nr_waiters(&self) -> impl Iterator<Item = i32> + '_ {
        self.counters.iter().map(arch::read)
    }
}

/// A key that a wake asks whether it holds, before it touches the first waiter.
///
/// A closure will do. That of a [`Borrowed`] is inlined.
pub(crate) trait Holds {
    /// Whether it still is the key of the word that it was found for.
    fn holds(&self) -> bool;
}

impl<F: Fn() -> bool> Holds for F {
    #[inline(always)]
    fn holds(&self) -> bool {
        self()
    }
}

impl Holds for Borrowed<'_> {
    #[inline(always)]
    fn holds(&self) -> bool {
        Borrowed::holds(self)
    }
}

/// The buckets of a table.
///
/// # Invariants
///
/// There is at least one bucket. A number that has no other bits than `mask` is the distance, in
/// bytes, from the first bucket to another, or that and the one from its first counter to another.
pub(crate) struct Buckets {
    buckets: PinnedSlice<Bucket>,
    mask: usize,
}

impl Buckets {
    /// Makes `nr` of them.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `nr` is no power of two. `ENOMEM`.
    pub(crate) fn new(nr: usize) -> Result<Self> {
        if !nr.is_power_of_two() {
            return Err(EINVAL);
        }
        Ok(Self {
            buckets: PinnedSlice::new(nr, Bucket::new)?,
            mask: Self::mask(nr),
        })
    }

    /// The mask for `nr` buckets.
    const fn mask(nr: usize) -> usize {
        // INVARIANT: A multiple of a bucket's size that is below the size of all of them, and one of
        // a counter's that is below the size of a bucket's counters.
        ((nr - 1) * size_of::<Bucket>()) | (COUNTERS - size_of::<Counter>())
    }

    /// Which of all counters `hash` chooses where there are `nr` buckets: a bucket's are in a row.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) const fn counter_of(nr: usize, hash: u64) -> usize {
        let distance = hash as usize & Self::mask(nr);
        let within = distance % size_of::<Bucket>();
        distance / size_of::<Bucket>() * NR_COUNTERS + within / size_of::<Counter>()
    }

    /// The bucket that higher bits of `hash` choose, and the counter in it that lower bits do.
    #[inline]
    pub(crate) fn at_hash(&self, hash: u64) -> Spot<'_> {
        let distance = hash as usize & self.mask;
        let inside = self.buckets.as_ptr().wrapping_byte_add(distance);
        // INVARIANT: By those of this type; the pointer is made from one to all buckets.
        Spot {
            // SAFETY: It is in the buckets' memory, hence not null.
            inside: unsafe { NonNull::new_unchecked(inside.cast_mut().cast()) },
            _bucket: PhantomData,
        }
    }

    /// All of them.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[Bucket] {
        &self.buckets
    }
}

/// Where the waiters under a key are: a bucket, and the counter in it that counts them. In one
/// pointer, which a waiter can change in one step.
///
/// # Invariants
///
/// `inside` is as many bytes behind the beginning of a bucket as one of its counters is behind its
/// first. The bucket lives for `'t`, and the pointer may be used for all of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot<'t> {
    inside: NonNull<u8>,
    _bucket: PhantomData<&'t Bucket>,
}

impl<'t> Spot<'t> {
    /// What [`Self::as_raw`] gave, or null.
    ///
    /// # Safety
    ///
    /// `raw` must be null, or from a spot in a table that lives for `'t`.
    #[inline]
    pub(super) unsafe fn from_raw(raw: *mut u8) -> Option<Self> {
        // INVARIANT: By the function's requirements, those of the spot that it came from hold.
        NonNull::new(raw).map(|inside| Self {
            inside,
            _bucket: PhantomData,
        })
    }

    /// The spot as a pointer, which says both the bucket and the counter.
    #[inline]
    pub(super) fn as_raw(self) -> *mut u8 {
        self.inside.as_ptr()
    }

    /// The bucket.
    #[inline]
    pub(super) fn bucket(self) -> &'t Bucket {
        let bucket = self.as_raw().map_addr(|addr| addr & !(COUNTERS - 1));
        // SAFETY: A bucket begins at a multiple of that many bytes. By the type invariants, it is
        // the one that we are inside of.
        unsafe { &*bucket.cast() }
    }

    #[inline]
    fn counter(self) -> &'t Counter {
        // SAFETY: By the type invariants, as many bytes behind the first counter is a counter.
        unsafe {
            self.inside
                .byte_add(offset_of!(Bucket, counters))
                .cast()
                .as_ref()
        }
    }

    /// Counts `nr` waiters more: they are about to be queued.
    #[inline]
    pub(super) fn coming(self, nr: i32) {
        // (A) The count goes up, then a full barrier, which the function implies.
        arch::fetch_add(self.counter(), nr);
    }

    /// Counts `nr` waiters less: they are no longer queued.
    #[inline]
    pub(super) fn left(self, nr: i32) {
        arch::sub(self.counter(), nr);
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
            queue: self.bucket().queue.lock(),
            counted,
        }
    }

    /// Whether nobody waits here: then a wake is done, without any lock.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        // (B) The caller changed the word before it asked for the wake.
        arch::smp_mb();
        arch::read(self.counter()) == 0
    }

    /// Takes up to `nr` waiters under `id`, which must belong here, with a mask that shares a bit
    /// with `mask`, out of the queue, marks them as woken and adds their tasks to `chain`. Returns
    /// how many.
    ///
    /// Before it marks the first, it asks whether `key` holds; if not, it does nothing and
    /// returns `None`.
    ///
    /// # Context
    ///
    /// Does not sleep. Takes the bucket's lock: ask [`Self::is_empty`] first.
    #[inline(always)]
    pub(crate) fn wake(
        self,
        id: KeyId,
        mask: u64,
        nr: u32,
        chain: &mut WakeChain,
        key: impl Holds,
    ) -> Option<u32> {
        let mut queue = self.bucket().queue.lock();
        let woken = queue.wake(id, mask, nr, chain, key)?;
        drop(queue);
        if woken != 0 {
            self.left(woken as i32);
        }
        Some(woken)
    }

    /// How many waiters are queued under this key, which must belong here.
    ///
    /// # Context
    ///
    /// Does not sleep. Takes the bucket's lock.
    pub(crate) fn count(self, id: KeyId) -> u32 {
        let queue = self.bucket().queue.lock();
        queue
            .waiters()
            // SAFETY: We have the queue that it is in.
            .filter(|waiter| unsafe { waiter.id() } == id)
            .count() as u32
    }

    /// How many waiters are counted here, queued or about to be.
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn nr_waiters(self) -> i32 {
        arch::read(self.counter())
    }
}
