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
//! A waiter lies on the stack of the task that waits, so that a wait on one word allocates nothing.
//! Three rules make this sound, and allow the operations to be safe code:
//!
//! 1. A waiter is made in a place that is only lent to the operation ([`with_place`],
//!    [`with_places`]). It stays there until the function that lends the place returns, and cannot
//!    be leaked with `mem::forget()`. When it is dropped, it is taken out of the queue under the
//!    bucket's lock.
//! 2. Only the holder of a bucket's lock follows the links of the bucket's queue.
//! 3. A waker takes a reference on the task and reads the links of the waiter before it marks the
//!    waiter as woken. Once a waiter is marked, its memory may be reused at any moment, so it is
//!    not touched again. Links that still lead to it are redirected past it before the lock is
//!    released.

mod bucket;
mod pair;
mod place;
#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
mod tests;

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
pub(crate) use self::bucket::NR_COUNTERS;
pub(crate) use self::{
    bucket::{
        Bucket,
        BucketSlot,
        Buckets, //
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

use self::bucket::Entry;
use crate::{
    key::{
        KeyId,
        OwnedKey, //
    },
    mm::{
        arch,
        task, //
    },
    wake_chain::WakeChain, //
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
    mem,
    pin::Pin,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        }, //
    },
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
        self.queue.link(&waiter);
        waiter.linked_at(self.counted.keep());
    }
}

/// A link to a waiter in a queue. It does not show for how long the waiter borrows its table.
type Link = Option<NonNull<Waiter<'static>>>;

/// The links from a waiter to its neighbours in the queue.
#[derive(Default)]
struct Links {
    prev: Link,
    next: Link,
}

/// A task that waits, or is about to wait.
///
/// # Invariants
///
/// - The waiter was made by the task that waits, lies in a place that was lent to that task, and is
///   dropped before the function that lent the place returns.
/// - `bucket` is null, or points to a bucket of a table that is alive for `'t`.
/// - While `bucket` is not null, the waiter is linked into the queue of that bucket, and counted by
///   the bucket's counter with the index `counter`. Both are the ones that `key` belongs to.
///   `links`, `key`, `bucket` and `counter` change only under the bucket's lock, and the waiter
///   stays alive and does not move.
/// - While `bucket` is null, the waiter is in no queue, and is accessed by its own task only.
#[pin_data(PinnedDrop)]
pub(crate) struct Waiter<'t> {
    links: UnsafeCell<Links>,
    /// This is dropped after the waiter has left the queue, with no lock held, because dropping it
    /// may sleep.
    key: UnsafeCell<OwnedKey>,
    bucket: Atomic<*mut Bucket>,
    counter: Cell<usize>,
    mask: u64,
    priority: i32,
    /// The address of the task's mm. The task keeps this mm for as long as it waits.
    mm: usize,
    task: *const Task,
    /// Makes the type invariant in `'t`. If the lifetime could be shortened, a waiter could be
    /// queued in a table that is freed before the waiter is dropped.
    _table: PhantomData<Cell<&'t Bucket>>,
    #[pin]
    _pin: PhantomPinned,
}

impl<'t> Waiter<'t> {
    /// An initialiser that makes the current task a waiter on `key`. The waiter is woken by wakes
    /// whose mask has a bit in common with `mask`.
    ///
    /// Only [`place`] may use this, which ensures that the waiter is dropped in time.
    #[inline]
    fn current(key: OwnedKey, mask: u64) -> impl PinInit<Self> {
        // INVARIANT: `bucket` is null, and no other task knows of the waiter yet.
        pin_init!(Self {
            links: UnsafeCell::new(Links::default()),
            key: UnsafeCell::new(key),
            bucket: Atomic::new(ptr::null_mut()),
            counter: Cell::new(0),
            mask,
            priority: task::current_priority(),
            mm: task::current_mm(),
            task: arch::current().cast_const().cast(),
            _table: PhantomData,
            _pin: PhantomPinned,
        })
    }

