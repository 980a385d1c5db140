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
//! is in [`Spot::coming`], (B) in [`Spot::is_empty`]. The counter is that of the word's key: who is
//! moved to another key moves to that one's. From kernel/futex/core.c, and from the bugs that it
//! had (11d4616bd07f, 76835b0ebf8a).
//!
//! # Lifetimes
//!
//! A waiter lies on the stack of the task that waits, and a wait allocates nothing. Three rules make
//! that safe; what uses this file is safe code because of them:
//!
//! 1. A waiter is pinned before it is queued, and dropped before its memory goes. Dropping it takes
//!    it out of the queue, under the bucket's lock.
//! 2. Only who holds the bucket's lock follows the links of its queue.
//! 3. A waker takes its reference on the task and reads where the links go on, then marks the waiter
//!    as woken. From the mark on, the waiter may be gone at any moment, and is not touched again:
//!    links that lead to it are closed past it before the lock is released.

mod bucket;
mod pair;
#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
mod tests;

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
pub(crate) use self::bucket::NR_COUNTERS;
pub(crate) use self::{
    bucket::{
        Bucket,
        Buckets,
        Spot, //
    },
    pair::{
        Exchange,
        Pair, //
    },
};

use self::bucket::Holds;
use crate::{
    key::{
        KeyId,
        Owned, //
    },
    mm::{
        arch,
        slot::Slot,
        spinlock::SpinLockGuard,
        task, //
    },
    wake_chain::WakeChain, //
};
use core::{
    cell::UnsafeCell,
    marker::{
        PhantomData,
        PhantomPinned, //
    },
    mem::{
        self,
        ManuallyDrop, //
    },
    pin::Pin,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    bindings,
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

/// A stay in front of a bucket: counted as a waiter, with the queue locked.
///
/// When it ends and nothing was queued, it unlocks first.
pub(crate) struct Entry<'t> {
    queue: SpinLockGuard<'t, Queue>,
    counted: Counted<'t>,
}

/// A count of the caller as a waiter, which goes when this is dropped.
struct Counted<'t>(Spot<'t>);

impl<'t> Entry<'t> {
    /// Queues `waiter`, and unlocks.
    #[inline]
    pub(crate) fn queue(mut self, waiter: Pin<&Waiter<'t>>) {
        // A waiter can be in one queue only.
        if kernel::warn_on!(!waiter.is_woken()) {
            return;
        }
        self.queue.link(&waiter);
        // INVARIANT: It is linked into the queue of this spot's bucket, whose lock we hold.
        waiter.spot.store(self.counted.keep(), Relaxed);
    }

    /// Makes the current task a waiter, as [`Waiter::current`] does, queues it, and unlocks.
    #[inline(always)]
    pub(crate) fn queue_new(mut self, slot: &mut Slot<'_, Waiter<'t>>, key: Owned, mask: u64) {
        // INVARIANT: It is linked into the queue of this spot's bucket, whose lock we hold.
        let waiter = slot.fill(Waiter::new(key, mask, self.counted.keep()));
        self.queue.link(&waiter);
    }
}

impl<'t> Counted<'t> {
    #[inline]
    fn new(spot: Spot<'t>) -> Self {
        spot.coming(1);
        Self(spot)
    }

    /// Leaves the count as it is.
    #[inline]
    fn keep(self) -> *mut u8 {
        ManuallyDrop::new(self).0.as_raw()
    }
}

impl Drop for Counted<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.left(1);
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
/// - `spot` is null or a [`Spot`] in the table that the waiter borrows.
/// - While `spot` is not null, the waiter is linked into the queue of that spot's bucket, and counted
///   there; `links`, `key` and `spot` change only under its lock, and the waiter is alive and does
///   not move. `key` belongs to `spot`.
/// - While `spot` is null, the waiter is in no queue, and only its task looks at it.
/// - `key` is there until the waiter is dropped, which may sleep for its sake.
#[pin_data(PinnedDrop)]
pub(crate) struct Waiter<'t> {
    links: UnsafeCell<Links>,
    key: UnsafeCell<ManuallyDrop<Owned>>,
    spot: Atomic<*mut u8>,
    mask: u64,
    priority: i32,
    /// The address of the task's mm, which it cannot leave while it waits.
    mm: usize,
    task: *mut bindings::task_struct,
    _table: PhantomData<&'t Bucket>,
    #[pin]
    _pin: PhantomPinned,
}

