// SPDX-License-Identifier: GPL-2.0

//! Tests of which slots are used, and that each value is dropped once.

use super::*;
use crate::lab::{
    kunit::{
        charged_allocations,
        forced, //
    },
    Point, //
};
use kernel::sync::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    Arc, //
};

/// A value that counts that it is dropped.
struct Value {
    number: u32,
    dropped: Arc<Atomic<u32>>,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Relaxed);
    }
}

/// An index of values, and how many of these were dropped.
struct Fixture {
    index: Pin<KBox<Index<Value>>>,
    dropped: Arc<Atomic<u32>>,
}

impl Fixture {
    fn new(last: u32) -> Result<Self> {
        Ok(Self {
            index: KBox::pin_init(Index::new(last), GFP_KERNEL)?,
            dropped: Arc::new(Atomic::new(0), GFP_KERNEL)?,
        })
    }

    fn value(&self, number: u32) -> Result<Owned<Value>> {
        let dropped = self.dropped.clone();
        Ok(KBox::pin(Value { number, dropped }, GFP_KERNEL)?)
    }

    /// Inserts a value with this number. Returns its slot.
    fn insert(&self, number: u32) -> Result<u32> {
        let (slot, value) = self.index.insert(self.value(number)?)?;
        if self.index.get(slot) != Some(value) {
            return Err(ENOENT);
        }
        Ok(slot)
    }

    /// The number of the value in the slot.
    fn number(&self, slot: u32) -> Option<u32> {
        // SAFETY: Only the test case uses the index, and it erases nothing during this call.
        self.index
            .get(slot)
            .map(|value| unsafe { value.as_ref() }.number)
    }

    fn dropped(&self) -> u32 {
        self.dropped.load(Relaxed)
    }
}

#[kunit_tests(rfutex_index)]
mod cases {
    use super::*;

    #[test]
    fn slots_are_dense_and_used_again() -> Result {
        let fixture = Fixture::new(u32::MAX)?;
        for slot in 0..200 {
            assert_eq!(fixture.insert(1000 + slot)?, slot);
        }
        for slot in [199, 7, 64, 0] {
            let erased = fixture.index.erase(slot).map(|value| value.number);
            assert_eq!(erased, Some(1000 + slot));
        }
        assert_eq!(fixture.dropped(), 4);
        assert_eq!(
            [0, 1, 64, 199, 200].map(|slot| fixture.number(slot)),
            [None, Some(1001), None, None, None]
        );
        for slot in [0, 7, 64, 199, 200] {
            assert_eq!(fixture.insert(slot)?, slot);
        }
        assert_eq!(fixture.number(64), Some(64));
        assert_eq!(fixture.number(65), Some(1065));
        Ok(())
    }

    #[test]
    fn value_is_taken_out_once() -> Result {
        let fixture = Fixture::new(u32::MAX)?;
        let slot = fixture.insert(1)?;
        let first = fixture.index.erase(slot);
        let second = fixture.index.erase(slot);
        assert!(second.is_none());
        assert!(fixture.index.erase(u32::MAX).is_none());
        // It belongs to the caller now.
        assert_eq!(fixture.dropped(), 0);
        assert_eq!(first.map(|value| value.number), Some(1));
        assert_eq!(fixture.dropped(), 1);
        Ok(())
    }

    #[test]
    fn last_slot_is_the_last() -> Result {
        let fixture = Fixture::new(2)?;
        for slot in 0..3 {
            assert_eq!(fixture.insert(slot)?, slot);
        }
        assert_eq!(fixture.insert(3).err(), Some(ENOSPC));
        assert_eq!(fixture.dropped(), 1);
        let found = fixture.index.iter().count();
        assert_eq!(found, 3);
        drop(fixture.index.erase(1));
        assert_eq!(fixture.insert(4)?, 1);
        Ok(())
    }

    #[test]
    fn all_are_met_in_order_while_some_are_erased() -> Result {
        let fixture = Fixture::new(u32::MAX)?;
        for number in 0..300 {
            fixture.insert(number)?;
        }
        let mut met = 0;
        for (slot, value) in fixture.index.iter() {
            // SAFETY: The value is still in the index, because only those that were met before are
            // erased.
            let number = unsafe { value.as_ref() }.number;
            assert_eq!((slot, number), (met, met));
            // Those that were met go, but for each third one.
            if slot % 3 != 0 {
                drop(fixture.index.erase(slot));
            }
            met += 1;
        }
        assert_eq!(met, 300);
        assert_eq!(fixture.dropped(), 200);
        let all_thirds = fixture.index.iter().all(|(slot, _)| slot % 3 == 0);
        assert!(all_thirds);
        let left = fixture.index.iter().count();
        assert_eq!(left, 100);
        Ok(())
    }

    #[test]
    fn empty_index_has_nothing() -> Result {
        let fixture = Fixture::new(u32::MAX)?;
        assert!(fixture.index.get(0).is_none());
        assert!(fixture.index.iter().next().is_none());
        assert!(fixture.index.drain().next().is_none());
        assert!(fixture.index.erase(0).is_none());
        Ok(())
    }

    #[test]
    fn what_is_drained_belongs_to_the_caller() -> Result {
        let fixture = Fixture::new(u32::MAX)?;
        for number in 0..130 {
            fixture.insert(number)?;
        }
        let mut next = 0;
        for value in fixture.index.drain().take(100) {
            assert_eq!(value.number, next);
            next += 1;
            drop(value);
            assert_eq!(fixture.dropped(), next);
        }
        let left = fixture.index.iter().count();
        assert_eq!(left, 30);
        assert_eq!(fixture.number(100), Some(100));
        Ok(())
    }

    #[test]
    fn what_is_left_is_dropped_with_the_index() -> Result {
        let fixture = Fixture::new(u32::MAX)?;
        for number in 0..130 {
            fixture.insert(number)?;
        }
        drop(fixture.index.erase(5));
        let dropped = fixture.dropped.clone();
        drop(fixture);
        assert_eq!(dropped.load(Relaxed), 130);
        Ok(())
    }

    #[test]
    fn without_memory_nothing_is_inserted() -> Result {
        let fixture = Fixture::new(u32::MAX)?;
        let (inserted, hits) = forced(Point::Allocate, 1, || fixture.insert(1));
        assert_eq!(inserted.err(), Some(ENOMEM));
        assert_eq!(hits, 1);
        assert_eq!(fixture.dropped(), 1);
        assert!(fixture.index.iter().next().is_none());
        assert_eq!(fixture.insert(2)?, 0);
        Ok(())
    }

    #[test]
    fn memory_is_charged() -> Result {
        let fixture = Fixture::new(u32::MAX)?;
        let mut values = KVec::new();
        for number in 0..65 {
            values.push(fixture.value(number)?, GFP_KERNEL)?;
        }
        let (inserted, charged) = charged_allocations(|| {
            values
                .drain_all()
                .try_for_each(|value| fixture.index.insert(value).map(|_| ()))
        })?;
        inserted?;
        // A node has 64 slots, so there are two of them now, and one above these.
        assert!(charged >= 3);
        Ok(())
    }
}
