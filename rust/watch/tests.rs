// SPDX-License-Identifier: GPL-2.0

//! Tests of what becomes of watches when they are met, read and removed.

use super::{
    read::Batch,
    set::{
        close,
        remove,
        NewWatch, //
    },
    *, //
};
use crate::{
    bindings::rfutex_event,
    key::{
        Hold,
        Kind,
        Resolver, //
    },
    lab::kunit::{
        attach_mm,
        nobody_waits, //
    },
    table::Table, //
};
use kernel::sync::Arc;

/// A key that all tests here use.
fn key() -> KeyId {
    KeyId::made_up(Kind::Inode, 1 << 61 | 4711, 64)
}

/// A table with one bucket, and an empty set.
fn empty() -> Result<(Arc<Table>, Arc<Set>)> {
    attach_mm()?;
    let table = Table::new(1, Hold::Inode)?;
    let set = Set::new(table.clone(), Resolver::Page)?;
    Ok((table, set))
}

/// Adds a watch on the key. Returns its id.
fn armed(set: &Arc<Set>, cookie: u64, repeat: bool) -> Result<u64> {
    let watch = NewWatch::insert(
        set.as_arc_borrow(),
        u64::MAX,
        cookie,
        repeat,
        About::made_up(),
    )?;
    let id = watch.id;
    watch
        .queue_if(key(), || Ok::<_, ()>(()))
        .map_err(|_| EDOM)?;
    Ok(id)
}

/// Wakes up to `nr` waiters on the key.
fn wake(table: &Table, nr: u32) -> u32 {
    table
        .slot(key())
        .wake(key(), u64::MAX, nr, &mut WakeChain::new())
}

/// Up to `nr` events of the set.
fn taken(set: &Set, nr: usize) -> Batch<'_> {
    let mut batch = Batch::new(set);
    batch.take(nr);
    batch
}

/// The events of a batch.
fn events<'a>(batch: &'a Batch<'_>) -> impl Iterator<Item = &'a rfutex_event> {
    batch.events()
}

/// Reads up to 16 events. Returns their cookies, each times 16, plus how often the watch was woken.
fn read(set: &Set) -> [u64; 4] {
    let mut batch = taken(set, 4);
    let mut seen = [0; 4];
    let nr = events(&batch)
        .zip(&mut seen)
        .map(|(event, seen)| *seen = 16 * event.cookie + event.woken)
        .count();
    batch.pretend(nr);
    batch.finish();
    seen
}

#[kunit_tests(rfutex_watch)]
mod all {
    use super::*;

    #[test]
    fn watch_that_was_met_and_read_is_freed() -> Result {
        let (table, set) = empty()?;
        let id = armed(&set, 1, false)?;
        assert_eq!(table.slot(key()).nr_waiters(), 1);
        assert_eq!(read(&set), [0; 4]);
        assert_eq!(wake(&table, 9), 1);
        assert!(nobody_waits(&table));
        assert_eq!(set.nr_watches(), 1);
        assert_eq!(read(&set), [0x11, 0, 0, 0]);
        assert_eq!(set.nr_watches(), 0);
        assert!(remove(&set, id) == Err(ENOENT));
        Ok(())
    }

    #[test]
    fn watch_that_repeats_stays_counted() -> Result {
        let (table, set) = empty()?;
        let ids = [armed(&set, 1, true)?, armed(&set, 2, true)?];
        armed(&set, 3, false)?;
        assert_eq!(wake(&table, 1), 1);
        assert_eq!(table.slot(key()).nr_waiters(), 3);
        // The first one is the last one now.
        assert_eq!(wake(&table, 2), 2);
        assert_eq!(table.slot(key()).nr_waiters(), 2);
        assert_eq!(read(&set), [0x11, 0x21, 0x31, 0]);
        assert_eq!(wake(&table, u32::MAX), 2);
        assert_eq!(wake(&table, u32::MAX), 2);
        assert_eq!(read(&set), [0x12, 0x22, 0, 0]);
        for id in ids {
            assert!(remove(&set, id) == Ok(0));
        }
        assert!(nobody_waits(&table));
        assert_eq!(set.nr_watches(), 0);
        Ok(())
    }

    #[test]
    fn nobody_is_met_twice_under_one_lock() -> Result {
        let (table, set) = empty()?;
        armed(&set, 1, true)?;
        armed(&set, 2, true)?;
        let mut chain = WakeChain::new();
        let mut locked = table.slot(key()).lock();
        let met = [1, 1, 1].map(|nr| locked.wake(key(), u64::MAX, nr, &mut chain));
        drop(locked);
        drop(chain);
        assert_eq!(met, [1, 1, 0]);
        assert_eq!(read(&set), [0x11, 0x21, 0, 0]);
        let mut pair = table.pair(key(), key());
        let mut chain = WakeChain::new();
        let met = [
            pair.wake_from(key(), 1, &mut chain),
            pair.wake_to(key(), 9, &mut chain),
        ];
        drop(pair);
        drop(chain);
        assert_eq!(met, [1, 1]);
        assert_eq!(read(&set), [0x11, 0x21, 0, 0]);
        assert_eq!(wake(&table, 9), 2);
        // SAFETY: Nobody else uses the set.
        unsafe { close(&set) };
        assert!(nobody_waits(&table));
        Ok(())
    }

