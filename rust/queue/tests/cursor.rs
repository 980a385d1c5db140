// SPDX-License-Identifier: GPL-2.0

//! Tests of cursors: how much they look at in a step, whom they find, and that nobody else notices
//! them.

use super::*;
use crate::{
    mm::{
        pid::{
            self,
            Pid, //
        },
        time, //
    },
    queue::cursor::{
        Cursor,
        STEP, //
    }, //
};

/// A table with one bucket.
fn table() -> Result<Arc<Table>> {
    attach_mm()?;
    Table::new(1, Hold::Inode)
}

/// A cursor at the beginning of `table`.
fn cursor(table: &Arc<Table>) -> Result<Pin<KBox<Cursor>>> {
    KBox::pin_init(Cursor::new(table.clone()), GFP_KERNEL)
}

/// Room for what a step finds.
fn room() -> Result<KVec<Seen>> {
    Ok(KVec::with_capacity(STEP, GFP_KERNEL)?)
}

/// Whether somebody waits or marks a place in the bucket of `slot`.
fn is_empty(slot: BucketSlot<'_>) -> bool {
    slot.bucket.queue.lock().is_empty()
}

/// The masks of all whom `cursor` finds from here on, and the number of steps that this takes. Calls
/// `between` after each step.
fn masks(
    cursor: &Pin<KBox<Cursor>>,
    mut between: impl FnMut(usize) -> Result,
) -> Result<(KVec<u64>, usize)> {
    let (mut masks, mut steps) = (KVec::new(), 0);
    let mut seen = room()?;
    while cursor.as_ref().step(&mut seen) {
        if seen.len() > STEP {
            return Err(E2BIG);
        }
        for waiter in &seen {
            masks.push(waiter.mask, GFP_KERNEL)?;
        }
        seen.clear();
        between(steps)?;
        steps += 1;
        if steps > 100 {
            return Err(ELOOP);
        }
    }
    Ok((masks, steps))
}

/// Queues waiters whose masks are those in `masks`.
fn with_masks<'t>(
    slot: BucketSlot<'t>,
    masks: core::ops::Range<u64>,
) -> Result<KVec<Pin<KBox<Waiter<'t>>>>> {
    let mut waiters = KVec::new();
    for mask in masks {
        waiters.push(queued(slot, word(0), mask)?, GFP_KERNEL)?;
    }
    Ok(waiters)
}

/// Whether `masks` are the numbers from `first` on.
fn count_up(masks: &[u64], first: u64) -> bool {
    (first..)
        .zip(masks)
        .all(|(expected, &mask)| mask == expected)
}

#[kunit_tests(rfutex_cursor)]
mod tests {
    use super::*;

    #[test]
    fn step_is_short_however_many_wait() -> Result {
        let table = table()?;
        let slot = table.slot(id(word(0))?);
        for nr in [1, 63, 64, 65, 128, 300] {
            let waiters = with_masks(slot, 1..nr + 1)?;
            let (masks, steps) = masks(&cursor(&table)?, |_| Ok(()))?;
            assert_eq!(masks.len(), nr as usize);
            assert!(count_up(&masks, 1));
            // The last step finds the end, perhaps behind nobody.
            assert_eq!(steps, nr as usize / STEP + 1);
            drop(waiters);
            assert!(is_empty(slot));
        }
        Ok(())
    }

    #[test]
    fn those_who_come_later_are_not_looked_at() -> Result {
        let table = table()?;
        let slot = table.slot(id(word(0))?);
        let waiters = with_masks(slot, 1..201)?;
        let mut later = KVec::new();
        let (masks, steps) = masks(&cursor(&table)?, |_| {
            later.push(with_masks(slot, 1000..1000 + STEP as u64)?, GFP_KERNEL)?;
            Ok(())
        })?;
        assert_eq!((masks.len(), steps), (200, 4));
        assert!(count_up(&masks, 1));
        drop((waiters, later));
        assert!(is_empty(slot));
        Ok(())
    }

