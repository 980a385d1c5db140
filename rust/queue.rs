// SPDX-License-Identifier: GPL-2.0

//! Buckets, and the intrusive list of waiters in each.
//!
//! # Ordering
//!
//! It must not happen that a wait sees the old value of the word and the matching wake sees no
//! waiter:
//!
//! ```text
//! wait                               wake
//! ----                               ----
//! counter += 1                       *word = new             (the caller, in user space)
//! full barrier              (A)      full barrier            (B)
//! read *word, compare                read counter
//! ```
//!
//! This is the store-buffering pattern: because both barriers are there, at least one side sees
//! what the other has written. (A) is in [`BucketSlot::waiters_inc`], (B) in
//! [`BucketSlot::is_empty`]. The counter is the one that belongs to the word's key. When a waiter
//! is moved to another key, it is counted by the counter of that key from then on. The scheme is
//! that of kernel/futex/core.c, with the fixes that it needed (11d4616bd07f, 76835b0ebf8a).
//!
//! # Lifetimes
//!
//! What queues is a [`Node`], the first part of every waiter: of a task ([`Waiter`]), or of a watch
//! ([`Watch`](crate::watch::Watch)), or of a request of io_uring. [`crate::watch`] and
//! `crate::uring` say more about these. A node may also be a marker, which a [`Cursor`] leaves in
//! the queue.
//!
//! The waiter of a task lies on its stack, so that a wait on one word allocates nothing. Three
//! rules make this sound, and allow the operations to be safe code:
//!
//! 1. The waiter of a task is made in a place that is only lent to the operation ([`with_place`],
//!    [`with_places`]). It stays there until the function that lends the place returns, and cannot
//!    be leaked with `mem::forget()`. When it is dropped, it is taken out of the queue under the
//!    bucket's lock.
//! 2. Only the holder of a bucket's lock follows the links of the bucket's queue.
//! 3. A waker takes a reference on the task, or on the set of the watch, and reads the links of the
//!    waiter before it marks the waiter as woken. Once a waiter is marked, its memory may be reused
//!    at any moment, so it is not touched again. Links that still lead to it are redirected past it
//!    before the lock is released.

mod about;
mod bucket;
mod cursor;
mod list;
mod node;
mod pair;
mod place;
#[cfg(RFUTEX_KUNIT)]
mod tests;

#[cfg(RFUTEX_KUNIT)]
pub(crate) use self::bucket::NR_COUNTERS;
pub(crate) use self::{
    about::{
        About,
        Seen,
        Who, //
    },
    bucket::{
        Bucket,
        BucketSlot,
        Buckets, //
    },
    cursor::{
        Cursor,
        STEP, //
    },
    node::{
        Kind as WaiterKind,
        Node, //
    },
    pair::{
        Exchange,
        Pair, //
    },
    place::{
        with_place,
        with_places,
        Place,
        Places, //
    },
};

pub(crate) use self::bucket::Entry;
use self::{
    list::Queue,
    node::Kind, //
};
use crate::{
    key::{
        Held,
        KeyId,
        OwnedKey, //
    },
    mm::{
        arch,
        pid::Pid,
        task, //
    },
    owner::Owner,
};
use core::{
    cell::{
        Cell,
        UnsafeCell, //
    },
    marker::{
        PhantomData,
        PhantomPinned, //
    },
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::aref::ARef,
    task::Task, //
};

impl<'t> Entry<'t> {
    /// Queues `waiter`, which must not be in a queue, and unlocks the bucket.
    ///
    /// The waiter's key must be one whose waiters belong to this slot.
    #[inline]
    pub(crate) fn queue(mut self, waiter: Pin<&Waiter<'t>>) {
        // A waiter can be in one queue at a time only.
        if kernel::warn_on!(!waiter.is_woken()) {
            return;
        }
        // SAFETY: The waiter is in no queue, and this is its task. It stays alive until it has left
        // the queue, because its destructor leaves it.
        unsafe { self.queue.link(waiter.as_node()) };
        waiter.node.linked_at(self.counted.keep());
    }
}

impl Entry<'_> {
    /// Queues a waiter that is not a task, calls `queued`, and unlocks the bucket.
    ///
    /// The node's key must be one whose waiters belong to this slot.
    ///
    /// # Safety
    ///
    /// `node` must be the node of a valid waiter, be in no queue, and be accessed by nobody else.
    /// The waiter must stay valid until it has left the queue, and must not outlive the table.
    pub(crate) unsafe fn queue_node(mut self, node: NonNull<Node>, queued: impl FnOnce()) {
        // SAFETY: The requirements are those of the function, and nobody else accesses the links.
        unsafe { self.queue.link(node) };
        // SAFETY: By the function's requirements, the node is valid.
        unsafe { node.as_ref() }.linked_at(self.counted.keep());
        queued();
    }
}

/// A task that waits, or is about to wait.
///
/// # Invariants
///
/// - The waiter was made by the task that waits, lies in a place that was lent to that task, and is
///   dropped before the function that lent the place returns.
/// - The buckets that the node may be queued in are those of a table that is alive for `'t`.
/// - While the node is queued, `held` changes only under the bucket's lock. Otherwise it is
///   accessed by the task only.
// It begins where a cache line does, so that the node, which is all that a requeue writes to if
// nothing is held, is on one line, wherever on the stack the waiter lies.
#[pin_data(PinnedDrop)]
#[repr(C, align(64))]
pub(crate) struct Waiter<'t> {
    node: Node,
    task: *const Task,
    about: About,
    /// Whose end also ends the wait.
    owner: Option<Owner>,
    /// This is dropped after the waiter has left the queue, with no lock held, because dropping it
    /// may sleep.
    held: UnsafeCell<Held>,
    /// Makes the type invariant in `'t`. If the lifetime could be shortened, a waiter could be
    /// queued in a table that is freed before the waiter is dropped.
    _table: PhantomData<Cell<&'t Bucket>>,
    #[pin]
    _pin: PhantomPinned,
}

