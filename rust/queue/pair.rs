// SPDX-License-Identifier: GPL-2.0

//! Two spots at once: for operations that wake on two words, or move waiters between them.

use super::{
    Counted,
    Queue,
    Spot,
    Waiter, //
};
use crate::{
    key::{
        KeyId,
        Owned, //
    },
    mm::{
        slot::Slot,
        spinlock::{
            lock_second,
            SpinLockGuard, //
        },
        task, //
    },
    wake_chain::{
        Tasks,
        WakeChain, //
    },
};
use core::ptr;
use kernel::sync::atomic::Relaxed;

/// Two spots, with their buckets locked, which may be one.
///
/// Both locks are of one class, and taken in the order of the buckets' addresses.
pub(crate) struct Pair<'t> {
    from: Side<'t>,
    to: Side<'t>,
}

/// A spot, its bucket's lock unless the other side has it, and how many waiters came to it or left.
struct Side<'t> {
    spot: Spot<'t>,
    queue: Option<SpinLockGuard<'t, Queue>>,
    change: i32,
}

/// Locks the queues of both, the second unless it is the first one's.
#[inline(always)]
fn lock_both<'t>(
    from: Spot<'t>,
    to: Spot<'t>,
) -> (SpinLockGuard<'t, Queue>, Option<SpinLockGuard<'t, Queue>>) {
    let (from, to) = (from.bucket(), to.bucket());
    if ptr::eq(from, to) {
        (from.queue.lock(), None)
    } else if ptr::from_ref(from) < ptr::from_ref(to) {
        let first = from.queue.lock();
        (first, Some(lock_second(&to.queue)))
    } else {
        let first = to.queue.lock();
        (lock_second(&from.queue), Some(first))
    }
}

impl<'t> Pair<'t> {
    /// Locks both. `to` counts a waiter more until the pair is dropped.
    ///
    /// That count goes up before the locks are taken: a wake on `to` that comes while waiters are
    /// on their way must not find the spot empty (kernel/futex/requeue.c). Who reads a word after
    /// this, to queue there, has (A) of [`super`] from it.
    pub(crate) fn lock(from: Spot<'t>, to: Spot<'t>) -> Self {
        to.coming(1);
        let (first, second) = lock_both(from, to);
        Self {
            from: Side {
                spot: from,
                queue: Some(first),
                change: 0,
            },
            to: Side {
                spot: to,
                queue: second,
                change: -1,
            },
        }
    }

    /// Wakes up to `nr` waiters under `id`, which must belong to the first spot.
    pub(crate) fn wake_from(
        &mut self,
        id: KeyId,
        mask: u64,
        nr: u32,
        chain: &mut WakeChain,
    ) -> u32 {
        let woken = wake(self.from.queue.as_mut(), id, mask, nr, chain);
        self.from.change -= woken as i32;
        woken
    }

    /// Wakes up to `nr` waiters under `id`, which must belong to the second spot.
    pub(crate) fn wake_to(&mut self, id: KeyId, mask: u64, nr: u32, chain: &mut WakeChain) -> u32 {
        // Where both are in one bucket, the first has the lock.
        let queue = self.to.queue.as_mut().or(self.from.queue.as_mut());
        let woken = wake(queue, id, mask, nr, chain);
        self.to.change -= woken as i32;
        woken
    }

    /// Whether moving waiters from `from` to `to`, after `skip` of them, would make one of another
    /// process hold what it could end up with: this process's memory, or a file system other than
    /// that of its own word, which may end in whoever holds it last.
    pub(crate) fn would_burden(&mut self, from: &Owned, to: &Owned, skip: u32, nr: u32) -> bool {
        if let (Some(from), Some(to)) = (from.inode(), to.inode()) {
            if from.is_on_superblock_of(to) {
                return false;
            }
        }
        let mm = task::current_mm();
        let moved = |queue: &Queue| {
            queue
                .waiters()
                // SAFETY: We have the queue that it is in.
                .filter(|waiter| unsafe { waiter.id() } == from.id())
                .skip(skip as usize)
                .take(nr as usize)
                .any(|waiter| waiter.mm != mm)
        };
        self.from.queue.as_deref().is_some_and(moved)
    }