    /// Whether the waiter is in no queue, because it was woken, has left, or was never queued.
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        // This pairs with the release in `Queue::mark`: a task that sees the mark also sees what
        // the waker did before it.
        arch::load_acquire(&self.bucket).is_null()
    }

    /// The key of a waiter that is in no queue; `None` if it is in one.
    pub(crate) fn unqueued_id(&self) -> Option<KeyId> {
        // SAFETY: The waiter is in no queue, and this is its own task, because a waiter is not
        // `Sync` and so its reference cannot have been passed to another task.
        self.is_woken().then(|| unsafe { self.id() })
    }

    /// Notes that the waiter was just linked into the queue of this slot's bucket, and is counted
    /// by this slot's counter. The caller holds the bucket's lock.
    #[inline]
    fn linked_at(&self, slot: BucketSlot<'_>) {
        self.counter.set(slot.counter);
        // INVARIANT: The caller has linked and counted the waiter. The table is alive for `'t`,
        // because a waiter is queued only in a table that is borrowed for that long, and is then
        // moved only between buckets of that table.
        self.bucket
            .store(ptr::from_ref(slot.bucket).cast_mut(), Relaxed);
    }

    /// Takes the waiter out of its queue. Returns false if it was in none, because a waker has
    /// taken it out before.
    ///
    /// # Context
    ///
    /// Does not sleep. Takes the bucket's lock, unless the waiter was woken.
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        !self.is_woken() && self.leave_queue()
    }

    /// Does what [`Self::leave`] does, for a waiter that may be in a queue. Most waiters were
    /// woken, so this is not inlined.
    #[inline(never)]
    fn leave_queue(&self) -> bool {
        loop {
            let raw = arch::load_acquire(&self.bucket);
            // SAFETY: By the type invariants, the pointer is null, or points to a bucket of a table
            // that is alive for `'t`, which is longer than this borrow of the waiter.
            let Some(bucket) = (unsafe { raw.as_ref() }) else {
                return false;
            };
            let mut queue = bucket.queue.lock();
            if !ptr::eq(self.bucket.load(Relaxed), raw) {
                // While this task waited for the lock, the waiter was woken, or moved to another
                // bucket.
                continue;
            }
            queue.unlink(self);
            // INVARIANT: The waiter is no longer linked, and is counted out below, under the lock.
            self.bucket.store(ptr::null_mut(), Relaxed);
            let counter = self.counter.get();
            BucketSlot { bucket, counter }.waiters_dec(1);
            return true;
        }
    }

    /// The waiter's key.
    ///
    /// # Safety
    ///
    /// The caller must hold the lock of the bucket that the waiter is queued in, or be the waiter's
    /// task while the waiter is in no queue.
    #[inline]
    unsafe fn id(&self) -> KeyId {
        // SAFETY: By the type invariants, the key of a queued waiter changes only under the
        // bucket's lock, and that of any other waiter is accessed by its task only. By the
        // function's requirements, the caller holds that lock or is that task, so nobody changes
        // the key now.
        unsafe { (*self.key.get()).id() }
    }

    /// Whether a wake on the key `id` with this `mask` wakes this waiter.
    ///
    /// # Safety
    ///
    /// The caller must hold the lock of the bucket that the waiter is queued in, or be the waiter's
    /// task while the waiter is in no queue.
    #[inline]
    unsafe fn meets(&self, id: KeyId, mask: u64) -> bool {
        // SAFETY: The caller holds the lock, or is the task, that `id` requires, because the
        // requirements of this function demand just that.
        unsafe { self.id() == id && self.mask & mask != 0 }
    }

    /// A link to this waiter.
    #[inline]
    fn as_link(&self) -> Link {
        // The cast hides for how long the waiter borrows its table. It is only used by the queue,
        // which is a part of that table, and so does not outlive it.
        Some(NonNull::from(self).cast())
    }
}

#[pinned_drop]
impl PinnedDrop for Waiter<'_> {
    #[inline]
    fn drop(self: Pin<&mut Self>) {
        self.leave();
    }
}

/// The waiters of one bucket. Real-time tasks come first, ordered by priority. Tasks of the same
/// urgency are in the order in which they came.
///
/// # Invariants
///
/// `first` and `last` are the ends of a doubly linked list of waiters whose `bucket` is the one
/// that contains this queue. In the middle of [`Queue::wake`], it may also contain waiters that
/// were just marked as woken.
#[derive(Default)]
struct Queue {
    first: Link,
    last: Link,
}

// SAFETY: Any task that holds the lock around the queue may follow the links: the waiters that they
// lead to stay valid until they are taken out of the queue, for which that lock is needed.
unsafe impl Send for Queue {}