    #[test]
    fn what_is_not_read_comes_first_again() -> Result {
        let (table, set) = empty()?;
        for cookie in 1..4 {
            armed(&set, cookie, false)?;
        }
        assert_eq!(wake(&table, 9), 3);
        let mut batch = taken(&set, 4);
        armed(&set, 4, false)?;
        assert_eq!(wake(&table, 9), 1);
        batch.pretend(1);
        assert!(batch.finish());
        drop(taken(&set, 2));
        assert_eq!(read(&set), [0x21, 0x31, 0x41, 0]);
        assert!(!taken(&set, 4).finish());
        assert_eq!(set.nr_watches(), 0);
        Ok(())
    }

    #[test]
    fn what_is_met_while_it_is_read_is_read_again() -> Result {
        let (table, set) = empty()?;
        let id = armed(&set, 1, true)?;
        assert_eq!(wake(&table, 1), 1);
        let mut batch = taken(&set, 4);
        batch.pretend(1);
        for _ in 0..2 {
            assert_eq!(wake(&table, 1), 1);
            // It is not in the list while it is being read.
            assert!(taken(&set, 4).is_empty());
        }
        assert!(batch.finish());
        assert_eq!(read(&set), [0x12, 0, 0, 0]);
        assert!(remove(&set, id) == Ok(0));
        Ok(())
    }

    #[test]
    fn what_is_removed_while_it_is_read_is_read_nevertheless() -> Result {
        let (table, set) = empty()?;
        for (repeat, read_once, left) in [(false, true, 0), (false, false, 0), (true, true, 1)] {
            let id = armed(&set, 1, repeat)?;
            assert_eq!(wake(&table, 1), 1);
            let mut batch = taken(&set, 4);
            batch.pretend(usize::from(read_once));
            if repeat {
                assert_eq!(wake(&table, 1), 1);
            }
            assert!(remove(&set, id) == Err(ENOENT));
            assert!(remove(&set, id) == Err(ENOENT));
            assert!(nobody_waits(&table));
            assert_eq!(batch.finish(), left == 1 || !read_once);
            let event = read(&set);
            assert_eq!(event[0], if left == 1 || !read_once { 0x11 } else { 0 });
            assert_eq!(set.nr_watches(), 0);
        }
        Ok(())
    }

    #[test]
    fn watch_that_was_met_is_removed_with_its_event() -> Result {
        let (table, set) = empty()?;
        let ids = [armed(&set, 1, false)?, armed(&set, 2, false)?];
        assert_eq!(wake(&table, 9), 2);
        assert!(remove(&set, ids[0]) == Ok(1));
        assert!(remove(&set, ids[0]) == Err(ENOENT));
        assert_eq!(read(&set), [0x21, 0, 0, 0]);
        assert_eq!(set.nr_watches(), 0);
        Ok(())
    }

    #[test]
    fn watch_that_is_not_queued_is_not_known() -> Result {
        let (table, set) = empty()?;
        let watch = NewWatch::insert(set.as_arc_borrow(), u64::MAX, 1, false, About::made_up())?;
        assert_eq!(set.nr_watches(), 1);
        assert!(remove(&set, watch.id) == Err(ENOENT));
        assert_eq!(wake(&table, 9), 0);
        drop(watch);
        assert_eq!(set.nr_watches(), 0);
        Ok(())
    }

    #[test]
    fn slot_that_is_used_again_has_another_id() -> Result {
        let (_, set) = empty()?;
        let first = armed(&set, 1, false)?;
        assert!(remove(&set, first) == Ok(0));
        let second = armed(&set, 1, false)?;
        assert_eq!(first as u32, second as u32);
        assert!(first != second);
        assert!(remove(&set, first) == Err(ENOENT));
        assert!(remove(&set, second) == Ok(0));
        Ok(())
    }

    #[test]
    fn set_outlives_its_file_until_its_pollers_are_woken() -> Result {
        let (table, set) = empty()?;
        armed(&set, 1, false)?;
        armed(&set, 2, false)?;
        let (mut first, mut second) = (WakeChain::new(), WakeChain::new());
        let slot = table.slot(key());
        assert_eq!(slot.wake(key(), u64::MAX, 1, &mut first), 1);
        // The set is in a list already.
        assert_eq!(slot.wake(key(), u64::MAX, 1, &mut second), 1);
        drop(second);
        // SAFETY: Nobody else uses the set.
        unsafe { close(&set) };
        assert_eq!(set.nr_watches(), 0);
        let set = Arc::into_unique_or_drop(set);
        assert!(set.is_none());
        drop(first);
        assert!(nobody_waits(&table));
        Ok(())
    }
}
