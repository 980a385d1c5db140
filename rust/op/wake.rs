// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKE`, and the wakes whose argument is the address of the word (`RFUTEX_WAKE_ONE`,
//! `RFUTEX_WAKE_ALL`, and the same for private words).

use crate::{
    context::Context,
    key::{
        self,
        KeyId, //
    },
    queue::BucketSlot,
    trace::{
        self,
        Command, //
    },
    wake_chain::WakeChain,
    word::{
        Location,
        Word, //
    }, //
};
use kernel::prelude::*;

/// Wakes up to `nr` waiters on `word` whose mask has a bit in common with `mask`. Returns their
/// number.
///
/// Takes no reference on an inode, does not lock the bucket if nobody waits, and allocates nothing.
///
/// # Errors
///
/// `EFAULT`: the word has no key. Others as [`key::resolve`].
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline(always)]
pub(crate) fn wake(context: Context<'_>, word: Word, mask: u64, nr: u32) -> Result<u32> {
    // The first is not inlined, so that wakes on other words do not pay for the registers and the
    // stack that it needs. The size of the word does not matter to a wake.
    match word.location() {
        Location::Address => wake_shared(context, word.addr(), mask, nr),
        Location::PrivateAddress => wake_private(context, word.addr(), mask, nr),
        Location::Arena => Ok(wake_at(context, context.resolve(word)?, mask, nr)),
    }
}

/// Carries out a wake on the private word at `addr`.
#[inline(always)]
fn wake_private(context: Context<'_>, addr: usize, mask: u64, nr: u32) -> Result<u32> {
    match key::private_if_numbered(Word::at(addr, Location::PrivateAddress)) {
        Some(id) => Ok(wake_at(context, id, mask, nr)),
        None => wake_private_slowly(context, addr, mask, nr),
    }
}

/// Does what [`wake_private`] does, where the key is an error, or the mm has no number yet.
#[cold]
#[inline(never)]
fn wake_private_slowly(context: Context<'_>, addr: usize, mask: u64, nr: u32) -> Result<u32> {
    let id = key::private(Word::at(addr, Location::PrivateAddress))?;
    Ok(wake_at(context, id, mask, nr))
}

/// Carries out a wake on the word at `addr`, which is not private.
#[inline(never)]
fn wake_shared(context: Context<'_>, addr: usize, mask: u64, nr: u32) -> Result<u32> {
    let id = context.resolve(Word::at(addr, Location::Address))?;
    Ok(wake_at(context, id, mask, nr))
}

/// Wakes waiters whose key is `id`. Returns their number.
#[inline(always)]
fn wake_at(context: Context<'_>, id: KeyId, mask: u64, nr: u32) -> u32 {
    if trace::shows_wakes() {
        return wake_and_tell(context, id, mask, nr);
    }
    let slot = context.table().slot(id);
    // A wake that finds nobody is the most common call of all. It ends here.
    if slot.is_empty() {
        return 0;
    }
    wake_some(slot, id, mask, nr)
}

/// Does what [`wake_at`] does, and emits a trace event, before those who were woken run.
#[cold]
#[inline(never)]
fn wake_and_tell(context: Context<'_>, id: KeyId, mask: u64, nr: u32) -> u32 {
    let table = context.table();
    let tell = |woken| trace::wake(table, Command::Wake, id, mask, nr, woken);
    let slot = table.slot(id);
    if slot.is_empty() {
        tell(0);
        0
    } else {
        wake_and(slot, id, mask, nr, tell)
    }
}

/// Carries out a wake on a slot where somebody may be waiting.
#[inline(never)]
fn wake_some(slot: BucketSlot<'_>, id: KeyId, mask: u64, nr: u32) -> u32 {
    wake_and(slot, id, mask, nr, |_| {})
}

/// Wakes waiters, and calls `then` with their number before they run.
#[inline(always)]
fn wake_and(slot: BucketSlot<'_>, id: KeyId, mask: u64, nr: u32, then: impl FnOnce(u32)) -> u32 {
    // The tasks are woken when this is dropped, which is after the bucket was unlocked.
    let mut chain = WakeChain::new();
    let woken = slot.wake(id, mask, nr, &mut chain);
    then(woken);
    woken
}

#[cfg(RFUTEX_KUNIT)]
#[kunit_tests(rfutex_wake)]
mod tests {
    use super::*;
    use crate::{
        key::{
            Hold,
            OwnedKey,
            Resolver, //
        },
        lab::{
            kunit::{
                allocations,
                attach_mm,
                by_page,
                forced,
                nobody_waits,
                resolve,
                usage,
                OnFile, //
            },
            Point, //
        },
        queue::{
            with_places,
            About, //
        },
        table::Table, //
    };
    use kernel::current;

    /// Queues the current task `nr` times on `word`, calls `what`, and dequeues the task again. The
    /// task does not really sleep.
    fn with_waiters<T>(
        table: &Table,
        word: Word,
        nr: usize,
        what: impl FnOnce() -> T,
    ) -> Result<T> {
        let id = resolve(Resolver::Page, word)?;
        with_places::<0, _>(nr, |mut waiters| {
            for _ in 0..nr {
                waiters.prepare(OwnedKey::bare(id), u64::MAX, About::new(word, 0), None)?;
            }
            for waiter in waiters.iter() {
                table.slot(id).enter().queue(waiter);
            }
            Ok(what())
        })?
    }

    #[test]
    fn page_that_moved_is_looked_up_again() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let tasks = usage(current!());
        let (result, hits) = with_waiters(&table, word, 2, || {
            forced(Point::MappingChanged, 3, || {
                wake(by_page(&table), word, u64::MAX, 1)
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
            let (result, hits) = with_waiters(&table, word, 2, || {
                forced(point, 3, || wake(by_page(&table), word, u64::MAX, u32::MAX))
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
        for nr in [0, 1, 20] {
            let (result, allocated) = with_waiters(&table, word, nr, || {
                allocations(|| wake(by_page(&table), word, u64::MAX, u32::MAX))
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
            let result = wake(
                by_page(&table),
                Word::at(0x1000, Location::Address),
                u64::MAX,
                nr,
            );
            assert!(result == Err(EFAULT));
            // Nothing needs to be mapped at the address of a private word.
            let result = wake(
                by_page(&table),
                Word::at(0x1000, Location::PrivateAddress),
                u64::MAX,
                nr,
            );
            assert!(result == Ok(0));
        }
        Ok(())
    }
}