    #[test]
    fn urgent_ones_who_come_later_are_passed_over() -> Result {
        let table = table()?;
        let slot = table.slot(id(word(0))?);
        // The first step ends among the urgent ones, so that those who come later queue behind it.
        let before = Urgency::Fifo.run(|| with_masks(slot, 1..81))?;
        let waiters = with_masks(slot, 81..101)?;
        let mut later = KVec::new();
        let (masks, _) = masks(&cursor(&table)?, |step| {
            if step < 3 {
                let now = time::jiffies();
                until(|| time::jiffies() != now)?;
                let urgent = Urgency::Fifo.run(|| with_masks(slot, 1000..1010))?;
                later.push(urgent, GFP_KERNEL)?;
            }
            Ok(())
        })?;
        assert_eq!(masks.len(), 100);
        assert!(count_up(&masks, 1));
        drop((before, waiters, later));
        Ok(())
    }

    #[test]
    fn ages_are_those_of_one_moment() -> Result {
        let table = table()?;
        let waiters = with_masks(table.slot(id(word(0))?), 1..101)?;
        let cursor = cursor(&table)?;
        let mut seen = room()?;
        let mut ages = KVec::new();
        for _ in 0..2 {
            while cursor.as_ref().step(&mut seen) {
                for waiter in seen.drain_all() {
                    ages.push(waiter.age, GFP_KERNEL)?;
                }
                let now = time::jiffies();
                until(|| time::jiffies() > now + 1)?;
            }
            cursor.as_ref().rewind();
        }
        // The first has come first.
        let (before, after) = ages.split_at(100);
        assert!(before.is_sorted_by(|one, other| one >= other));
        assert!(after.is_sorted_by(|one, other| one >= other));
        assert!(after[99] > before[99]);
        drop(waiters);
        Ok(())
    }

    #[test]
    fn urgent_ones_are_found_first() -> Result {
        let table = table()?;
        let slot = table.slot(id(word(0))?);
        let normal = with_masks(slot, 11..101)?;
        let urgent = Urgency::Fifo.run(|| with_masks(slot, 1..11))?;
        let (masks, _) = masks(&cursor(&table)?, |_| Ok(()))?;
        assert_eq!(masks.len(), 100);
        assert!(count_up(&masks, 1));
        drop((normal, urgent));
        Ok(())
    }

    #[test]
    fn those_who_have_left_are_not_found() -> Result {
        let table = table()?;
        let slot = table.slot(id(word(0))?);
        let waiters = with_masks(slot, 1..201)?;
        let mut nr = 0;
        let (masks, _) = masks(&cursor(&table)?, |step| {
            // The neighbours of the marker leave, on both sides of it, and all others but some.
            if step == 0 {
                for waiter in &waiters[30..190] {
                    nr += u32::from(waiter.leave());
                }
            }
            Ok(())
        })?;
        assert_eq!(nr, 160);
        assert_eq!(masks.len(), 64 + 10);
        assert!(count_up(&masks[..64], 1) && count_up(&masks[64..], 191));
        drop(waiters);
        assert!(is_empty(slot));
        Ok(())
    }

    #[test]
    fn markers_are_nobody() -> Result {
        let table = table()?;
        let slot = table.slot(id(word(0))?);
        let (one, other) = (cursor(&table)?, cursor(&table)?);
        let waiters = crowd(slot, word(0), 200)?;
        let mut seen = room()?;
        for cursor in [&one, &other] {
            assert!(cursor.as_ref().step(&mut seen));
            seen.clear();
        }
        let id = id(word(0))?;
        assert_eq!(slot.lock().count(id), 200);
        assert!(slot.lock().has_more_than(id, 199) && !slot.lock().has_more_than(id, 200));
        assert_eq!(slot.nr_waiters(), 200);
        assert_eq!(slot.lock().count(KeyId::NONE), 4);
        // One by one, and many at once, are woken in order.
        for (index, waiter) in waiters.iter().enumerate().take(100) {
            assert_eq!(wake(slot, word(0), ANY, 1)?, 1);
            assert!(waiter.is_woken() && !waiters[index + 1].is_woken());
        }
        assert_eq!(wake(slot, word(0), ANY, u32::MAX)?, 100);
        assert!(waiters.iter().all(|waiter| waiter.is_woken()));
        assert_eq!(slot.nr_waiters(), 0);
        assert!(slot.is_empty() && !table.anybody_waits());
        // The markers are left, until the cursors go.
        assert!(!is_empty(slot));
        drop(one);
        assert_eq!(slot.lock().count(KeyId::NONE), 2);
        assert!(other.as_ref().step(&mut seen));
        assert!(seen.is_empty() && is_empty(slot));
        assert!(!other.as_ref().step(&mut seen));
        Ok(())
    }