impl<'t> Waiter<'t> {
    /// An initialiser that makes the current task a waiter on `key`. The waiter is woken by wakes
    /// whose mask has a bit in common with `mask`. A listing shows what is in `about`, and the
    /// `owner`.
    ///
    /// Only [`place`] may use this, which ensures that the waiter is dropped in time.
    #[inline]
    fn current(key: OwnedKey, mask: u64, about: About, owner: Option<Owner>) -> impl PinInit<Self> {
        let (id, held) = key.into_parts();
        let (mm, priority) = (task::current_mm_number(), task::current_priority());
        // INVARIANT: The node is in no queue, and no other task knows of the waiter yet.
        pin_init!(Self {
            // SAFETY: The node is the first field of a waiter of this kind.
            node: unsafe { Node::new(Kind::Task, id, mask, mm, priority) },
            task: arch::current().cast_const().cast(),
            about,
            owner,
            held: UnsafeCell::new(held),
            _table: PhantomData,
            _pin: PhantomPinned,
        })
    }

    /// Whether the waiter is in no queue, because it was woken, has left, or was never queued.
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        self.node.is_woken()
    }

    /// The mask of the wakes that wake the waiter.
    #[inline]
    pub(crate) fn mask(&self) -> u64 {
        self.node.mask
    }

    /// What the waiter has asked for.
    pub(crate) fn asked(&self) -> About {
        self.about
    }

    /// The key of a waiter that is in no queue; `None` if it is in one.
    pub(crate) fn unqueued_id(&self) -> Option<KeyId> {
        // SAFETY: The waiter is in no queue, and this is its own task, because a waiter is not
        // `Sync` and so its reference cannot have been passed to another task.
        self.is_woken().then(|| unsafe { self.node.id() })
    }

    /// Takes the waiter out of its queue. Returns false if it was in none, because a waker has
    /// taken it out before.
    ///
    /// # Context
    ///
    /// Does not sleep. Takes the bucket's lock, unless the waiter was woken.
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        self.node.leave()
    }

    /// The node of this waiter, by a pointer that leads to the whole waiter too.
    #[inline]
    fn as_node(&self) -> NonNull<Node> {
        NonNull::from(self).cast()
    }

    /// Marks the waiter whose node is `node` as woken. Returns its task.
    ///
    /// # Safety
    ///
    /// The node must be that of a task. Otherwise as [`Node::mark`].
    #[inline]
    unsafe fn mark(node: NonNull<Node>) -> ARef<Task> {
        // SAFETY: By the invariants of `Node`, it is the first field of a waiter, which is alive
        // because it is not yet marked. What its lifetime stands for does not matter here.
        let waiter = unsafe { node.cast::<Waiter<'_>>().as_ref() };
        // SAFETY: The task cannot have ended: by the type invariants, the waiter is dropped before
        // its task can end, and a waiter that is not marked can only be dropped after it has left
        // the queue, for which it needs the lock that is held here.
        let task = ARef::from(unsafe { &*waiter.task });
        // SAFETY: The caller ensures what the function requires. From here on, the waiter's memory
        // may be reused at any moment.
        unsafe { waiter.node.mark() };
        task
    }

    /// What the waiter whose node is `node` has asked for.
    ///
    /// # Safety
    ///
    /// The node must be that of a task, and be in a queue whose lock the caller holds.
    unsafe fn about(node: NonNull<Node>) -> About {
        // SAFETY: By the invariants of `Node`, it is the first field of a waiter, which is alive
        // because it is queued.
        unsafe { node.cast::<Waiter<'_>>().as_ref() }.about
    }

    /// The task whose node is `node`, and its owner.
    ///
    /// # Safety
    ///
    /// As [`Self::about`].
    unsafe fn who(node: NonNull<Node>) -> Who {
        // SAFETY: As in `about()`. The owner does not change while the waiter is queued.
        let waiter = unsafe { node.cast::<Waiter<'_>>().as_ref() };
        Who {
            // SAFETY: By the type invariants, the task has not ended, because its waiter is queued,
            // and cannot leave the queue without the lock that the caller holds.
            pid: Pid::of_thread(unsafe { &*waiter.task }),
            owner: waiter.owner.clone(),
            cookie: 0,
        }
    }

    /// What the waiter whose node is `node` holds.
    ///
    /// # Safety
    ///
    /// The node must be that of a task, and be in a queue whose lock the caller holds. No other
    /// reference to what the waiter holds may be in use.
    unsafe fn held<'a>(node: NonNull<Node>) -> &'a mut Held {
        // SAFETY: By the invariants of `Node`, it is the first field of a waiter, which is alive
        // because it is queued. What the waiter holds is accessed only under the lock, which the
        // caller holds, and by nobody else now.
        unsafe { &mut *node.cast::<Waiter<'_>>().as_ref().held.get() }
    }
}

#[pinned_drop]
impl PinnedDrop for Waiter<'_> {
    #[inline]
    fn drop(self: Pin<&mut Self>) {
        self.leave();
    }
}
