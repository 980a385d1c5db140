// SPDX-License-Identifier: GPL-2.0

//! Buckets, and the intrusive list of waiters in each.
//!
//! # Ordering
//!
//! A wait that sees the old value and a wake that sees no waiter must not both happen:
//!
//! ```text
//! wait                               wake
//! ----                               ----
//! counter += 1                       *word = new             (the caller, in user space)
//! full barrier              (A)      full barrier            (B)
//! read *word, compare                read counter
//! ```
//!
//! That is the store-buffering pattern: with both barriers, at least one side sees the other. (A)
//! is in [`BucketSlot::waiters_inc`], (B) in [`BucketSlot::is_empty`]. The counter is that of the
//! word's key: a waiter that is moved to another key is counted by that key's. From
//! kernel/futex/core.c, and from the bugs that it had (11d4616bd07f, 76835b0ebf8a).
//!
//! # Lifetimes
//!
//! A waiter lies on the stack of the task that waits, and a wait allocates nothing. Three rules make
//! that safe, so that the operations are safe code:
//!
//! 1. A waiter is made in a place that is only lent ([`with_place`], [`with_places`]). It stays
//!    there until the function that lends the place returns, and cannot be forgotten. Dropping it
//!    takes it out of the queue, under the bucket's lock.
//! 2. Only the holder of the bucket's lock follows the links of its queue.
//! 3. A waker takes its reference on the task and reads where the links go on, then marks the waiter
//!    as woken. From the mark on, the waiter may be gone at any moment, and is not touched again:
//!    links that lead to it are closed past it before the lock is released.

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
    /// Queues `waiter`, and unlocks.
    #[inline]
    pub(crate) fn queue(mut self, waiter: Pin<&Waiter<'t>>) {
        // A waiter can be in one queue only.
        if kernel::warn_on!(!waiter.is_woken()) {
            return;
        }
        self.queue.link(&waiter);
        waiter.linked_at(self.counted.keep());
    }
}

/// A waiter in a queue, whatever table it borrows.
type Link = Option<NonNull<Waiter<'static>>>;

/// The neighbours of a waiter.
#[derive(Default)]
struct Links {
    prev: Link,
    next: Link,
}

/// A task that waits, or is about to.
///
/// # Invariants
///
/// - It was made by the task that waits, lies in a place that was lent to that task, and is dropped
///   before the task leaves the function that lent it.
/// - `bucket` is null, or a bucket of a table that is alive for `'t`.
/// - While `bucket` is not null, the waiter is linked into the queue of that bucket, and counted
///   there by the counter of that index; `links`, `key`, `bucket` and `counter` change only under its
///   lock, and the waiter is alive and does not move. `key` belongs to that bucket and counter.
/// - While `bucket` is null, the waiter is in no queue, and only its task looks at it.
#[pin_data(PinnedDrop)]
pub(crate) struct Waiter<'t> {
    links: UnsafeCell<Links>,
    /// Dropped after the waiter has left the queue, with no lock held: that may sleep.
    key: UnsafeCell<OwnedKey>,
    bucket: Atomic<*mut Bucket>,
    counter: Cell<usize>,
    mask: u64,
    priority: i32,
    /// The address of the task's mm, which it cannot leave while it waits.
    mm: usize,
    task: *const Task,
    /// Exactly `'t`: with a shorter lifetime, it could be queued in a table that ends before it does.
    _table: PhantomData<Cell<&'t Bucket>>,
    #[pin]
    _pin: PhantomPinned,
}

impl<'t> Waiter<'t> {
    /// The current task as a waiter on `key`, met by wakes whose mask shares a bit with `mask`.
    ///
    /// For [`place`] only, which sees to it that the waiter ends before its task does.
    #[inline]
    fn current(key: OwnedKey, mask: u64) -> impl PinInit<Self> {
        // INVARIANT: `bucket` is null, and nobody else knows the waiter yet.
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

    /// Whether it is in no queue: it was woken, or never queued.
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        // Pairs with the release in `Queue::mark`: what the waker did before is seen.
        arch::load_acquire(&self.bucket).is_null()
    }

    /// The key, while it is in no queue.
    pub(crate) fn unqueued_id(&self) -> Option<KeyId> {
        // SAFETY: It is in no queue, and we are its task: a waiter is not `Sync`.
        self.is_woken().then(|| unsafe { self.id() })
    }

