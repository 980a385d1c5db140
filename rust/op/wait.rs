// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAIT`: sleep until a wake, if the word has the expected value.

use crate::{
    context::Context,
    key::OwnedKey,
    mm::{
        task,
        timer,
        uaccess::{
            self,
            Mismatch, //
        }, //
    },
    queue::{
        with_place,
        Place,
        Waiter, //
    },
    request,
    time::Deadline, //
};
use core::pin::Pin;
use kernel::prelude::*;

/// Compares the word with the value in the request and, if they are equal, sleeps until a wake.
///
/// Comparing and queueing are atomic with respect to wakes. Allocates nothing.
///
/// # Errors
///
/// - `EAGAIN`: the word has another value.
/// - `ETIMEDOUT`: the deadline passed. It may already have been in the past.
/// - `ERESTARTSYS`: a signal arrived. Because the deadline is absolute, the call can be restarted
///   with the same arguments.
/// - `EFAULT`: the word cannot be read, or has no key.
/// - Others as [`key::resolve`](crate::key::resolve).
///
/// # Context
///
/// Process context, no locks held. Sleeps.
#[inline]
pub(crate) fn wait(context: Context<'_>, request: &request::Wait) -> Result {
    loop {
        let attempt = match context.own(request.word, request.val)? {
            Ok(key) => with_place(|place| attempt(context, request, key, place)),
            Err(mismatch) => Err(mismatch),
        };
        match attempt {
            Ok(result) => return result,
            Err(mismatch) => mismatch.overcome(request.word)?,
        }
    }
}

/// Compares the word, queues the caller, and sleeps. If this returns an error, the caller was not
/// queued.
#[inline(always)]
fn attempt<'t>(
    context: Context<'t>,
    request: &request::Wait,
    key: OwnedKey,
    place: Place<'_, 't>,
) -> Result<Result, Mismatch> {
    // The key's references were taken before the bucket is locked. If the word has another value,
    // they are put after it is unlocked: `entry` is dropped before `key`, which is a parameter.
    let entry = context.table().slot(key.id()).enter();
    uaccess::compare_inatomic(request.word, request.val)?;
    let waiter = place.prepare(key, request.mask);
    entry.queue(waiter);
    Ok(sleep(waiter, request.deadline))
}

/// Sleeps until the waiter is woken, the deadline passes, or a signal arrives.
///
/// A waiter that was woken returns success even if its deadline has passed or a signal is pending,
/// so that no wake is lost.
///
/// # Errors
///
/// `ETIMEDOUT`: the deadline passed. `ERESTARTSYS`: a signal arrived.
///
/// # Context
///
/// Process context, no locks held. Sleeps.
#[inline(always)]
pub(super) fn sleep(waiter: Pin<&Waiter<'_>>, deadline: Option<Deadline>) -> Result {
    match sleep_until(|| waiter.is_woken(), deadline) {
        Err(reason) if waiter.leave() => Err(reason),
        _ => Ok(()),
    }
}

/// Sleeps until `woken` returns true, the deadline passes, or a signal arrives.
///
/// A waker must make `woken` true before it wakes the task. If the task is woken for any other
/// reason, it sleeps again, and keeps its place in the queue meanwhile.
///
/// # Errors
///
/// `ETIMEDOUT`: the deadline passed. `ERESTARTSYS`: a signal arrived.
///
/// # Context
///
/// Process context, no locks held. Sleeps.
#[inline(always)]
pub(super) fn sleep_until(woken: impl Fn() -> bool, deadline: Option<Deadline>) -> Result {
    match deadline {
        None => sleep_unless_expired(woken, || false),
        // The timer is armed only once, even if the task wakes up and sleeps again several times.
        Some(deadline) => timer::with(deadline, |timer| {
            sleep_unless_expired(woken, || timer.expired())
        }),
    }
}

/// Does what [`sleep_until`] does, where `expired` tells whether the deadline has passed.
#[inline(always)]
fn sleep_unless_expired(woken: impl Fn() -> bool, expired: impl Fn() -> bool) -> Result {
    loop {
        task::prepare_to_sleep();
        if !woken() && !expired() {
            task::schedule();
        }
        task::stay_awake();
        if woken() {
            return Ok(());
        }
        if expired() {
            return Err(ETIMEDOUT);
        }
        if task::signal_pending() {
            return Err(ERESTARTSYS);
        }
    }
}

