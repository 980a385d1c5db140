// SPDX-License-Identifier: GPL-2.0

//! Tests of waits, one by one and against wakes.

use super::*;

#[kunit_tests(rfutex_wait)]
mod cases {
    use super::*;
    use crate::{
        key::Hold,
        lab::{
            kunit::{
                allocations,
                beside,
                by_page,
                expired,
                forced,
                is_asleep,
                killed,
                living,
                nobody_waits,
                request,
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
        time::Clock, //
    };

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
                ..expired(word, 0, Clock::Monotonic)
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
            let result = wait(by_page(&table), &expired(on_file.word(8)?, 0, clock));
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
            wait(by_page(&table), &expired(word, 0, Clock::Monotonic))
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

    fn process(number: i32) -> owner::Name {
        owner::Name {
            kind: owner::Kind::Process,
            number,
            id: None,
        }
    }

    #[test]
    fn end_of_the_owner_ends_it() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let memory = Mapping::anonymous(1, ReadWrite)?;
        for word in [memory.word(0), memory.private_word(0)] {
            let living = living()?;
            let request = request::Wait {
                owner: Some(process(living.number())),
                ..request(word, 0)
            };
            let theirs = table.clone();
            let waiter = beside(move || wait(by_page(&theirs), &request))?;
            until(|| waiting(&table, word) == Ok(1) && is_asleep(waiter.task()))?;
            drop(living);
            assert!(waiter.join()? == Err(EOWNERDEAD));
            assert!(nobody_waits(&table));
        }
        Ok(())
    }

    #[test]
    fn owner_ends_before_the_caller_listens() -> Result {
        let table = Table::new(4, Hold::Inode)?;
        let memory = Mapping::anonymous(1, ReadWrite)?;
        // The first attempt has to find the word in memory.
        memory.write(0, &[0; 8])?;
        let word = memory.private_word(0);
        let request = request(word, 0);
        let id = by_page(&table).resolve_directly(word)?.ok_or(EINVAL)?;
        for wakes in [0, 1] {
            let living = living()?;
            let owner = process(living.number()).find()?;
            let result = with_place(|place| {
                attempt(
                    by_page(&table),
                    &request,
                    OwnedKey::bare(id),
                    place,
                    Some(&owner),
                    |waiter, deadline| {
                        // The caller is queued by now.
                        living.end();
                        until(|| owner.life() == Life::Ended)?;
                        wake(by_page(&table), word, u64::MAX, wakes)?;
                        sleep_for_owner(waiter, deadline, &owner)
                    },
                )
            });
            // A wake that has counted the caller comes first.
            let expected = if wakes == 1 { Ok(()) } else { Err(EOWNERDEAD) };
            assert!(result == Ok(expected));
            assert!(nobody_waits(&table));
        }
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
                wait(by_page(&table), &expired(word, 0, Clock::Monotonic))
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
