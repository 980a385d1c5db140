// SPDX-License-Identifier: GPL-2.0

//! Tests of which waiters are woken, in which order, and of the counters when waiters leave.

mod counters;
mod cursor;

use super::*;
use crate::{
    key::{
        Hold,
        Resolver, //
    },
    lab::kunit::{
        attach_mm,
        beside,
        by_page,
        leave_first_processor,
        resolve,
        until,
        usage,
        Access::ReadWrite,
        Mapping,
        Urgency, //
    },
    op,
    table::Table,
    wake_chain::WakeChain,
    word::{
        Location,
        Word, //
    }, //
};
use core::ptr;
use kernel::{
    current,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

const ANY: u64 = u64::MAX;

/// A private word, which has a key whatever is mapped there. Each number is another word.
fn word(number: usize) -> Word {
    Word::at(0x10_0000 + 8 * number, Location::PrivateAddress)
}

/// The key of a word.
fn id(word: Word) -> Result<KeyId> {
    resolve(Resolver::Page, word)
}

pub(super) fn one_bucket() -> Result<Buckets> {
    attach_mm()?;
    Buckets::new(1, GFP_KERNEL)
}

/// Makes a waiter of the current task, which does not really sleep, and queues it.
fn queued<'t>(slot: BucketSlot<'t>, word: Word, mask: u64) -> Result<Pin<KBox<Waiter<'t>>>> {
    let waiter = Waiter::current(OwnedKey::bare(id(word)?), mask, About::new(word, 0), None);
    let waiter = KBox::pin_init(waiter, GFP_KERNEL)?;
    slot.enter().queue(waiter.as_ref());
    Ok(waiter)
}

/// Makes `nr` such waiters on one word.
fn crowd<'t>(slot: BucketSlot<'t>, word: Word, nr: usize) -> Result<KVec<Pin<KBox<Waiter<'t>>>>> {
    let mut waiters = KVec::with_capacity(nr, GFP_KERNEL)?;
    for _ in 0..nr {
        waiters.push(queued(slot, word, ANY)?, GFP_KERNEL)?;
    }
    Ok(waiters)
}

fn wake(slot: BucketSlot<'_>, word: Word, mask: u64, nr: u32) -> Result<u32> {
    let mut chain = WakeChain::new();
    Ok(slot.wake(id(word)?, mask, nr, &mut chain))
}

/// Whether both slots are the same counter in the same bucket.
fn same(one: BucketSlot<'_>, other: BucketSlot<'_>) -> bool {
    ptr::eq(one.bucket, other.bucket) && one.counter == other.counter
}

/// Which of the waiters are in no queue: bit `i` is set if that is true of `waiters[i]`.
fn woken(waiters: &[Pin<KBox<Waiter<'_>>>]) -> u32 {
    let bits = waiters.iter().enumerate();
    bits.map(|(i, waiter)| u32::from(waiter.is_woken()) << i)
        .sum()
}

/// Wakes the waiters one by one. Returns their indices in `waiters`, in the order in which they
/// were woken.
fn order(slot: BucketSlot<'_>, word: Word, waiters: &[Pin<KBox<Waiter<'_>>>]) -> Result<KVec<u32>> {
    let mut order = KVec::new();
    loop {
        let before = woken(waiters);
        match wake(slot, word, ANY, 1)? {
            0 => return Ok(order),
            1 => {
                let new = woken(waiters) ^ before;
                if new.count_ones() != 1 {
                    return Err(EDOM);
                }
                order.push(new.trailing_zeros(), GFP_KERNEL)?;
            }
            _ => return Err(ERANGE),
        }
    }
}

/// Locks the bucket at `slot`, and has a task on another processor do `work` meanwhile.
///
/// Keeps the bucket locked until `condition` returns true, but not for ever. The argument of
/// `condition` tells whether the work is done. Returns whether `condition` returned true before the
/// bucket was unlocked, and the result of the work.
fn while_locked<T: Send + Unpin + 'static>(
    slot: BucketSlot<'_>,
    work: impl FnOnce() -> T + Send + Unpin + 'static,
    condition: impl Fn(bool) -> bool,
) -> Result<(bool, T)> {
    const READY: u32 = 1;
    const LOCKED: u32 = 2;
    const DONE: u32 = 3;
    let state = Arc::new(Atomic::new(0u32), GFP_KERNEL)?;
    let theirs = state.clone();
    let worker = beside(move || {
        leave_first_processor()?;
        theirs.store(READY, Release);
        until(|| theirs.load(Acquire) == LOCKED)?;
        let result = work();
        theirs.store(DONE, Release);
        Ok::<_, Error>(result)
    })?;
    until(|| state.load(Acquire) == READY)?;
    let guard = slot.bucket.queue.lock();
    state.store(LOCKED, Release);
    // The lock is released after a while even if the worker waits for it, so that the test ends.
    let began = Instant::<Monotonic>::now();
    let mut held = false;
    while !held && began.elapsed() < Delta::from_secs(5) {
        core::hint::spin_loop();
        held = condition(state.load(Acquire) == DONE);
    }
    drop(guard);
    Ok((held, worker.join()??))
}

