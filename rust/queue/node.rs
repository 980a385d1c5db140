// SPDX-License-Identifier: GPL-2.0

//! What is linked into a queue, whatever kind of waiter it is a part of.

use super::{
    Bucket,
    BucketSlot, //
};
use crate::{
    key::KeyId,
    mm::{
        arch,
        number::Number, //
    }, //
};
use core::{
    cell::{
        Cell,
        UnsafeCell, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    prelude::*,
    static_assert,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// A link to a node in a queue.
pub(super) type Link = Option<NonNull<Node>>;

/// The links from a node to its neighbours in the queue.
#[derive(Default)]
pub(super) struct Links {
    pub(super) prev: Link,
    pub(super) next: Link,
}

/// What kind of waiter a node is a part of.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A task that sleeps ([`Waiter`](super::Waiter)).
    Task,
    /// A watch that is gone from its queue after one wake ([`Watch`](crate::watch::Watch)).
    Watch,
    /// A watch that stays, and takes its turn behind the others after each wake.
    RepeatedWatch,
    /// A wait that was submitted to io_uring: one of [`Requests`](crate::uring::Requests).
    #[cfg(CONFIG_IO_URING)]
    Request,
    /// Not a waiter: it marks the place in the queue that a [`Cursor`](super::Cursor) comes back to.
    Marker,
}

/// The part of a waiter that queues, which is the first field of every kind of waiter.
///
/// # Invariants
///
/// - The node is the first field of a waiter of the kind `kind`, whose fields are laid out as in C;
///   or it is a marker, which has the key [`KeyId::NONE`], so that no wake and no requeue meets it.
/// - `bucket` is null, or points to a bucket of a table that is alive for as long as the node.
/// - While `bucket` is not null, the node is linked into the queue of that bucket, and counted by
///   the bucket's counter with the index `counter`. Both are the ones that `id` belongs to. (A
///   marker may be in any bucket, and is not counted.) `links`, `id`, `bucket`, `counter`, `moved`
///   and `priority` change only under the bucket's lock, and the waiter stays alive and does not
///   move.
/// - While `bucket` is null, the node is in no queue, and is accessed by the owner of the waiter
///   only.
#[repr(C)]
pub(crate) struct Node {
    pub(super) links: UnsafeCell<Links>,
    id: UnsafeCell<KeyId>,
    pub(super) bucket: Atomic<*mut Bucket>,
    pub(super) mask: u64,
    /// The number of the mm of the process that waits.
    mm: Option<Number>,
    /// The urgency of the task. Smaller numbers are more urgent. Only that of a marker changes.
    priority: Cell<i32>,
    counter: Cell<u8>,
    kind: Kind,
    /// Whether the waiter was moved to another key than the one it was queued on.
    moved: Cell<bool>,
}

// A node fills one cache line.
static_assert!(size_of::<Node>() == 64);

impl Node {
    /// A node of a waiter of this `kind` on the key `id`, which is in no queue.
    ///
    /// # Safety
    ///
    /// The invariants of the type must hold of the place where the node is put.
    #[inline]
    pub(crate) unsafe fn new(
        kind: Kind,
        id: KeyId,
        mask: u64,
        mm: Option<Number>,
        priority: i32,
    ) -> Self {
        // INVARIANT: `bucket` is null. The caller ensures the rest.
        Self {
            links: UnsafeCell::new(Links::default()),
            id: UnsafeCell::new(id),
            bucket: Atomic::new(ptr::null_mut()),
            mask,
            mm,
            priority: Cell::new(priority),
            counter: Cell::new(0),
            kind,
            moved: Cell::new(false),
        }
    }

    /// A marker, which is in no queue.
    pub(super) fn marker() -> Self {
        // SAFETY: The invariants ask nothing of the place of a marker that is in no queue. Whoever
        // links it has to see to it that it stays where it is.
        unsafe { Self::new(Kind::Marker, KeyId::NONE, 0, None, 0) }
    }

    /// Whether the node is in no queue, because it was woken, has left, or was never queued.
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        // This pairs with the release in `mark`: whoever sees the mark also sees what the waker did
        // before it.
        arch::load_acquire(&self.bucket).is_null()
    }

    /// Marks the node as woken, after it was taken out of its queue.
    ///
    /// # Safety
    ///
    /// The node must have been in a queue whose lock is still held, and must not have been marked
    /// before. It must not be accessed again, because its memory may be reused at any moment.
    #[inline]
    pub(crate) unsafe fn mark(&self) {
        // INVARIANT: The node is in no queue any more.
        arch::store_release(&self.bucket, ptr::null_mut());
    }

    /// What kind of waiter this is.
    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of the mm of the process that waits.
    pub(super) fn mm(&self) -> Option<Number> {
        self.mm
    }

    /// The urgency of the task. Smaller numbers are more urgent.
    #[inline]
    pub(super) fn priority(&self) -> i32 {
        self.priority.get()
    }

    /// Whether the waiter was moved to another key than the one it was queued on. The caller holds
    /// the bucket's lock.
    pub(super) fn was_moved(&self) -> bool {
        self.moved.get()
    }

    /// Notes that the waiter is moved to another key. The caller holds the bucket's lock.
    pub(super) fn set_moved(&self) {
        self.moved.set(true);
    }

    /// Notes that this marker was just linked into the queue of `bucket` beside a node that has this
    /// `priority`. The caller holds the bucket's lock.
    pub(super) fn marks(&self, bucket: &Bucket, priority: i32) {
        debug_assert!(self.kind == Kind::Marker);
        self.priority.set(priority);
        // INVARIANT: The caller has linked the marker, and keeps the table for as long as it is.
        self.bucket.store(ptr::from_ref(bucket).cast_mut(), Relaxed);
    }

    /// Notes that this marker was just taken out of its queue. The caller holds the bucket's lock.
    pub(super) fn marks_nothing(&self) {
        debug_assert!(self.kind == Kind::Marker);
        // INVARIANT: The marker is in no queue.
        self.bucket.store(ptr::null_mut(), Relaxed);
    }

    /// Notes that the node was just linked into the queue of this slot's bucket, and is counted by
    /// this slot's counter. The caller holds the bucket's lock.
    #[inline]
    pub(super) fn linked_at(&self, slot: BucketSlot<'_>) {
        self.counter.set(slot.counter as u8);
        // INVARIANT: The caller has linked and counted the node. A waiter is queued only in a table
        // that is alive for longer than the waiter, and is then moved only between buckets of that
        // table.
        self.bucket
            .store(ptr::from_ref(slot.bucket).cast_mut(), Relaxed);
    }

    /// Takes the node out of its queue. Returns false if it was in none, because a waker has taken
    /// it out before.
    ///
    /// # Context
    ///
    /// Does not sleep. Takes the bucket's lock, unless the node was woken.
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        !self.is_woken() && self.leave_queue()
    }

    /// Does what [`Self::leave`] does, for a node that may be in a queue. Most waiters were woken,
    /// so this is not inlined.
    #[inline(never)]
    fn leave_queue(&self) -> bool {
        loop {
            let raw = arch::load_acquire(&self.bucket);
            // SAFETY: By the type invariants, the pointer is null, or points to a bucket of a table
            // that is alive for as long as the node, which is longer than this borrow of it.
            let Some(bucket) = (unsafe { raw.as_ref() }) else {
                return false;
            };
            let mut queue = bucket.queue.lock();
            if !ptr::eq(self.bucket.load(Relaxed), raw) {
                // While this task waited for the lock, the waiter was woken, or moved to another
                // bucket.
                continue;
            }
            // SAFETY: The node is in this queue, because its bucket is the one that was locked.
            unsafe { queue.unlink(self) };
            // INVARIANT: The node is no longer linked, and is counted out below, under the lock.
            self.bucket.store(ptr::null_mut(), Relaxed);
            let counter = self.counter.get().into();
            BucketSlot { bucket, counter }.waiters_dec(1);
            return true;
        }
    }

    /// The key that the waiter waits on.
    ///
    /// # Safety
    ///
    /// The caller must hold the lock of the bucket that the node is queued in, or own the waiter
    /// while the node is in no queue.
    #[inline]
    pub(crate) unsafe fn id(&self) -> KeyId {
        // SAFETY: By the type invariants, the key of a queued node changes only under the bucket's
        // lock, and that of any other node is accessed by the waiter's owner only. By the
        // function's requirements, the caller holds that lock or is that owner.
        unsafe { *self.id.get() }
    }

    /// Changes the key that the waiter waits on.
    ///
    /// # Safety
    ///
    /// As [`Self::id`]. If the node is queued, the caller has to move it to the slot that the new
    /// key belongs to before it releases the lock.
    #[inline]
    pub(crate) unsafe fn set_id(&self, id: KeyId) {
        // SAFETY: As in `id()`, nobody else accesses the key now.
        unsafe { *self.id.get() = id };
    }

    /// Whether a wake on the key `id` with this `mask` wakes this waiter.
    ///
    /// # Safety
    ///
    /// As [`Self::id`].
    #[inline]
    pub(super) unsafe fn meets(&self, id: KeyId, mask: u64) -> bool {
        // SAFETY: The caller holds the lock, or owns the waiter, as `id` requires, because the
        // requirements of this function demand just that.
        unsafe { self.id() == id && self.mask & mask != 0 }
    }
}
