// SPDX-License-Identifier: GPL-2.0

//! Two buckets that are locked at the same time, for operations that wake on two words, or move
//! waiters from one to the other.

use super::{
    bucket::Counted,
    BucketSlot,
    Kind,
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
    wake_chain::WakeChain,
};
use core::{
    pin::Pin,
    ptr, //
};
use kernel::sync::lock::spinlock::SpinLockGuard;

/// Two slots whose buckets are locked. Both may be in the same bucket.
///
/// The two locks are of the same lockdep class, and are taken in the order of the buckets'
/// addresses.
pub(crate) struct Pair<'t> {
    from: BucketSlot<'t>,
    to: BucketSlot<'t>,
    // The guards are dropped after `drop` has run, so that it changes the counter under the lock.
    from_queue: SpinLockGuard<'t, Queue>,
    /// The lock of the second bucket; `None` if it is the same bucket as the first.
    to_queue: Option<SpinLockGuard<'t, Queue>>,
}

/// Locks the buckets of both slots. Returns the two guards; `None` in place of the second one if it
/// is the same bucket.
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
    /// Locks the buckets of both slots. Until the pair is dropped, the counter of `to` counts one
    /// waiter more than there are.
    ///
    /// This counter goes up before the locks are taken, so that a wake on `to` that happens while
    /// waiters are being moved there does not find the slot empty. kernel/futex/requeue.c does the
    /// same for the same reason. Implies a full barrier after that, which is (A) of queue.rs.
    ///
    /// Only [`Buckets::pair`](super::Buckets::pair) may use this. A waiter must not be moved to
    /// another table, because that table might be freed before the waiter is dropped.
    ///
    /// # Context
    ///
    /// Does not sleep. The caller must not hold the lock of any bucket.
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

    /// The queue of the second bucket. If both slots are in the same bucket, it is the first guard
    /// that has the queue.
    #[inline]
    fn second_queue(&mut self) -> &mut Queue {
        match &mut self.to_queue {
            Some(queue) => queue,
            None => &mut self.from_queue,
        }
    }

    /// Marks up to `nr` waiters whose key is `id` as woken, and adds their tasks to `chain`.
    /// Returns their number. `id` must belong to the first slot.
    pub(crate) fn wake_from(&mut self, id: KeyId, nr: u32, chain: &mut WakeChain) -> u32 {
        let woken = self.from_queue.wake(id, u64::MAX, nr, chain);
        self.from.waiters_dec(woken as i32);
        woken
    }

    /// Marks up to `nr` waiters whose key is `id` as woken, and adds their tasks to `chain`.
    /// Returns their number. `id` must belong to the second slot.
    pub(crate) fn wake_to(&mut self, id: KeyId, nr: u32, chain: &mut WakeChain) -> u32 {
        let woken = self.second_queue().wake(id, u64::MAX, nr, chain);
        self.to.waiters_dec(woken as i32);
        woken
    }

    /// Whether there are tasks of other processes among the first `nr` waiters whose key is `id`,
    /// not counting the first `skip` of them. `id` must belong to the first slot.
    pub(crate) fn any_foreign(&self, id: KeyId, skip: u32, nr: u32) -> bool {
        let mm = task::current_mm_number();
        self.from_queue
            .under(id)
            .skip(skip as usize)
            .take(nr as usize)
            // SAFETY: The node is in the queue, which is borrowed, so it is alive.
            .any(|node| !unsafe { node.as_ref() }.is_of(mm))
    }

    /// Moves up to `nr` waiters from the key `from` to the key `to`, and returns their number. They
    /// are queued behind the waiters that are already there and are at least as urgent.
    ///
    /// `from` must belong to the first slot, and `to` to the second. The references that a waiter
    /// holds are exchanged as well. This does not sleep, because the caller owns both keys: neither
    /// is a reference that is given back the last one, nor can taking a new one fail.
    pub(crate) fn move_waiters(&mut self, from: &OwnedKey, to: &OwnedKey, nr: u32) -> u32 {
        if from.id() == to.id() {
            // To move waiters to their own word changes nothing. They only have to be counted.
            return self.from_queue.under(from.id()).take(nr as usize).count() as u32;
        }
        let mut moved = 0;
        let mut next = self.from_queue.first;
        while let Some(link) = next {
            if moved == nr {
                break;
            }
            // SAFETY: The node is in the queue, so it is alive.
            let node = unsafe { link.as_ref() };
            // SAFETY: The links of a node in the queue change only under the bucket's lock, which
            // this pair holds.
            next = unsafe { &*node.links.get() }.next;
            // SAFETY: The node is in the queue of the first bucket, whose lock this pair holds.
            if unsafe { node.id() } != from.id() {
                continue;
            }
            moved += 1;
            match node.kind() {
                // SAFETY: The node is that of a task, and is in the queue of the first bucket,
                // whose lock this pair holds. No other reference to what the task holds is in use.
                Kind::Task => unsafe { Waiter::held(link) }.exchange(from, to),
            }
            // SAFETY: The node is in the queue of the first bucket, whose lock this pair holds, and
            // is moved to the slot of the new key at once.
            unsafe { node.set_id(to.id()) };
            self.from_queue.unlink(node);
            // SAFETY: The node was just taken out of a queue whose lock is still held, so that it
            // is alive, and nobody else accesses its links.
            unsafe { self.second_queue().link(link) };
            node.linked_at(self.to);
        }
        // Both counters change while the buckets are locked, and the one goes up before the other
        // goes down.
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

/// Two locked buckets. In one of them, the caller is already counted as a waiter, but not yet
/// queued, as with an [`Entry`](super::Entry). In the other, it is going to wake a waiter.
pub(crate) struct Exchange<'t> {
    /// Where to wake a waiter.
    slot: BucketSlot<'t>,
    // This is dropped before the locks, so that the counter goes down while its bucket is locked.
    counted: Counted<'t>,
    /// The lock of the bucket in which to wake a waiter.
    from: SpinLockGuard<'t, Queue>,
    /// The lock of the bucket in which to queue the caller; `None` if it is the same bucket.
    to: Option<SpinLockGuard<'t, Queue>>,
}

