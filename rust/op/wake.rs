// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKE`, and the wakes whose argument is the address.

use crate::{
    key,
    mm::task,
    request,
    table::Table,
    wake_chain::WakeChain, //
};
use kernel::prelude::*;

/// Wakes up to `nr` waiters on the word whose mask meets the request's. Returns how many.
///
/// Takes no reference on the inode, no lock where nobody waits, and allocates nothing.
///
/// # Errors
///
/// `EFAULT`: the word has no key.
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline]
pub(crate) fn wake(table: &Table, request: &request::Wake) -> Result<u32> {
    // Dropped last: the tasks run after the key is gone.
    let mut chain = WakeChain::new();
    loop {
        let key = key::borrow(&request.word)?;
        let bucket = table.bucket(key.id());
        if let Some(woken) = bucket.wake(&key, request.mask, request.nr, &mut chain) {
            return Ok(woken);
        }
        // The page went elsewhere since the key was made: nobody was woken yet.
        drop(key);
        task::before_retry()?;
    }
}

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
#[kunit_tests(rfutex_wake)]
mod tests {
    use super::*;
    use crate::{
        lab::{
            kunit::{
                allocations,
                attach_mm,
                forced,
                usage,
                OnFile, //
            },
            Point, //
        },
        queue::Waiter,
        request::Word, //
    };
    use kernel::current;

    /// Queues the current task, which does not really sleep, `nr` times on `word` and calls `what`.
    fn with_waiters<T>(
        table: &Table,
        word: &Word,
        nr: usize,
        what: impl FnOnce() -> T,
    ) -> Result<T> {
        let mut waiters = KVec::with_capacity(nr, GFP_KERNEL)?;
        for _ in 0..nr {
            let key = key::own(word)?;
            let bucket = table.bucket(key.id());
            let waiter = KBox::pin_init(Waiter::current(key, u64::MAX), GFP_KERNEL)?;
            bucket.enter().queue(waiter.as_ref());
            waiters.push(waiter, GFP_KERNEL)?;
        }
        Ok(what())
    }

    #[test]
    fn page_that_moved_is_looked_up_again() -> Result {
        let table = Table::new(4)?;
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let tasks = usage(current!());
        let (result, hits) = with_waiters(&table, &word, 2, || {
            forced(Point::BorrowedMoved, 3, || {
                wake(&table, &request::Wake::at(word.addr(), false, 1))
            })
        })?;
        assert!(result == Ok(1));
        assert_eq!(hits, 3);
        assert!(on_file.counts() == before);
        assert_eq!(usage(current!()), tasks);
        assert!(table
            .buckets()
            .iter()
            .all(|bucket| bucket.nr_waiters() == 0));
        Ok(())
    }

    #[test]
    fn each_retry_of_the_resolver_ends_in_the_same_wake() -> Result {
        let table = Table::new(4)?;
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        for point in [Point::NoMapping, Point::HostGone] {
            let (result, hits) = with_waiters(&table, &word, 2, || {
                forced(point, 3, || {
                    wake(&table, &request::Wake::at(word.addr(), false, u32::MAX))
                })
            })?;
            assert!(result == Ok(2));
            assert_eq!(hits, 3);
            assert!(on_file.counts() == before);
        }
        Ok(())
    }

    #[test]
    fn nothing_is_allocated_and_nothing_kept() -> Result {
        let table = Table::new(4)?;
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let request = request::Wake::at(word.addr(), false, u32::MAX);
        for nr in [0, 1, 20] {
            let (result, allocated) =
                with_waiters(&table, &word, nr, || allocations(|| wake(&table, &request)))??;
            assert!(result == Ok(nr as u32));
            assert_eq!(allocated, 0);
            assert!(on_file.counts() == before);
        }
        Ok(())
    }

    #[test]
    fn nobody_is_woken_where_no_word_can_be() -> Result {
        attach_mm()?;
        let table = Table::new(4)?;
        for nr in [0, 1, u32::MAX] {
            let result = wake(&table, &request::Wake::at(0x1000, false, nr));
            assert!(result == Err(EFAULT));
            // A private word need not be there.
            let result = wake(&table, &request::Wake::at(0x1000, true, nr));
            assert!(result == Ok(0));
        }
        Ok(())
    }
}