    /// Notes that it was just linked into the queue of this slot's bucket, whose lock is held, and is
    /// counted there.
    #[inline]
    fn linked_at(&self, slot: BucketSlot<'_>) {
        self.counter.set(slot.counter);
        // INVARIANT: By what the caller says. The table is alive for `'t`: a waiter is queued in one
        // that was borrowed for that long, and then moved between buckets of that table only.
        self.bucket
            .store(ptr::from_ref(slot.bucket).cast_mut(), Relaxed);
    }

    /// Takes it out of the queue that it is in. False: a waker was there first.
    ///
    /// # Context
    ///
    /// Does not sleep. Takes the bucket's lock, unless it was woken.
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        !self.is_woken() && self.leave_queue()
    }

    /// The same where it may be in one. Not inlined: most waiters are woken.
    #[inline(never)]
    fn leave_queue(&self) -> bool {
        loop {
            let raw = arch::load_acquire(&self.bucket);
            // SAFETY: By the type invariants, it is null or a bucket of the table that we borrow.
            let Some(bucket) = (unsafe { raw.as_ref() }) else {
                return false;
            };
            let mut queue = bucket.queue.lock();
            if !ptr::eq(self.bucket.load(Relaxed), raw) {
                // Woken, or moved elsewhere, while we waited for the lock.
                continue;
            }
            queue.unlink(self);
            // INVARIANT: It is no longer linked.
            self.bucket.store(ptr::null_mut(), Relaxed);
            let counter = self.counter.get();
            BucketSlot { bucket, counter }.waiters_dec(1);
            return true;
        }
    }

    /// The key that it is queued under.
    ///
    /// # Safety
    ///
    /// The caller must hold the lock of the bucket where it is queued, or be its task while it is
    /// in none.
    #[inline]
    unsafe fn id(&self) -> KeyId {
        // SAFETY: By the function's requirements, nobody changes the key.
        unsafe { (*self.key.get()).id() }
    }

    /// Whether a wake under `id` and `mask` is for it.
    ///
    /// # Safety
    ///
    /// As for [`Self::id`].
    #[inline]
    unsafe fn meets(&self, id: KeyId, mask: u64) -> bool {
        // SAFETY: By the function's requirements.
        unsafe { self.id() == id && self.mask & mask != 0 }
    }

    #[inline]
    fn as_link(&self) -> Link {
        // The queue must not outlive what the waiter borrows, and does not: it is part of it.
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

/// The waiters of one bucket: real-time tasks by priority, then first come, first served.
///
/// # Invariants
///
/// `first` to `last` is a list, linked both ways, of waiters that name the bucket with this queue.
#[derive(Default)]
struct Queue {
    first: Link,
    last: Link,
}

// SAFETY: The links lead to waiters on the stacks of other tasks, which stay where they are until
// they are taken out under the lock that the queue is behind.
unsafe impl Send for Queue {}

impl Queue {
    /// The links of a waiter in this queue.
    ///
    /// # Safety
    ///
    /// `waiter` must be in this queue, or about to be; nobody else may look at its links meanwhile.
    #[inline]
    unsafe fn links<'q>(&'q mut self, waiter: NonNull<Waiter<'static>>) -> &'q mut Links {
        // SAFETY: A waiter in the queue is alive. We have the queue to ourselves.
        unsafe { &mut *waiter.as_ref().links.get() }
    }

    /// Puts a waiter in its place: behind all that are as urgent as it is, or more.
    #[inline]
    fn link(&mut self, waiter: &Waiter<'_>) {
        // Whoever is no more urgent than the last one goes to the end, without a search.
        let next = match self.last {
            // SAFETY: `last` is in this queue, and so alive.
            Some(last) if unsafe { last.as_ref() }.priority > waiter.priority => {
                self.first_less_urgent(waiter.priority)
            }
            _ => None,
        };
        let link = waiter.as_link();
        let prev = match next {
            // SAFETY: `next` is in this queue.
            Some(next) => unsafe { mem::replace(&mut self.links(next).prev, link) },
            None => mem::replace(&mut self.last, link),
        };
        match prev {
            // SAFETY: `prev` is in this queue.
            Some(prev) => unsafe { self.links(prev) }.next = link,
            None => self.first = link,
        }
        // SAFETY: `waiter` is not linked yet, and only its own task, or the holder of the lock that
        // it was queued under, looks at it.
        unsafe { *waiter.links.get() = Links { prev, next } };
    }

    /// Takes up to `nr` waiters under `id` and meeting `mask` out, marks them as woken and adds their
    /// tasks to `chain`. Returns how many.
    fn wake(&mut self, id: KeyId, mask: u64, nr: u32, chain: &mut WakeChain) -> u32 {
        if nr == 0 {
            return 0;
        }
        let mut woken = 0;
        let mut next = self.first_meeting(self.first, id, mask);
        while let Some(mut waiter) = next {
            // Neighbours go together: the links past them are closed once.
            // SAFETY: A waiter in the queue is alive, and nobody changes its links.
            let before = unsafe { (*waiter.as_ref().links.get()).prev };
            let behind = loop {
                // SAFETY: `waiter` is in the queue, too, and has not been marked yet.
                let behind = unsafe { (*waiter.as_ref().links.get()).next };
                // SAFETY: It is in this queue, and what leads to it is not followed any more.
                chain.add(unsafe { Self::mark(waiter.as_ref()) });
                woken += 1;
                match behind {
                    // SAFETY: `next` is in the queue, which we have.
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

    /// The same for one waiter, whatever its mask. Returns its task.
    #[inline]
    fn wake_one(&mut self, id: KeyId) -> Option<ARef<Task>> {
        let waiter = self.first_meeting(self.first, id, u64::MAX)?;
        // SAFETY: A waiter in the queue is alive.
        let waiter = unsafe { waiter.as_ref() };
        self.unlink(waiter);
        // SAFETY: It was in this queue.
        Some(unsafe { Self::mark(waiter) })
    }

    /// Marks a waiter as woken. Returns its task.
    ///
    /// # Safety
    ///
    /// The waiter must have been in a queue whose lock is held, and not be looked at again.
    #[inline]
    unsafe fn mark(waiter: &Waiter<'_>) -> ARef<Task> {
        // SAFETY: The waiter's task cannot end before the mark: by the type invariants, the waiter
        // ends first, and for that it has to leave the queue, whose lock is held.
        let task = ARef::from(unsafe { &*waiter.task });
        // From here on `waiter` may be gone.
        arch::store_release(&waiter.bucket, ptr::null_mut());
        task
    }

    /// The first waiter under `id` and meeting `mask`, from `next` on.
    #[inline]
    fn first_meeting(&self, mut next: Link, id: KeyId, mask: u64) -> Link {
        while let Some(waiter) = next {
            // SAFETY: A waiter in the queue is alive.
            let waiter = unsafe { waiter.as_ref() };
            // SAFETY: We have the queue that it is in.
            if unsafe { waiter.meets(id, mask) } {
                break;
            }
            // SAFETY: We have the queue, so nobody changes its links.
            next = unsafe { &*waiter.links.get() }.next;
        }
        next
    }

    #[cold]
    #[inline(never)]
    fn first_less_urgent(&self, priority: i32) -> Link {
        let mut next = self.first;
        while let Some(waiter) = next {
            // SAFETY: A waiter in the queue is alive.
            let waiter = unsafe { waiter.as_ref() };
            if waiter.priority > priority {
                break;
            }
            // SAFETY: We have the queue, so nobody changes its links.
            next = unsafe { &*waiter.links.get() }.next;
        }
        next
    }

    /// Takes out a waiter, which must be in this queue.
    #[inline]
    fn unlink(&mut self, waiter: &Waiter<'_>) {
        // SAFETY: The waiter is in this queue, which we have to ourselves.
        let Links { prev, next } = unsafe { ptr::read(waiter.links.get()) };
        self.close(prev, next);
    }

    /// Links two waiters of this queue, or its ends, past what was between them.
    #[inline]
    fn close(&mut self, prev: Link, next: Link) {
        match prev {
            // SAFETY: `prev` is in this queue.
            Some(prev) => unsafe { self.links(prev) }.next = next,
            None => self.first = next,
        }
        match next {
            // SAFETY: `next` is in this queue.
            Some(next) => unsafe { self.links(next) }.prev = prev,
            None => self.last = prev,
        }
    }

    /// The waiters under `id`, in the order of the queue.
    fn under(&self, id: KeyId) -> impl Iterator<Item = &Waiter<'static>> {
        self.waiters()
            // SAFETY: We have the queue that it is in.
            .filter(move |waiter| unsafe { waiter.id() } == id)
    }

    /// The waiters, in the order of the queue.
    fn waiters(&self) -> impl Iterator<Item = &Waiter<'static>> {
        core::iter::successors(self.first, |waiter| {
            // SAFETY: A waiter in the queue is alive, and while we have the queue nobody changes it.
            unsafe { (*waiter.as_ref().links.get()).next }
        })
        // SAFETY: A waiter in the queue is alive.
        .map(|waiter| unsafe { waiter.as_ref() })
    }
}