impl Queue {
    /// The links of a waiter in this queue.
    ///
    /// # Safety
    ///
    /// `waiter` must be in this queue, and no other reference to its links may be in use.
    #[inline]
    unsafe fn links<'q>(&'q mut self, waiter: NonNull<Waiter<'static>>) -> &'q mut Links {
        // SAFETY: By the function's requirements, the waiter is in this queue, so it is alive, and
        // its links are accessed only under the lock, which is held because `self` is borrowed
        // mutably. There is no other reference to them.
        unsafe { &mut *waiter.as_ref().links.get() }
    }

    /// Links a waiter, which must be in no queue, behind all waiters that are at least as urgent.
    #[inline]
    fn link(&mut self, waiter: &Waiter<'_>) {
        // A waiter that is no more urgent than the last one goes to the end, without a search.
        let next = match self.last {
            // SAFETY: `last` is in this queue, and a waiter in the queue is alive.
            Some(last) if unsafe { last.as_ref() }.priority > waiter.priority => {
                self.first_less_urgent(waiter.priority)
            }
            _ => None,
        };
        let link = waiter.as_link();
        let prev = match next {
            // SAFETY: `next` was found in this queue, and there is no other reference to its links.
            Some(next) => unsafe { mem::replace(&mut self.links(next).prev, link) },
            None => mem::replace(&mut self.last, link),
        };
        match prev {
            // SAFETY: `prev` was found in this queue, and there is no other reference to its links.
            Some(prev) => unsafe { self.links(prev) }.next = link,
            None => self.first = link,
        }
        // SAFETY: The caller has the waiter to itself: either it is in no queue, and this is its
        // task; or it was just taken out of a queue whose lock is still held. So nobody else
        // accesses its links.
        unsafe { *waiter.links.get() = Links { prev, next } };
    }

    /// Takes up to `nr` waiters out of the queue whose key is `id`, and whose mask has a bit in
    /// common with `mask`. Marks them as woken, and adds their tasks to `chain`. Returns their
    /// number.
    ///
    /// The caller has to count them out.
    #[inline]
    fn wake(&mut self, id: KeyId, mask: u64, nr: u32, chain: &mut WakeChain) -> u32 {
        match nr {
            0 => 0,
            // Most wakes are meant for one waiter.
            1 => match self.wake_one(id, mask) {
                Some(task) => {
                    chain.add(task);
                    1
                }
                None => 0,
            },
            _ => self.wake_many(id, mask, nr, chain),
        }
    }

    /// Does what [`Self::wake`] does, for an `nr` that is not 0.
    #[inline(never)]
    fn wake_many(&mut self, id: KeyId, mask: u64, nr: u32, chain: &mut WakeChain) -> u32 {
        let mut woken = 0;
        let mut next = self.first_meeting(self.first, id, mask);
        while let Some(mut waiter) = next {
            // Neighbours are taken out together, so that the links around them are changed only
            // once.
            // SAFETY: `waiter` is in the queue, so it is alive. Its links change only under the
            // lock, which is held.
            let before = unsafe { (*waiter.as_ref().links.get()).prev };
            let behind = loop {
                // SAFETY: `waiter` is in the queue and not yet marked as woken, so it is alive. Its
                // links change only under the lock, which is held.
                let behind = unsafe { (*waiter.as_ref().links.get()).next };
                // SAFETY: `waiter` is in this queue, whose lock is held, and not yet marked, so it
                // is alive. The loop goes on behind it, and the links that lead to it are closed
                // before they are followed again.
                chain.add(unsafe { Self::mark(waiter.as_ref()) });
                woken += 1;
                match behind {
                    // SAFETY: `next` is in the queue, so it is alive, and the lock is held.
                    Some(next) if woken != nr && unsafe { next.as_ref().meets(id, mask) } => {
                        waiter = next;
                    }
                    _ => break behind,
                }
            };
            self.close(before, behind);
            if woken == nr {
                break;
            }
            next = self.first_meeting(behind, id, mask);
        }
        woken
    }

    /// Takes the first waiter out of the queue whose key is `id`, and whose mask has a bit in common
    /// with `mask`. Marks it as woken, and returns its task.
    ///
    /// The caller has to count it out.
    #[inline]
    fn wake_one(&mut self, id: KeyId, mask: u64) -> Option<ARef<Task>> {
        let waiter = self.first_meeting(self.first, id, mask)?;
        // SAFETY: The waiter is in the queue, so it is alive.
        let waiter = unsafe { waiter.as_ref() };
        self.unlink(waiter);
        // SAFETY: The waiter was in this queue, whose lock is held. Now that it is unlinked,
        // nothing leads to it any more.
        Some(unsafe { Self::mark(waiter) })
    }

