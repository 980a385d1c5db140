// SPDX-License-Identifier: GPL-2.0

//! Two buckets that are locked at the same time, for operations that wake on two words, or move
//! waiters from one to the other.

use super::{
    bucket::Counted,
    list::{
        Met,
        Queue, //
    },
    BucketSlot,
    Kind,
    Node,
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
    watch::{
        self,
        What, //
    },
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
    /// The waiters on the first and on the second slot that were met and stay queued. They join
    /// their queues again only when the locks are about to be released, so that nobody meets one
    /// twice, not even if both slots are the same.
    again: [Queue; 2],
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

/// The queue of the second bucket. If both slots are in the same bucket, it is the first guard that
/// has the queue.
#[inline]
fn second<'a>(
    from: &'a mut SpinLockGuard<'_, Queue>,
    to: &'a mut Option<SpinLockGuard<'_, Queue>>,
) -> &'a mut Queue {
    match to {
        Some(queue) => queue,
        None => from,
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
            again: Default::default(),
        }
    }

    /// Marks up to `nr` waiters whose key is `id` as woken, and adds their tasks to `chain`.
    /// Returns their number. `id` must belong to the first slot.
    pub(crate) fn wake_from(&mut self, id: KeyId, nr: u32, chain: &mut WakeChain) -> u32 {
        let met = self
            .from_queue
            .wake(id, u64::MAX, nr, chain, &mut self.again[0]);
        self.from.waiters_dec(met.gone as i32);
        met.nr
    }

    /// Marks up to `nr` waiters whose key is `id` as woken, and adds their tasks to `chain`.
    /// Returns their number. `id` must belong to the second slot.
    pub(crate) fn wake_to(&mut self, id: KeyId, nr: u32, chain: &mut WakeChain) -> u32 {
        let queue = second(&mut self.from_queue, &mut self.to_queue);
        let met = queue.wake(id, u64::MAX, nr, chain, &mut self.again[1]);
        self.to.waiters_dec(met.gone as i32);
        met.nr
    }

    /// What kinds of waiters of other processes there are among the first `nr` waiters whose key is
    /// `id`, not counting the first `skip` of them. `id` must belong to the first slot.
    pub(crate) fn foreign(&self, id: KeyId, skip: u32, nr: u32) -> impl Iterator<Item = Kind> + '_ {
        let mm = task::current_mm_number();
        self.from_queue
            .under(id)
            .skip(skip as usize)
            .take(nr as usize)
            // SAFETY: The node is in the queue, which is borrowed, so it is alive.
            .map(|node| unsafe { &*node.as_ptr() })
            .filter(move |node| node.mm() != mm)
            .map(Node::kind)
    }

    /// Moves up to `nr` waiters from the key `from` to the key `to`, and returns their number. They
    /// are queued behind the waiters that are already there and are at least as urgent.
    ///
    /// A watch that stays queued after a wake is not moved. It is told instead that it would have
    /// been, and its set is added to `chain`.
    ///
    /// `from` must belong to the first slot, and `to` to the second. The references that a waiter
    /// holds are exchanged as well. This does not sleep, because the caller owns both keys: neither
    /// is a reference that is given back the last one, nor can taking a new one fail.
    pub(crate) fn move_waiters(
        &mut self,
        from: &OwnedKey,
        to: &OwnedKey,
        nr: u32,
        chain: &mut WakeChain,
    ) -> u32 {
        if from.id() == to.id() {
            // To move waiters to their own word changes nothing. They only have to be counted.
            return self.from_queue.under(from.id()).take(nr as usize).count() as u32;
        }
        let mut met = Met::default();
        let mut next = self.from_queue.first;
        while let Some(link) = next {
            if met.nr == nr {
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
            // SAFETY: The node is in the queue of the first bucket.
            unsafe { self.from_queue.unlink(node) };
            met.add(node.kind() != Kind::RepeatedWatch);
            match node.kind() {
                // SAFETY: The node is that of a task, and is in the queue of the first bucket,
                // whose lock this pair holds. No other reference to what the task holds is in use.
                Kind::Task => unsafe { Waiter::held(link) }.exchange(from, to),
                Kind::Watch | Kind::Marker => {}
                #[cfg(CONFIG_IO_URING)]
                Kind::Request => {}
                Kind::RepeatedWatch => {
                    // SAFETY: The node is that of a watch, and was just taken out of a queue whose
                    // lock is still held. It is not marked, so it stays valid.
                    unsafe {
                        watch::meet(link, What::Moved, chain);
                        self.again[0].link(link);
                    }
                    continue;
                }
            }
            // SAFETY: The node was in the queue of the first bucket, whose lock this pair holds,
            // and is moved to the slot of the new key at once.
            unsafe { node.set_id(to.id()) };
            node.set_moved();
            // SAFETY: The node was just taken out of a queue whose lock is still held, so that it
            // is alive, and nobody else accesses its links.
            unsafe { second(&mut self.from_queue, &mut self.to_queue).link(link) };
            node.linked_at(self.to);
        }
        // Both counters change while the buckets are locked, and the one goes up before the other
        // goes down.
        self.to.waiters_inc(met.gone as i32);
        self.from.waiters_dec(met.gone as i32);
        met.nr
    }
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        let [from, to] = &mut self.again;
        self.from_queue.append(from);
        second(&mut self.from_queue, &mut self.to_queue).append(to);
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
    /// Returns how many were woken: 0 or 1.
    ///
    /// `id` must belong to the first slot, and `waiter`, which must be in no queue, to the second.
    #[inline]
    pub(crate) fn swap(self, id: KeyId, waiter: Pin<&Waiter<'t>>, chain: &mut WakeChain) -> u32 {
        let Self {
            slot,
            counted,
            mut from,
            mut to,
        } = self;
        // A waiter can be in one queue at a time only.
        if kernel::warn_on!(!waiter.is_woken()) {
            return 0;
        }
        let mut again = Queue::default();
        let met = from.wake_one(id, u64::MAX, chain, &mut again);
        from.append(&mut again);
        slot.waiters_dec(met.gone as i32);
        // SAFETY: The waiter is in no queue, and this is its task. It stays alive until it has left
        // the queue, because its destructor leaves it.
        unsafe { to.as_mut().unwrap_or(&mut from).link(waiter.as_node()) };
        waiter.node.linked_at(counted.keep());
        met.nr
    }
}