/// Whether a wake on word 0, on which nobody waits, can be carried out while the bucket at `slot`
/// is locked.
fn is_done_while_locked(table: &Arc<Table>, slot: BucketSlot<'_>) -> Result<bool> {
    let theirs = table.clone();
    let wake = move || op::wake::wake(by_page(&theirs), word(0), ANY, u32::MAX);
    match while_locked(slot, wake, |done| done)? {
        (in_time, Ok(0)) => Ok(in_time),
        _ => Err(EDOM),
    }
}

#[kunit_tests(rfutex_queue)]
mod cases {
    use super::*;

    #[test]
    fn first_come_first_served() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        let waiters = crowd(slot, word(0), 6)?;
        assert_eq!(woken(&waiters), 0);
        assert_eq!(slot.nr_waiters(), 6);
        let order = order(slot, word(0), &waiters)?;
        assert_eq!(&*order, &[0, 1, 2, 3, 4, 5]);
        assert_eq!(slot.nr_waiters(), 0);
        Ok(())
    }

    #[test]
    fn priority_is_that_of_the_task() -> Result {
        let fifo = Urgency::Fifo.run(task::current_priority);
        let low = Urgency::FifoLow.run(task::current_priority);
        assert!(0 <= fifo && fifo < low && low < task::NORMAL_PRIORITY);
        for nice in [-20, 0, 19] {
            let priority = Urgency::Nice(nice).run(task::current_priority);
            assert_eq!(priority, task::NORMAL_PRIORITY);
        }
        Ok(())
    }

    #[test]
    fn real_time_tasks_come_first_by_priority() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        let mut waiters = KVec::new();
        for urgency in [
            Urgency::Nice(0),
            Urgency::FifoLow,
            Urgency::Fifo,
            Urgency::Nice(-20),
            Urgency::FifoLow,
            Urgency::Fifo,
            Urgency::Nice(19),
        ] {
            let waiter = urgency.run(|| queued(slot, word(0), ANY))?;
            waiters.push(waiter, GFP_KERNEL)?;
        }
        let order = order(slot, word(0), &waiters)?;
        assert_eq!(&*order, &[2, 5, 1, 4, 0, 3, 6]);
        Ok(())
    }

    #[test]
    fn real_time_task_that_is_no_more_urgent_than_the_last_goes_behind_it() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        let urgencies = [
            Urgency::Fifo,
            Urgency::Fifo,
            Urgency::FifoLow,
            Urgency::FifoLow,
        ];
        let mut waiters = KVec::new();
        for urgency in urgencies {
            let waiter = urgency.run(|| queued(slot, word(0), ANY))?;
            waiters.push(waiter, GFP_KERNEL)?;
        }
        let order = order(slot, word(0), &waiters)?;
        assert_eq!(&*order, &[0, 1, 2, 3]);
        Ok(())
    }

    #[test]
    fn real_time_task_passes_others_on_other_words() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        let strangers = crowd(slot, word(1), 2)?;
        let normal = queued(slot, word(0), ANY)?;
        let urgent = Urgency::Fifo.run(|| queued(slot, word(0), ANY))?;
        assert_eq!(wake(slot, word(0), ANY, 1)?, 1);
        assert!(urgent.is_woken());
        assert!(!normal.is_woken());
        assert_eq!(woken(&strangers), 0);
        Ok(())
    }

    #[test]
    fn as_many_as_asked_for() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        let waiters = crowd(slot, word(0), 8)?;
        assert_eq!(wake(slot, word(0), ANY, 0)?, 0);
        assert_eq!(woken(&waiters), 0);
        assert_eq!(wake(slot, word(0), ANY, 3)?, 3);
        assert_eq!(woken(&waiters), 0b111);
        assert_eq!(slot.nr_waiters(), 5);
        assert_eq!(wake(slot, word(0), ANY, i32::MAX as u32 + 1)?, 5);
        assert_eq!(woken(&waiters), 0xff);
        assert_eq!(wake(slot, word(0), ANY, u32::MAX)?, 0);
        assert_eq!(slot.nr_waiters(), 0);
        Ok(())
    }

    #[test]
    fn masks_have_to_meet() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        let mut waiters = KVec::new();
        for mask in [1, 2, 3, 1 << 63, ANY] {
            waiters.push(queued(slot, word(0), mask)?, GFP_KERNEL)?;
        }
        assert_eq!(wake(slot, word(0), 4, 0)?, 0);
        assert_eq!(wake(slot, word(0), 2, 1)?, 1);
        assert_eq!(woken(&waiters), 0b00010);
        assert_eq!(wake(slot, word(0), 1 << 63, 1)?, 1);
        assert_eq!(woken(&waiters), 0b01010);
        assert_eq!(wake(slot, word(0), 1, u32::MAX)?, 3);
        assert_eq!(woken(&waiters), 0b11111);
        Ok(())
    }

    #[test]
    fn one_key_at_a_time() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        let memory = Mapping::anonymous(1, ReadWrite)?;
        // There are three keys in one bucket. Two of them have the same address.
        let words = [memory.word(8), memory.private_word(8), memory.word(16)];
        let mut waiters = KVec::new();
        for i in 0..6 {
            waiters.push(queued(slot, words[i % 3], ANY)?, GFP_KERNEL)?;
        }
        for (i, word) in words.into_iter().enumerate() {
            let id = id(word)?;
            assert_eq!(slot.lock().count(id), 2);
            assert_eq!(wake(slot, word, ANY, u32::MAX)?, 2);
            assert_eq!(slot.lock().count(id), 0);
            assert_eq!(woken(&waiters), 0b001001 * ((2 << i) - 1));
        }
        assert_eq!(slot.nr_waiters(), 0);
        Ok(())
    }

    #[test]
    fn who_leaves_is_gone_and_the_others_keep_their_order() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        // The waiter that leaves is the first, one in the middle, and the last.
        for leaver in [0, 2, 4] {
            let waiters = crowd(slot, word(0), 5)?;
            let id = id(word(0))?;
            assert!(waiters[leaver].leave());
            assert!(waiters[leaver].is_woken());
            assert!(!waiters[leaver].leave());
            assert_eq!(slot.lock().count(id), 4);
            assert_eq!(slot.nr_waiters(), 4);
            let order = order(slot, word(0), &waiters)?;
            let expected = (0..5).filter(|&i| i as usize != leaver);
            assert!(order.iter().copied().eq(expected));
            assert_eq!(slot.nr_waiters(), 0);
        }
        Ok(())
    }

    #[test]
    fn the_only_one_leaves_an_empty_queue() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        for _ in 0..2 {
            let waiter = queued(slot, word(0), ANY)?;
            assert!(waiter.leave());
            assert_eq!(slot.nr_waiters(), 0);
            let queue = slot.bucket.queue.lock();
            let empty = queue.is_empty();
            drop(queue);
            assert!(empty);
        }
        Ok(())
    }

    #[test]
    fn who_was_woken_cannot_leave() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        let waiter = queued(slot, word(0), ANY)?;
        assert_eq!(wake(slot, word(0), ANY, 1)?, 1);
        assert!(!waiter.leave());
        assert_eq!(slot.nr_waiters(), 0);
        Ok(())
    }

    #[test]
    fn waiter_that_goes_is_taken_out() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        let mut waiters = crowd(slot, word(0), 3)?;
        drop(waiters.remove(1));
        assert_eq!(slot.nr_waiters(), 2);
        let order = order(slot, word(0), &waiters)?;
        assert_eq!(&*order, &[0, 1]);
        Ok(())
    }

    #[test]
    fn who_comes_and_goes_is_counted_in_and_out() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        let entry = slot.enter();
        let inside = slot.nr_waiters();
        drop(entry);
        assert_eq!(inside, 1);
        assert_eq!(slot.nr_waiters(), 0);
        Ok(())
    }

    #[test]
    fn wake_that_finds_nobody_takes_no_lock() -> Result {
        attach_mm()?;
        let table = Table::new(1, Hold::Inode)?;
        let here = table.slot(id(word(0))?);
        // At first nobody waits at all. Then there is a waiter that is counted by another counter
        // of the bucket.
        assert!(is_done_while_locked(&table, here)?);
        let elsewhere = (1..100)
            .map(word)
            .find(|&word| id(word).is_ok_and(|id| !same(table.slot(id), here)))
            .ok_or(EDOM)?;
        let slot = table.slot(id(elsewhere)?);
        let other = queued(slot, elsewhere, ANY)?;
        assert!(is_done_while_locked(&table, here)?);
        assert!(!other.is_woken());
        Ok(())
    }

    #[test]
    fn two_buckets_are_locked_in_the_order_of_their_addresses() -> Result {
        attach_mm()?;
        let second = NR_COUNTERS as u64;
        for order in [[0, second], [second, 0]] {
            let buckets = Arc::new(Buckets::new(2, GFP_KERNEL)?, GFP_KERNEL)?;
            let theirs = buckets.clone();
            let lock_both = move || {
                let [from, to] = order.map(|hash| theirs.at_hash(hash));
                drop(Pair::lock(from, to));
            };
            // A task that waits for the second lock must already hold the first.
            let first_is_locked = |_| buckets.at_hash(0).bucket.queue.try_lock().is_none();
            let (right, ()) = while_locked(buckets.at_hash(second), lock_both, first_is_locked)?;
            assert!(right);
        }
        Ok(())
    }

    #[test]
    fn tasks_are_given_back() -> Result {
        let buckets = one_bucket()?;
        let slot = buckets.at_hash(0);
        let before = usage(current!());
        let waiters = crowd(slot, word(0), 3)?;
        let while_queued = usage(current!());
        assert_eq!(wake(slot, word(0), ANY, u32::MAX)?, 3);
        drop(waiters);
        assert_eq!(while_queued, before);
        assert_eq!(usage(current!()), before);
        Ok(())
    }
}
