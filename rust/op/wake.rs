// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKE`, and the wakes whose argument is the address.

use crate::{
    key::{
        self,
        resolve,
        Borrowed,
        KeyId,
        Resolve,
        Visit, //
    },
    mm::gup::Access,
    queue::Spot,
    request::{
        Whom,
        Word, //
    },
    table::Table,
    wake_chain::{
        Tasks,
        WakeChain, //
    },
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
pub(crate) fn wake(table: &Table, word: Word, whom: &Whom) -> Result<u32> {
    if word.private() {
        wake_private(table, word, whom)
    } else {
        resolve!(word, By => wake_by::<By>(table, word, whom))
    }
}

/// What keeps a private word's key is the process: there is nothing to let go before the tasks run.
#[inline(never)]
fn wake_private(table: &Table, word: Word, whom: &Whom) -> Result<u32> {
    let id = key::private(word)?;
    let spot = table.spot(id);
    if spot.is_empty() {
        return Ok(0);
    }
    Ok(wake_some_private(spot, id, whom))
}

#[inline(never)]
fn wake_some_private(spot: Spot<'_>, id: KeyId, whom: &Whom) -> u32 {
    let mut chain = WakeChain::new();
    spot.wake(id, whom.mask, whom.nr, &mut chain, || true);
    let tasks = chain.into_tasks();
    let woken = tasks.nr();
    tasks.wake();
    woken
}

/// A function for each resolver, called with what fits into registers.
#[inline(never)]
fn wake_by<By: Resolve>(table: &Table, word: Word, whom: &Whom) -> Result<u32> {
    let tasks = By::borrow(word, Access::Read, Visitor { table, whom })?;
    let woken = tasks.nr();
    // The key is gone: now they may run.
    tasks.wake();
    Ok(woken)
}

/// A wake in front of a key.
struct Visitor<'w> {
    table: &'w Table,
    whom: &'w Whom,
}

impl Visit<Tasks, ()> for Visitor<'_> {
    #[inline(always)]
    fn visit(&mut self, key: &Borrowed<'_>) -> Result<Tasks, ()> {
        let spot = self.table.spot(key.id());
        // A wake that finds nobody is the commonest call of all. It ends here.
        if spot.is_empty() {
            return Ok(Tasks::none());
        }
        wake_some(spot, *key, self.whom)
    }
}

/// Wakes those that there are. An error: the key no longer holds.
#[inline(always)]
fn wake_some(spot: Spot<'_>, key: Borrowed<'_>, whom: &Whom) -> Result<Tasks, ()> {
    let mut chain = WakeChain::new();
    let woken = spot.wake(key.id(), whom.mask, whom.nr, &mut chain, key);
    woken.map(|_| chain.into_tasks()).ok_or(())
}

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
#[kunit_tests(rfutex_wake)]
mod tests {
    use super::*;
    use crate::{
        key::Hold,
        lab::{
            kunit::{
                allocations,
                attach_mm,
                forced,
                nobody_waits,
                usage,
                OnFile, //
            },
            Point, //
        },
        queue::Waiter, //
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
            let spot = table.spot(key.id());
            let waiter = KBox::pin_init(Waiter::current(key, u64::MAX), GFP_KERNEL)?;
            spot.enter().queue(waiter.as_ref());
            waiters.push(waiter, GFP_KERNEL)?;
        }
        Ok(what())
    }

    #[test]
    fn page_that_moved_is_looked_up_again() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let tasks = usage(current!());
        let (result, hits) = with_waiters(&table, &word, 2, || {
            forced(Point::BorrowedMoved, 3, || {
                wake(&table, word, &Whom::any(1))
            })
        })?;
        assert!(result == Ok(1));
        assert_eq!(hits, 3);
        assert!(on_file.counts() == before);
        assert_eq!(usage(current!()), tasks);
        assert!(nobody_waits(&table));
        Ok(())
    }

    #[test]
    fn each_retry_of_the_resolver_ends_in_the_same_wake() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        for point in [Point::NoMapping, Point::HostGone] {
            let (result, hits) = with_waiters(&table, &word, 2, || {
                forced(point, 3, || wake(&table, word, &Whom::any(u32::MAX)))
            })?;
            assert!(result == Ok(2));
            assert_eq!(hits, 3);
            assert!(on_file.counts() == before);
        }
        Ok(())
    }

    #[test]
    fn nothing_is_allocated_and_nothing_kept() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let all = Whom::ALL;
        for nr in [0, 1, 20] {
            let (result, allocated) = with_waiters(&table, &word, nr, || {
                allocations(|| wake(&table, word, &all))
            })??;
            assert!(result == Ok(nr as u32));
            assert_eq!(allocated, 0);
            assert!(on_file.counts() == before);
        }
        Ok(())
    }

    #[test]
    fn nobody_is_woken_where_no_word_can_be() -> Result {
        attach_mm()?;
        let table = Table::new(4, Hold::Inode)?;
        for nr in [0, 1, u32::MAX] {
            let result = wake(&table, Word::at(0x1000, false), &Whom::any(nr));
            assert!(result == Err(EFAULT));
            // A private word need not be there.
            let result = wake(&table, Word::at(0x1000, true), &Whom::any(nr));
            assert!(result == Ok(0));
        }
        Ok(())
    }
}