    #[test]
    fn markers_keep_the_order() -> Result {
        let table = table()?;
        let slot = table.slot(id(word(0))?);
        let mut waiters = Urgency::Fifo.run(|| with_masks(slot, 1..2))?;
        for waiter in with_masks(slot, 3..103)? {
            waiters.push(waiter, GFP_KERNEL)?;
        }
        let cursor = cursor(&table)?;
        let mut seen = room()?;
        // Once with both markers at the ends, and once with one of them between the others.
        for _ in 0..2 {
            for waiter in Urgency::Fifo.run(|| with_masks(slot, 2..3))? {
                waiters.push(waiter, GFP_KERNEL)?;
            }
            for waiter in with_masks(slot, 103..104)? {
                waiters.push(waiter, GFP_KERNEL)?;
            }
            assert!(cursor.as_ref().step(&mut seen));
            seen.clear();
        }
        let queue = slot.bucket.queue.lock();
        let key = id(word(0))?;
        // SAFETY: The nodes are in the queue, which is locked.
        let mut masks = queue.under(key).map(|node| unsafe { node.as_ref() }.mask);
        let mut before = 0;
        let in_order = masks.all(|mask| core::mem::replace(&mut before, mask) <= mask);
        drop(masks);
        drop(queue);
        assert!(in_order);
        assert_eq!(before, 103);
        drop(waiters);
        Ok(())
    }

    #[test]
    fn cursor_goes_through_all_buckets() -> Result {
        attach_mm()?;
        let table = Table::new(8, Hold::Inode)?;
        let mut waiters = KVec::new();
        for number in 0..100 {
            let slot = table.slot(id(word(number))?);
            let mask = 1 << (number % 60);
            waiters.push(queued(slot, word(number), mask)?, GFP_KERNEL)?;
        }
        let cursor = cursor(&table)?;
        for _ in 0..3 {
            let (masks, steps) = masks(&cursor, |_| Ok(()))?;
            assert_eq!((masks.len(), steps), (100, 8));
            for bit in 0..60 {
                let expected = if bit < 40 { 2 } else { 1 };
                let found = masks.iter().filter(|&&mask| mask == 1 << bit).count();
                assert_eq!(found, expected);
            }
            cursor.as_ref().rewind();
        }
        Ok(())
    }

    #[test]
    fn rewound_in_the_middle_of_a_bucket() -> Result {
        let table = table()?;
        let slot = table.slot(id(word(0))?);
        let waiters = with_masks(slot, 1..101)?;
        let cursor = cursor(&table)?;
        let mut seen = room()?;
        assert!(cursor.as_ref().step(&mut seen));
        assert_eq!(slot.lock().count(KeyId::NONE), 2);
        cursor.as_ref().rewind();
        assert_eq!(slot.lock().count(KeyId::NONE), 0);
        let (masks, _) = masks(&cursor, |_| Ok(()))?;
        assert!(masks.len() == 100 && count_up(&masks, 1));
        drop(waiters);
        Ok(())
    }

    #[test]
    fn pid_is_kept_as_long_as_what_was_seen() -> Result {
        let table = table()?;
        let slot = table.slot(id(word(0))?);
        let waiters = crowd(slot, word(0), 10)?;
        let pid = Pid::current_thread();
        let (before, tasks) = (pid.references(), usage(current!()));
        let cursor = cursor(&table)?;
        let mut seen = room()?;
        assert!(cursor.as_ref().step(&mut seen));
        assert_eq!(seen.len(), 10);
        assert_eq!(pid.references(), before + 10);
        assert!(seen.iter().all(|waiter| waiter.who.pid.is_current_thread()));
        let task = seen[0].who.pid.find_task(pid::Kind::Thread);
        assert!(task.is_some() && usage(current!()) == tasks + 1);
        drop(task);
        seen.clear();
        assert_eq!(pid.references(), before);
        assert_eq!(usage(current!()), tasks);
        drop(waiters);
        Ok(())
    }
}
