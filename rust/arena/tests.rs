// SPDX-License-Identifier: GPL-2.0

//! Tests of the words in an arena.

use super::*;
use crate::{
    account::TableCharge,
    key::{
        Hold,
        Kind, //
    },
    lab::kunit::{
        attach_mm,
        beside,
        by_page,
        expired,
        is_asleep,
        nobody_waits,
        request,
        until,
        waiting, //
    },
    op::{
        wait::wait,
        wake::wake, //
    },
    table::Table,
    time::Clock,
    word::{
        Location,
        Size, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    sync::Arc, //
};

/// The word of this size at `offset`.
fn word(offset: usize, size: Size) -> Result<Word> {
    Word::new(offset as u64, size, Location::Arena)
}

fn table_with_arena() -> Result<Arc<Table>> {
    let charge = TableCharge::of_current(1)?;
    Table::own(4, Hold::Nothing, Some(Arena::new(1)?), charge)
}

#[kunit_tests(rfutex_arena)]
mod cases {
    use super::*;

    #[test]
    fn words_end_with_the_arena() -> Result {
        let arena = Arena::new(2)?;
        assert_eq!(arena.size(), 2 * PAGE_SIZE);
        for size in [Size::U8, Size::U16, Size::U32, Size::U64] {
            let last = word(arena.size() - size.bytes(), size)?;
            assert!(arena.key(last).is_ok());
            assert!(arena.compare(last, 0).is_ok());
            assert!(arena.update(last, |old| old + 1) == Ok(0));
            assert!(arena.update(last, |old| old - 1) == Ok(1));
            for offset in [arena.size(), arena.size() + 8, usize::MAX - 7] {
                let beyond = word(offset, size)?;
                assert!(arena.key(beyond).err() == Some(EFAULT));
                assert!(arena.compare(beyond, 0).is_err());
                assert!(arena.update(beyond, |_| 1).err() == Some(EFAULT));
            }
        }
        assert!(arena.page(1).is_some());
        for index in [2, 3, usize::MAX / PAGE_SIZE, usize::MAX] {
            assert!(arena.page(index).is_none());
        }
        Ok(())
    }

    #[test]
    fn key_is_the_arena_and_the_offset() -> Result {
        let (one, other) = (Arena::new(1)?, Arena::new(1)?);
        let key = one.key(word(64, Size::U32)?)?;
        assert!(key.kind() == Kind::Arena);
        assert!(key == one.key(word(64, Size::U8)?)?);
        assert!(key != one.key(word(68, Size::U32)?)?);
        assert!(key != other.key(word(64, Size::U32)?)?);
        Ok(())
    }

    #[test]
    fn only_the_word_is_changed() -> Result {
        let arena = Arena::new(1)?;
        let before = 0x8877_6655_4433_2211;
        let whole = word(64, Size::U64)?;
        for size in [Size::U8, Size::U16, Size::U32, Size::U64] {
            let bits = 8 * size.bytes();
            let mask = u64::MAX >> (64 - bits);
            for offset in (0..8).step_by(size.bytes()) {
                assert!(arena.update(whole, |_| before).is_ok());
                let part = word(64 + offset, size)?;
                let there = before >> (8 * offset) & mask;
                assert!(arena.compare(part, there).is_ok());
                assert!(arena.compare(part, there ^ 1).is_err());
                // What the word has no room for is left out.
                assert!(arena.update(part, |old| old.wrapping_sub(there + 1)) == Ok(there));
                let now = before | mask << (8 * offset);
                assert!(arena.compare(whole, now).is_ok());
            }
        }
        assert!(arena.compare(word(56, Size::U64)?, 0).is_ok());
        assert!(arena.compare(word(72, Size::U64)?, 0).is_ok());
        Ok(())
    }

    #[test]
    fn no_address_space_is_needed() -> Result {
        let table = table_with_arena()?;
        let word = word(8, Size::U32)?;
        let context = by_page(&table);
        // No resolver can find anything in a task like this.
        assert!(current!().mm().is_none());
        assert!(wait(context, &request(word, 1)) == Err(EAGAIN));
        let expired = expired(word, 0, Clock::Monotonic);
        assert!(wait(context, &expired) == Err(ETIMEDOUT));
        assert!(wake(context, word, u64::MAX, 1) == Ok(0));
        assert!(context.update(word, |old| old + 1) == Ok(0));
        assert!(context.describe(word).is_ok());
        assert!(nobody_waits(&table));
        assert!(current!().mm().is_none());
        Ok(())
    }

    #[test]
    fn wake_finds_who_waits_at_the_offset() -> Result {
        attach_mm()?;
        let table = table_with_arena()?;
        let word = word(8, Size::U32)?;
        let theirs = table.clone();
        let waiter = beside(move || wait(by_page(&theirs), &request(word, 0)))?;
        until(|| waiting(&table, word) == Ok(1) && is_asleep(waiter.task()))?;
        // The same number as an address is another word.
        let by_address = Word::at(8, Location::PrivateAddress);
        assert!(wake(by_page(&table), by_address, u64::MAX, 1) == Ok(0));
        assert!(wake(by_page(&table), word, u64::MAX, 1) == Ok(1));
        assert!(waiter.join()? == Ok(()));
        Ok(())
    }

    #[test]
    fn table_without_an_arena_has_no_such_words() -> Result {
        let table = Table::new(4, Hold::Nothing)?;
        let word = word(8, Size::U32)?;
        assert!(wait(by_page(&table), &request(word, 0)) == Err(EINVAL));
        assert!(wake(by_page(&table), word, u64::MAX, 1) == Err(EINVAL));
        assert!(by_page(&table).update(word, |_| 1) == Err(EINVAL));
        Ok(())
    }
}