    /// Marks a waiter as woken. Returns its task.
    ///
    /// # Safety
    ///
    /// The waiter must have been in a queue whose lock is still held, and must not have been marked
    /// before. It must not be accessed again.
    #[inline]
    unsafe fn mark(waiter: &Waiter<'_>) -> ARef<Task> {
        // SAFETY: The task cannot have ended: by the invariants of `Waiter`, the waiter is dropped
        // before its task can end, and a waiter that is not marked can only be dropped after it has
        // left the queue, for which it needs the lock that is held here.
        let task = ARef::from(unsafe { &*waiter.task });
        // From here on, the waiter's memory may be reused at any moment.
        arch::store_release(&waiter.bucket, ptr::null_mut());
        task
    }

    /// The first waiter, from `next` on, whose key is `id` and whose mask has a bit in common with
    /// `mask`. `next` must be in this queue.
    #[inline]
    fn first_meeting(&self, mut next: Link, id: KeyId, mask: u64) -> Link {
        while let Some(waiter) = next {
            // SAFETY: The waiter is in the queue, so it is alive.
            let waiter = unsafe { waiter.as_ref() };
            // SAFETY: The queue can only be borrowed while its lock is held, and the waiter is in
            // it.
            if unsafe { waiter.meets(id, mask) } {
                break;
            }
            // SAFETY: The links of a waiter in the queue change only while the queue is borrowed
            // mutably, and `self` borrows it now.
            next = unsafe { &*waiter.links.get() }.next;
        }
        next
    }

    /// The first waiter that is less urgent than `priority`.
    #[cold]
    #[inline(never)]
    fn first_less_urgent(&self, priority: i32) -> Link {
        let mut next = self.first;
        while let Some(waiter) = next {
            // SAFETY: The waiter is in the queue, so it is alive.
            let waiter = unsafe { waiter.as_ref() };
            if waiter.priority > priority {
                break;
            }
            // SAFETY: The links of a waiter in the queue change only while the queue is borrowed
            // mutably, and `self` borrows it now.
            next = unsafe { &*waiter.links.get() }.next;
        }
        next
    }

    /// Takes a waiter out of this queue, which it must be in.
    #[inline]
    fn unlink(&mut self, waiter: &Waiter<'_>) {
        // SAFETY: The waiter is in this queue. Its links change only while the queue is borrowed
        // mutably, which only this function does now.
        let Links { prev, next } = unsafe { ptr::read(waiter.links.get()) };
        self.close(prev, next);
    }

    /// Links `prev` and `next` to each other, so that the waiters between them are no longer in the
    /// queue. Each is in this queue, or `None` for the end of the queue.
    #[inline]
    fn close(&mut self, prev: Link, next: Link) {
        match prev {
            // SAFETY: `prev` is in this queue, and there is no other reference to its links.
            Some(prev) => unsafe { self.links(prev) }.next = next,
            None => self.first = next,
        }
        match next {
            // SAFETY: `next` is in this queue, and there is no other reference to its links.
            Some(next) => unsafe { self.links(next) }.prev = prev,
            None => self.last = prev,
        }
    }

    /// The waiters whose key is `id`, in the order of the queue.
    fn under(&self, id: KeyId) -> impl Iterator<Item = &Waiter<'static>> {
        self.waiters()
            // SAFETY: The queue can only be borrowed while its lock is held, and the waiter is in
            // it.
            .filter(move |waiter| unsafe { waiter.id() } == id)
    }

    /// All waiters, in the order of the queue.
    fn waiters(&self) -> impl Iterator<Item = &Waiter<'static>> {
        core::iter::successors(self.first, |waiter| {
            // SAFETY: The waiter is in the queue, so it is alive. Its links change only while the
            // queue is borrowed mutably, and the iterator borrows it.
            unsafe { (*waiter.as_ref().links.get()).next }
        })
        // SAFETY: The waiter is in the queue, and so alive, for as long as the iterator borrows the
        // queue.
        .map(|waiter| unsafe { waiter.as_ref() })
    }
}
