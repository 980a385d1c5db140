// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKE`, and the wakes whose argument is the address.

use crate::{
    key::{
        self,
        KeyId, //
    },
    queue::Bucket,
    request::{
        self,
        Word, //
    },
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
#[inline(always)]
pub(crate) fn wake(table: &Table, request: &request::Wake) -> Result<u32> {
    let (word, mask, nr) = (request.word, request.mask, request.nr);
    if !word.private() {
        return wake_shared(table, word, mask, nr);
    }
    // A wake that finds nobody is the commonest call of all. It ends here.
    let id = key::private(&word)?;
    let bucket = table.bucket(id);
    if nr == 0 || bucket.is_empty() {
        return Ok(0);
    }
    Ok(wake_private(bucket, id, mask, nr))
}

#[inline(never)]
fn wake_private(bucket: &Bucket, id: KeyId, mask: u64, nr: u32) -> u32 {
    let mut chain = WakeChain::new();
    bucket.wake(id, mask, nr, &mut chain, || true).unwrap_or(0)
}

#[inline(never)]
fn wake_shared(table: &Table, word: Word, mask: u64, nr: u32) -> Result<u32> {
    // Dropped last: the tasks run after the key is gone.
    let mut chain = WakeChain::new();
    key::borrow(&word, |key| {
        let bucket = table.bucket(key.id());
        if nr == 0 || bucket.is_empty() {
            return Some(0);
        }
        bucket.wake(key.id(), mask, nr, &mut chain, || key.holds())
    })
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