#[cfg(RFUTEX_KUNIT)]
#[kunit_tests(rfutex_wait)]
mod tests {
    use super::*;
    use crate::{
        key::Hold,
        lab::{
            kunit::{
                allocations,
                beside,
                by_page,
                forced,
                is_asleep,
                killed,
                nobody_waits,
                sized,
                until,
                waiting,
                Access::ReadWrite,
                Mapping,
                OnFile, //
            },
            Point, //
        },
        op::wake::wake,
        table::Table,
        time::Clock,
        word::Word, //
    };

    fn request(word: Word, val: u64) -> request::Wait {
        request::Wait {
            word,
            val,
            mask: u64::MAX,
            deadline: None,
        }
    }

    /// A wait whose deadline is in the past, so that it does not sleep for long.
    fn expired(word: Word, clock: Clock) -> request::Wait {
        request::Wait {
            deadline: Some(Deadline::new(clock, 1)),
            ..request(word, 0)
        }
    }

    #[test]
    fn other_value_is_seen_at_once() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        let value = 0x8877_6655_4433_2211u64;
        on_file.mapping()?.write(8, &value.to_le_bytes())?;
        for size in [1, 2, 4, 8] {
            let word = sized(on_file.mapping()?.at(8), size)?;
            let bits = 8 * size;
            let there = value & (u64::MAX >> (64 - bits));
            for bit in 0..bits {
                let result = wait(by_page(&table), &request(word, there ^ 1 << bit));
                assert!(result == Err(EAGAIN));
            }
            // If the word has the expected value, the wait sleeps.
            let same = request::Wait {
                val: there,
                ..expired(word, Clock::Monotonic)
            };
            assert!(wait(by_page(&table), &same) == Err(ETIMEDOUT));
        }
        assert!(on_file.counts() == before);
        assert!(nobody_waits(&table));
        Ok(())
    }

    #[test]
    fn deadline_in_the_past_passes_on_each_clock() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        for clock in [Clock::Monotonic, Clock::Realtime, Clock::Boottime] {
            let result = wait(by_page(&table), &expired(on_file.word(8)?, clock));
            assert!(result == Err(ETIMEDOUT));
        }
        assert!(on_file.counts() == before);
        assert!(nobody_waits(&table));
        Ok(())
    }

    /// Checks that a task that sleeps on a word of a file, in a table whose waiters hold what
    /// `hold` says, has so many references on the inode and on the superblock each, and none on the
    /// page.
    fn sleeping_task_refers_to(hold: Hold, references: i32) -> Result {
        let table = Table::new(4, hold)?;
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let theirs = table.clone();
        let waiter = beside(move || wait(by_page(&theirs), &request(word, 0)))?;
        until(|| waiting(&table, word) == Ok(1) && is_asleep(waiter.task()))?;
        let during = on_file.counts();
        let woken = wake(by_page(&table), word, u64::MAX, 1);
        let result = waiter.join()?;
        assert!(during == before.plus(references, references, 0));
        assert!(woken == Ok(1));
        assert!(result == Ok(()));
        assert!(on_file.counts() == before);
        assert!(nobody_waits(&table));
        Ok(())
    }

    #[test]
    fn sleeping_task_refers_to_inode_and_superblock_and_no_page() -> Result {
        sleeping_task_refers_to(Hold::Inode, 1)
    }

    #[test]
    fn sleeping_task_refers_to_nothing_where_nothing_is_held() -> Result {
        sleeping_task_refers_to(Hold::Nothing, 0)
    }

    #[test]
    fn other_value_takes_no_reference() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        // Step 6 would fail.
        let (result, hits) = forced(Point::InodeGoing, 1, || {
            wait(by_page(&table), &request(word, 1))
        });
        assert!(result == Err(EAGAIN));
        assert_eq!(hits, 0);
        let (result, hits) = forced(Point::InodeGoing, 1, || {
            wait(by_page(&table), &expired(word, Clock::Monotonic))
        });
        assert!(result == Err(ETIMEDOUT));
        assert_eq!(hits, 1);
        Ok(())
    }

    #[test]
    fn wake_for_no_reason_is_slept_over() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let memory = Mapping::anonymous(1, ReadWrite)?;
        let word = memory.word(0);
        let theirs = table.clone();
        let waiter = beside(move || wait(by_page(&theirs), &request(word, 0)))?;
        until(|| waiting(&table, word) == Ok(1))?;
        let mut asleep_again = true;
        for _ in 0..10 {
            until(|| is_asleep(waiter.task()))?;
            waiter.task().wake_up();
            asleep_again &= waiting(&table, word) == Ok(1);
        }
        let woken = wake(by_page(&table), word, u64::MAX, u32::MAX);
        let result = waiter.join()?;
        assert!(asleep_again);
        assert!(woken == Ok(1));
        assert!(result == Ok(()));
        Ok(())
    }

    #[test]
    fn signal_ends_it_and_it_can_be_made_again() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        let result = killed(|| wait(by_page(&table), &request(on_file.word(8)?, 0)));
        assert!(result == Err(ERESTARTSYS));
        assert!(on_file.counts() == before);
        assert!(nobody_waits(&table));
        Ok(())
    }

    #[test]
    fn word_that_is_not_in_memory_is_read_again() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let on_file = OnFile::new()?;
        let anonymous = Mapping::anonymous(1, ReadWrite)?;
        let before = on_file.counts();
        for word in [on_file.word(8)?, anonymous.word(8)] {
            let (result, hits) = forced(Point::ReadWord, 3, || {
                wait(by_page(&table), &expired(word, Clock::Monotonic))
            });
            assert!(result == Err(ETIMEDOUT));
            assert_eq!(hits, 3);
            let (result, hits) = forced(Point::ReadWord, 3, || {
                wait(by_page(&table), &request(word, 1))
            });
            assert!(result == Err(EAGAIN));
            assert_eq!(hits, 3);
            assert!(on_file.counts() == before);
            assert!(nobody_waits(&table));
        }
        Ok(())
    }

    #[test]
    fn fatal_signal_ends_the_tries_to_read() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        let word = on_file.word(8)?;
        let (result, hits) = killed(|| {
            forced(Point::ReadWord, u32::MAX, || {
                wait(by_page(&table), &request(word, 0))
            })
        });
        assert!(result == Err(EINTR));
        assert_eq!(hits, 1);
        assert!(on_file.counts() == before);
        assert!(nobody_waits(&table));
        Ok(())
    }

    #[test]
    fn nothing_is_waited_for_where_nothing_can_be_read() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let memory = Mapping::anonymous(1, ReadWrite)?;
        let (shared, private) = (memory.word(0), memory.private_word(0));
        drop(memory);
        for word in [shared, private] {
            assert!(wait(by_page(&table), &request(word, 0)) == Err(EFAULT));
        }
        assert!(nobody_waits(&table));
        Ok(())
    }

    #[test]
    fn nothing_is_allocated() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let on_file = OnFile::new()?;
        let memory = Mapping::anonymous(1, ReadWrite)?;
        // The memory is touched first, because a page fault may allocate a page.
        memory.write(0, &[0; 16])?;
        for word in [on_file.word(8)?, memory.word(8), memory.private_word(8)] {
            let theirs = table.clone();
            let waiter = beside(move || allocations(|| wait(by_page(&theirs), &request(word, 0))))?;
            until(|| waiting(&table, word) == Ok(1))?;
            let woken = wake(by_page(&table), word, 1, 1);
            let (result, nr) = waiter.join()??;
            assert!(woken == Ok(1));
            assert!(result == Ok(()));
            assert_eq!(nr, 0);
            // Nothing is allocated either if the wait does not sleep, or if it reads the word
            // again.
            let (result, nr) = allocations(|| wait(by_page(&table), &request(word, 1)))?;
            assert!(result == Err(EAGAIN));
            assert_eq!(nr, 0);
            let (result, nr) = allocations(|| {
                forced(Point::ReadWord, 2, || {
                    wait(by_page(&table), &request(word, 1))
                })
            })?;
            assert!(result == (Err(EAGAIN), 2));
            assert_eq!(nr, 0);
        }
        // An allocation would have been noticed, both from a slab and of pages.
        let (small, nr) = allocations(|| KBox::new(0u64, GFP_KERNEL))?;
        assert!(small.is_ok() && nr > 0);
        let (large, nr) = allocations(|| Table::new(4096, Hold::Inode))?;
        assert!(large.is_ok() && nr > 0);
        Ok(())
    }
}
