// SPDX-License-Identifier: GPL-2.0

//! Tests of which words are marked, who is woken, and when the words are looked through.

use super::*;
use crate::{
    account::TableCharge,
    key::Hold,
    lab::kunit::{
        attach_mm,
        beside,
        is_asleep,
        request,
        until,
        waiting, //
    },
    op::wait::wait, //
};
use kernel::{
    page::PAGE_SIZE,
    sync::atomic::Relaxed,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// Ids that no thread has: those who are said to have them have ended.
const ENDED: u64 = 0x3fed_cba9_8765_4321;
const ENDED_TOO: u64 = 1;

const SHIFT: u32 = uapi::RFUTEX_ROBUST_SHIFT;
const WAITERS: u64 = uapi::RFUTEX_ROBUST_WAITERS as u64;
const DIED: u64 = uapi::RFUTEX_ROBUST_DIED as u64;

/// The first `nr` words of an arena of one page as robust words.
fn robust(nr: usize) -> Result<Arc<DelayedWork<Robust>>> {
    let charge = TableCharge::of_current(1)?;
    let table = Table::own(4, Hold::Nothing, Some(Arena::new(1)?), charge)?;
    Robust::new(table, nr * Size::U64.bytes())
}

fn member(robust: &Arc<DelayedWork<Robust>>, id: u64) -> Result<Member> {
    Ok(Member {
        id,
        marked: Atomic::new(0),
        robust: robust.clone(),
        _charge: Handle::of_current()?.charge()?,
    })
}

/// Deals with members that have these `ids`. Whoever is no thread with its id has ended.
fn bury(robust: &Arc<DelayedWork<Robust>>, ids: &[u64]) -> Result {
    let mut members = robust.members.lock();
    for &id in ids {
        let notice = Notice::new(Pid::current_thread(), member(robust, id)?);
        members.push(KBox::pin_init(notice, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    robust.bury(&mut members);
    Ok(())
}

/// Gives the word with this `index` a value.
fn set(robust: &Robust, index: usize, value: u64) -> Result {
    let arena = robust.table.arena().ok_or(EINVAL)?;
    arena.update(word(index)?, |_| value).map(|_| ())
}

fn get(robust: &Robust, index: usize) -> Option<u64> {
    robust.table.arena()?.load(word(index).ok()?)
}

#[kunit_tests(rfutex_robust)]
mod cases {
    use super::*;

    #[test]
    fn only_words_with_the_id_are_marked() -> Result {
        let robust = robust(64)?;
        let own = ENDED << SHIFT;
        let cases = [
            // What the owner knows of those who wait stays; what it knows of the dead before it
            // does not matter any more.
            (own, DIED),
            (own | WAITERS, DIED | WAITERS),
            (own | DIED, DIED),
            (own | DIED | WAITERS, DIED | WAITERS),
            (ENDED_TOO << SHIFT, DIED),
            // Nobody has these.
            (0, 0),
            (WAITERS, WAITERS),
            (DIED, DIED),
            (DIED | WAITERS, DIED | WAITERS),
        ];
        // Somebody else has these: each bit of the id counts, and no other value is near enough.
        let others = [ENDED, own << 1, own >> 1, u64::MAX];
        let nearest = (SHIFT..64).map(|bit| own ^ 1 << bit);
        for (index, (before, after)) in cases.into_iter().enumerate() {
            set(&robust, index, before)?;
            bury(&robust, &[ENDED_TOO, ENDED])?;
            assert!(get(&robust, index) == Some(after));
        }
        for value in Iterator::chain(others.into_iter(), nearest) {
            set(&robust, 60, value)?;
            bury(&robust, &[ENDED])?;
            assert!(get(&robust, 60) == Some(value));
        }
        // The words that were marked were marked once.
        for (index, (_, after)) in cases.into_iter().enumerate() {
            assert!(get(&robust, index) == Some(after));
        }
        Ok(())
    }

    #[test]
    fn all_words_of_the_part_are_marked_and_no_others() -> Result {
        let nr_words = PAGE_SIZE / Size::U64.bytes();
        // Cache lines have eight words each.
        for nr in [
            1,
            2,
            7,
            8,
            9,
            15,
            16,
            17,
            63,
            64,
            65,
            nr_words - 1,
            nr_words,
        ] {
            let robust = robust(nr)?;
            assert_eq!(robust.size(), 8 * nr);
            for index in 0..nr_words {
                set(&robust, index, ENDED << SHIFT | index as u64 & 1)?;
            }
            bury(&robust, &[ENDED])?;
            for index in 0..nr_words {
                let bits = index as u64 & 1;
                let id = if index < nr { DIED } else { ENDED << SHIFT };
                assert!(get(&robust, index) == Some(id | bits));
            }
        }
        Ok(())
    }

    #[test]
    fn each_word_alone_is_found() -> Result {
        let robust = robust(21)?;
        for index in 0..21 {
            set(&robust, index, ENDED << SHIFT)?;
            bury(&robust, &[ENDED])?;
            assert!(get(&robust, index) == Some(DIED));
            set(&robust, index, 0)?;
        }
        Ok(())
    }

    #[test]
    fn many_end_at_once() -> Result {
        let robust = robust(64)?;
        // In no order, with one that has no word, and without one that has.
        let ended = [90, 7, 1 << 61, 12, 8, 500, 3];
        for (index, id) in [3, 7, 8, 9, 12, 90, 1 << 61].into_iter().enumerate() {
            set(&robust, index, id << SHIFT)?;
        }
        bury(&robust, &ended)?;
        for index in 0..7 {
            let expected = if index == 3 { 9 << SHIFT } else { DIED };
            assert!(get(&robust, index) == Some(expected));
        }
        assert!(robust.members.lock().is_empty());
        Ok(())
    }

    #[test]
    fn words_of_those_who_live_are_left_alone() -> Result {
        let robust = robust(8)?;
        let (own, _) = owner::current_ids()?;
        Robust::join(&robust)?;
        // Twice is no more than once.
        Robust::join(&robust)?;
        assert_eq!(robust.members.lock().len(), 1);
        set(&robust, 0, own << SHIFT)?;
        set(&robust, 1, ENDED << SHIFT)?;
        bury(&robust, &[ENDED])?;
        assert!(get(&robust, 0) == Some(own << SHIFT));
        assert!(get(&robust, 1) == Some(DIED));
        assert_eq!(robust.members.lock().len(), 1);
        Robust::close(&robust);
        assert!(robust.members.lock().is_empty());
        assert!(get(&robust, 0) == Some(own << SHIFT));
        Ok(())
    }

    #[test]
    fn those_who_would_sleep_on_are_woken() -> Result {
        attach_mm()?;
        let robust = robust(16)?;
        let values = [
            // The dead one's: both are woken.
            (ENDED << SHIFT | WAITERS, 2),
            // Free, and one that a dead one has left: one is.
            (0, 1),
            (DIED, 1),
            // Somebody has it and does not know of those who wait: one is.
            (5 << SHIFT, 1),
            // Somebody has it and knows: none is.
            (5 << SHIFT | WAITERS, 0),
        ];
        for (value, nr_woken) in values {
            let index = 15;
            set(&robust, index, value)?;
            let start = || {
                let theirs = robust.clone();
                beside(move || wait(theirs.context(), &request(word(index)?, value)))
            };
            let waiters = [start()?, start()?];
            let here = word(index)?;
            let asleep = || waiters.iter().all(|waiter| is_asleep(waiter.task()));
            until(|| waiting(&robust.table, here) == Ok(2) && asleep())?;
            bury(&robust, &[ENDED])?;
            let left = waiting(&robust.table, here)?;
            let rest = wake(robust.context(), here, u64::MAX, u32::MAX)?;
            for waiter in waiters {
                assert!(waiter.join()? == Ok(()));
            }
            assert_eq!((left, rest), (2 - nr_woken, 2 - nr_woken));
        }
        Ok(())
    }

    #[test]
    fn many_ends_do_not_put_the_walk_off() -> Result {
        let table = Table::new(4, Hold::Nothing)?;
        let robust = Robust::new(table, 64)?;
        let member = member(&robust, 1)?;
        member.hear();
        let begun = Instant::<Monotonic>::now();
        let mut walked = false;
        // Each of these ends comes well within a tick of the one before it.
        while !walked && begun.elapsed() < Delta::from_millis(5000) {
            walked = !robust.told.load(Relaxed);
            if !walked {
                member.hear();
            }
        }
        Robust::close(&robust);
        assert!(walked);
        Ok(())
    }
}
