// SPDX-License-Identifier: GPL-2.0

//! Two buckets at once: for operations that wake on two words, or move waiters between them.

use super::{
    bucket::Counted,
    BucketSlot,
    Queue,
    Waiter, //
};
use crate::{
    key::{
        KeyId,
        OwnedKey, //
    },
    mm::{
        spinlock::lock_nested,
        task, //
    },
    wake_chain::{
        Tasks,
        WakeChain, //
    },
};
use core::{
    pin::Pin,
    ptr, //
};
use kernel::sync::lock::spinlock::SpinLockGuard;

/// Two slots, with their buckets locked, which may be one.
///
/// Both locks are of one class, and taken in the order of the buckets' addresses.
pub(crate) struct Pair<'t> {
    from: BucketSlot<'t>,
    to: BucketSlot<'t>,
    // The counts change while the buckets are locked: the guards are dropped after `drop` has run.
    from_queue: SpinLockGuard<'t, Queue>,
    /// The lock of the second bucket, unless it is the first.
    to_queue: Option<SpinLockGuard<'t, Queue>>,
}

/// Locks the queues of both, the second unless it is the first one's.
#[inline]
fn lock_both<'t>(
    from: BucketSlot<'t>,
    to: BucketSlot<'t>,
) -> (SpinLockGuard<'t, Queue>, Option<SpinLockGuard<'t, Queue>>) {
    let (from, to) = (from.bucket, to.bucket);
    if ptr::eq(from, to) {
        (from.queue.lock(), None)
    } else if ptr::from_ref(from) < ptr::from_ref(to) {
        let first = from.queue.lock();
        (first, Some(lock_nested(&to.queue)))
    } else {
        let first = to.queue.lock();
        (lock_nested(&from.queue), Some(first))
    }
}

impl<'t> Pair<'t> {
    /// Locks both. `to` counts a waiter more until the pair is dropped.
    ///
    /// That count goes up before the locks are taken: a wake on `to` that comes while waiters are
    /// on their way must not find the slot empty (kernel/futex/requeue.c). Whoever reads a word after
    /// this, to queue there, has (A) of [`super`] from it.
    ///
    /// For [`Buckets::pair`](super::Buckets::pair) only: waiters must not be moved from one table to
    /// another, which might end before they do.
    pub(super) fn lock(from: BucketSlot<'t>, to: BucketSlot<'t>) -> Self {
        to.waiters_inc(1);
        let (from_queue, to_queue) = lock_both(from, to);
        Self {
            from,
            to,
            from_queue,
            to_queue,
        }
    }

    /// The queue of the second bucket. Where both are one, the first has the lock.
    #[inline]
    fn second_queue(&mut self) -> &mut Queue {
        match &mut self.to_queue {
            Some(queue) => queue,
            None => &mut self.from_queue,
        }
    }

    /// Wakes up to `nr` waiters under `id`, which must belong to the first slot.
    pub(crate) fn wake_from(&mut self, id: KeyId, nr: u32, chain: &mut WakeChain) -> u32 {
        let woken = self.from_queue.wake(id, u64::MAX, nr, chain);
        self.from.waiters_dec(woken as i32);
        woken
    }

    /// Wakes up to `nr` waiters under `id`, which must belong to the second slot.
    pub(crate) fn wake_to(&mut self, id: KeyId, nr: u32, chain: &mut WakeChain) -> u32 {
        let woken = self.second_queue().wake(id, u64::MAX, nr, chain);
        self.to.waiters_dec(woken as i32);
        woken
    }

    /// Whether one of the `nr` waiters under `id` that come after the first `skip` is of another
    /// process than the caller.
    pub(crate) fn any_foreign(&self, id: KeyId, skip: u32, nr: u32) -> bool {
        let mm = task::current_mm();
        self.from_queue
            .under(id)
            .skip(skip as usize)
            .take(nr as usize)
            .any(|waiter| waiter.mm != mm)
    }

    /// Moves up to `nr` waiters from the word `from` to the word `to`, behind those that wait there
    /// and are as urgent. Each gives what it holds for what the new key holds: that is plain
    /// counting, since the caller owns both keys.
    pub(crate) fn move_waiters(&mut self, from: &OwnedKey, to: &OwnedKey, nr: u32) -> u32 {
        if from.id() == to.id() {
            // To the word itself: they are counted, and stay where they are.
            return self.from_queue.under(from.id()).take(nr as usize).count() as u32;
        }
        let mut moved = 0;
        let mut next = self.from_queue.first;
        while let Some(waiter) = next {
            if moved == nr {
                break;
            }
            // SAFETY: A waiter in a queue is alive.
            let waiter = unsafe { waiter.as_ref() };
            // SAFETY: We have the queue, so nobody changes its links.
            next = unsafe { &*waiter.links.get() }.next;
            // SAFETY: We have the queue that it is in.
            if unsafe { waiter.id() } != from.id() {
                continue;
            }
            moved += 1;
            // SAFETY: We have the queue that it is in, so nobody else looks at the key.
            let key = unsafe { &mut *waiter.key.get() };
            key.replace(from, to);
            self.from_queue.unlink(waiter);
            self.second_queue().link(waiter);
            waiter.linked_at(self.to);
        }
        // Up on the one side before down on the other. Both while the buckets are locked.
        self.to.waiters_inc(moved as i32);
        self.from.waiters_dec(moved as i32);
        moved
    }
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        self.to.waiters_dec(1);
    }
}

/// A stay in front of a bucket, as [`Entry`](super::Entry) is, with another bucket locked as well, to
/// wake one who waits there.
pub(crate) struct Exchange<'t> {
    slot: BucketSlot<'t>,
    // Dropped before the locks, so that the count goes down while the queue is locked.
    counted: Counted<'t>,
    /// The lock of the bucket to wake in.
    from: SpinLockGuard<'t, Queue>,
    /// That of the other, if it is another.
    to: Option<SpinLockGuard<'t, Queue>>,
}

impl<'t> Exchange<'t> {
    /// Counts the caller as a waiter in `to`, then locks both.
    ///
    /// # Context
    ///
    /// Does not sleep. No other bucket may be locked.
    #[inline]
    pub(crate) fn enter(from: BucketSlot<'t>, to: BucketSlot<'t>) -> Self {
        // (A) of the queue.
        let counted = Counted::new(to);
        let (first, second) = lock_both(from, to);
        Self {
            slot: from,
            counted,
            from: first,
            to: second,
        }
    }

    /// Takes one waiter under `id`, which must belong to the first slot, out of its queue; queues
    /// `waiter` at the second slot; then unlocks both. Returns whom to wake.
    #[inline]
    pub(crate) fn swap(self, id: KeyId, waiter: Pin<&Waiter<'t>>) -> Tasks {
        let Self {
            slot,
            counted,
            mut from,
            mut to,
        } = self;
        // A waiter can be in one queue only.
        if kernel::warn_on!(!waiter.is_woken()) {
            return Tasks::none();
        }
        let woken = from.wake_one(id);
        to.as_mut().unwrap_or(&mut from).link(&waiter);
        waiter.linked_at(counted.keep());
        match woken {
            Some(task) => {
                slot.waiters_dec(1);
                Tasks::one(task)
            }
            None => Tasks::none(),
        }
    }
}