impl<'t> Exchange<'t> {
    /// Counts the caller as a waiter at `to`, then locks the buckets of both slots.
    ///
    /// # Context
    ///
    /// Does not sleep. The caller must not hold the lock of any bucket.
    #[inline]
    pub(crate) fn enter(from: BucketSlot<'t>, to: BucketSlot<'t>) -> Self {
        // This has barrier (A) of queue.rs, so the caller reads the word only after it.
        let counted = Counted::new(to);
        let (first, second) = lock_both(from, to);
        Self {
            slot: from,
            counted,
            from: first,
            to: second,
        }
    }

    /// Takes one waiter whose key is `id` out of its queue and marks it as woken, queues `waiter`
    /// at the second slot, and unlocks both buckets. Adds whom the caller has to wake to `chain`.
    ///
    /// `id` must belong to the first slot, and `waiter`, which must be in no queue, to the second.
    #[inline]
    pub(crate) fn swap(self, id: KeyId, waiter: Pin<&Waiter<'t>>, chain: &mut WakeChain) {
        let Self {
            slot,
            counted,
            mut from,
            mut to,
        } = self;
        // A waiter can be in one queue at a time only.
        if kernel::warn_on!(!waiter.is_woken()) {
            return;
        }
        if from.wake_one(id, u64::MAX, chain) {
            slot.waiters_dec(1);
        }
        // SAFETY: The waiter is in no queue, and this is its task. It stays alive until it has left
        // the queue, because its destructor leaves it.
        unsafe { to.as_mut().unwrap_or(&mut from).link(waiter.as_node()) };
        waiter.node.linked_at(counted.keep());
    }
}