    /// Moves up to `nr` waiters from the word `from` to the word `to`, behind those that wait there
    /// and are as urgent. Each gives its references for those of the new key: all of them plain
    /// counting, since the caller owns both keys.
    pub(crate) fn move_waiters(&mut self, from: &Owned, to: &Owned, nr: u32) -> u32 {
        let mut moved = 0;
        let mut next = self.from.queue.as_ref().and_then(|queue| queue.first);
        while let Some(waiter) = next {
            if moved == nr {
                break;
            }
            // SAFETY: A waiter in a queue is alive.
            let waiter = unsafe { waiter.as_ref() };
            // SAFETY: We have the queue, so nobody changes its links.
            next = unsafe { &*waiter.links.get() }.next;
            // SAFETY: As above.
            if unsafe { waiter.id() } != from.id() {
                continue;
            }
            moved += 1;
            if from.id() == to.id() {
                // To itself: it stays where it is.
                continue;
            }
            // SAFETY: We have the queue that it is in, so nobody looks at the key.
            let key = unsafe { &mut *waiter.key.get() };
            key.replace(from, to);
            if let Some(queue) = &mut self.from.queue {
                queue.unlink(waiter);
            }
            let destination = self.to.queue.as_mut().or(self.from.queue.as_mut());
            if let Some(queue) = destination {
                queue.link(waiter);
            }
            // INVARIANT: It is linked into the queue of this spot's bucket, whose lock we hold.
            waiter.spot.store(self.to.spot.as_raw(), Relaxed);
            self.from.change -= 1;
            self.to.change += 1;
        }
        moved
    }
}

fn wake(
    queue: Option<&mut SpinLockGuard<'_, Queue>>,
    id: KeyId,
    mask: u64,
    nr: u32,
    chain: &mut WakeChain,
) -> u32 {
    queue
        .and_then(|queue| queue.wake(id, mask, nr, chain, || true))
        .unwrap_or(0)
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        // A spot never counts less than it has: up before the locks are released, down after.
        for side in [&self.from, &self.to] {
            if side.change > 0 {
                side.spot.coming(side.change);
            }
        }
        self.to.queue = None;
        self.from.queue = None;
        for side in [&self.from, &self.to] {
            if side.change < 0 {
                side.spot.left(-side.change);
            }
        }
    }
}

/// A stay at one spot, as [`Entry`](super::Entry) is, with the bucket of another locked as well, to
/// wake one who waits there.
pub(crate) struct Exchange<'t> {
    /// The lock of the spot to wake at.
    from: SpinLockGuard<'t, Queue>,
    /// That of the other, if it is another.
    to: Option<SpinLockGuard<'t, Queue>>,
    spot: Spot<'t>,
    counted: Counted<'t>,
}

impl<'t> Exchange<'t> {
    /// Counts the caller as a waiter in `to`, then locks both.
    ///
    /// # Context
    ///
    /// Does not sleep. No other bucket may be locked.
    #[inline(always)]
    pub(crate) fn enter(from: Spot<'t>, to: Spot<'t>) -> Self {
        // (A) of the queue.
        let counted = Counted::new(to);
        let (first, second) = lock_both(from, to);
        Self {
            from: first,
            to: second,
            spot: from,
            counted,
        }
    }

    /// Takes one waiter under `id`, which must belong to the first spot, out of its queue; makes
    /// the current task a waiter on `key`, as [`Waiter::current`] does, and queues it at the second
    /// spot; then unlocks both. Returns whom to wake.
    #[inline(always)]
    pub(crate) fn swap(
        self,
        id: KeyId,
        slot: &mut Slot<'_, Waiter<'t>>,
        key: Owned,
        mask: u64,
    ) -> Tasks {
        let Self {
            mut from,
            mut to,
            spot,
            counted,
        } = self;
        let woken = from.wake_one(id);
        // INVARIANT: It is linked into the queue of this spot's bucket, whose lock we hold.
        let waiter = slot.fill(Waiter::new(key, mask, counted.keep()));
        match &mut to {
            Some(to) => to.link(&waiter),
            None => from.link(&waiter),
        }
        drop((from, to));
        let Some(task) = woken else {
            return Tasks::none();
        };
        spot.left(1);
        Tasks::one(task)
    }
}