impl Waiter<'_> {
    /// The current task as a waiter on `key`, met by wakes whose mask shares a bit with `mask`.
    #[inline]
    pub(crate) fn current(key: Owned, mask: u64) -> impl PinInit<Self> {
        // INVARIANT: `spot` is null, and nobody else knows the waiter yet.
        Self::new(key, mask, ptr::null_mut())
    }

    #[inline(always)]
    fn new(key: Owned, mask: u64, spot: *mut u8) -> impl PinInit<Self> {
        pin_init!(Self {
            links: UnsafeCell::new(Links::default()),
            key: UnsafeCell::new(ManuallyDrop::new(key)),
            spot: Atomic::new(spot),
            mask,
            priority: task::current_priority(),
            mm: task::current_mm(),
            task: arch::current(),
            _table: PhantomData,
            _pin: PhantomPinned,
        })
    }

    /// Whether it is in no queue: it was woken, or never queued.
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        // Pairs with the release in `Queue::mark`: what the waker did before is seen.
        arch::load_acquire(&self.spot).is_null()
    }

    /// The key, while it is in no queue.
    pub(crate) fn unqueued_id(&self) -> Option<KeyId> {
        // SAFETY: It is in no queue, and we are its task: a waiter is not `Sync`.
        self.is_woken().then(|| unsafe { self.id() })
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
            let raw = arch::load_acquire(&self.spot);
            // SAFETY: By the type invariants, it is null or a spot in the table that we borrow.
            let Some(spot) = (unsafe { Spot::from_raw(raw) }) else {
                return false;
            };
            let mut queue = spot.bucket().queue.lock();
            if !ptr::eq(self.spot.load(Relaxed), raw) {
                // Woken, or moved elsewhere, while we waited for the lock.
                continue;
            }
            queue.unlink(self);
            // INVARIANT: It is no longer linked.
            self.spot.store(ptr::null_mut(), Relaxed);
            drop(queue);
            spot.left(1);
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
    /// As [`Self::id`].
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
        // SAFETY: The waiter does not move here, it ends here.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: Nobody uses the key after this. It may sleep to let go: we hold no lock.
        unsafe { ManuallyDrop::drop(this.key.get_mut()) };
        #[cfg(RFUTEX_LAB)]
        // SAFETY: By the type invariants nobody else knows the waiter any more, and no field has a
        // destructor that would look at the memory again.
        unsafe {
            crate::lab::poison(ptr::from_mut(this))
        };
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
    #[inline(always)]
    fn link(&mut self, waiter: &Waiter<'_>) {
        // Normal tasks, which are most, go to the end without a search; a real-time task passes
        // only over more urgent ones.
        let next = if waiter.priority < task::NORMAL_PRIORITY {
            self.first_less_urgent(waiter.priority)
        } else {
            None
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
        // SAFETY: `waiter` is not linked yet, and only its own task looks at it.
        unsafe { *waiter.links.get() = Links { prev, next } };
    }

    /// Takes up to `nr` waiters under `id` and meeting `mask` out, marks them as woken and adds their
    /// tasks to `chain`. `None` if `key` no longer holds, which it is asked before the first is
    /// touched.
    #[inline(always)]
    fn wake(
        &mut self,
        id: KeyId,
        mask: u64,
        nr: u32,
        chain: &mut WakeChain,
        key: impl Holds,
    ) -> Option<u32> {
        if nr == 0 {
            return Some(0);
        }
        let mut next = self.first_meeting(self.first, id, mask);
        if next.is_some() && !key.holds() {
            return None;
        }
        let mut woken = 0;
        while let Some(mut waiter) = next {
            // Neighbours go together: the links past them are closed once.
            // SAFETY: A waiter in the queue is alive, and nobody changes its links.
            let before = unsafe { (*waiter.as_ref().links.get()).prev };
            let behind = loop {
                // SAFETY: As above.
                let behind = unsafe { (*waiter.as_ref().links.get()).next };
                // SAFETY: It is in this queue, and what leads to it is not followed any more.
                chain.add(unsafe { Self::mark(waiter.as_ref()) });
                woken += 1;
                match behind {
                    // SAFETY: As above.
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
        Some(woken)
    }

    /// The same for one waiter, whatever its mask. Returns its task.
    #[inline(always)]
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
    #[inline(always)]
    unsafe fn mark(waiter: &Waiter<'_>) -> ARef<Task> {
        // SAFETY: The waiter's task cannot end before the mark.
        let task = unsafe { task::get(waiter.task) };
        // From here on `waiter` may be gone.
        arch::store_release(&waiter.spot, ptr::null_mut());
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

    /// The waiters, in the order of the queue.
    fn waiters(&self) -> impl Iterator<Item = &Waiter<'static>> {
        core::iter::successors(self.first, |waiter| {
            // SAFETY: A waiter in the queue is alive, and while we have the queue nobody changes it.
            unsafe { (*waiter.as_ref().links.get()).next }
        })
        // SAFETY: As above.
        .map(|waiter| unsafe { waiter.as_ref() })
    }
}
