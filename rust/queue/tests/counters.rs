// SPDX-License-Identifier: GPL-2.0

//! Tests of which counter counts which waiters, for two keys that share a counter, that share only
//! a bucket, or that share neither.

use super::*;
use crate::{
    lab::kunit::expired,
    request::{
        Requeue,
        Swap, //
    },
    time::Clock, //
};

/// What the keys of two words have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Common {
    Counter,
    Bucket,
    Nothing,
}

/// Two private words in a table.
struct Two {
    table: Arc<Table>,
    common: Common,
    words: [Word; 2],
    ids: [KeyId; 2],
}

impl Two {
    /// Queues `nr[0]` waiters on the first word and `nr[1]` on the second.
    fn crowds(&self, nr: [usize; 2]) -> Result<[KVec<Pin<KBox<Waiter<'_>>>>; 2]> {
        let [first, second] = self.slots();
        Ok([
            crowd(first, self.words[0], nr[0])?,
            crowd(second, self.words[1], nr[1])?,
        ])
    }

    fn slots(&self) -> [BucketSlot<'_>; 2] {
        self.ids.map(|id| self.table.slot(id))
    }

    /// Whether `nr[0]` waiters are counted on the first word, `nr[1]` on the second, and none
    /// anywhere else.
    fn counts(&self, nr: [i32; 2]) -> bool {
        let all = nr[0] + nr[1];
        let each = match self.common {
            Common::Counter => [all, all],
            _ => nr,
        };
        let absolute: u32 = self.table.nr_waiters().map(i32::unsigned_abs).sum();
        absolute == all as u32
            && self.slots().map(BucketSlot::nr_waiters) == each
            && self.slots().map(BucketSlot::is_empty) == each.map(|nr| nr == 0)
    }

    fn wake(&self, index: usize, nr: u32) -> Result<u32> {
        op::wake::wake(by_page(&self.table), self.words[index], ANY, nr)
    }

    fn requeue(&self, val: Option<u64>, nr_wake: u32, nr_move: u32) -> Result<u32> {
        let request = Requeue {
            from: self.words[0],
            to: self.words[1],
            val,
            nr_wake,
            nr_move,
        };
        op::requeue::requeue(by_page(&self.table), &request)
    }
}

/// Calls `check` with two words for each kind of [`Common`], in either order of the two.
///
/// # Errors
///
/// `EBADMSG`: `check` returned false, or a waiter was still counted afterwards.
fn with_each(check: impl Fn(&Two) -> Result<bool>) -> Result {
    let memory = Mapping::anonymous(1, ReadWrite)?;
    memory.write(0, &[0; kernel::page::PAGE_SIZE])?;
    let table = Table::new(2, Hold::Inode)?;
    let first = memory.private_word(0);
    for common in [Common::Counter, Common::Bucket, Common::Nothing] {
        let is_like_that = |word: &Word| {
            let slots = [table.slot(id(first)?), table.slot(id(*word)?)];
            let found = if same(slots[0], slots[1]) {
                Common::Counter
            } else if ptr::eq(slots[0].bucket, slots[1].bucket) {
                Common::Bucket
            } else {
                Common::Nothing
            };
            Ok::<_, Error>(found == common)
        };
        let second = (1..kernel::page::PAGE_SIZE)
            .map(|offset| memory.private_word(offset))
            .find(|word| is_like_that(word) == Ok(true))
            .ok_or(EDOM)?;
        for words in [[first, second], [second, first]] {
            let two = Two {
                table: table.clone(),
                common,
                words,
                ids: [id(words[0])?, id(words[1])?],
            };
            if !check(&two)? || !two.counts([0, 0]) {
                pr_err!("counters: with {} in common\n", common as u32);
                return Err(EBADMSG);
            }
        }
    }
    Ok(())
}

#[kunit_tests(rfutex_counters)]
mod cases {
    use super::*;

    #[test]
    fn each_hash_has_a_counter_of_its_own() -> Result {
        const NR: usize = 4;
        let buckets = Buckets::new(NR, GFP_KERNEL)?;
        let mut seen = [false; NR * NR_COUNTERS];
        for bucket in 0..NR as u64 {
            for counter in 0..NR_COUNTERS as u64 {
                let hash = bucket * NR_COUNTERS as u64 + counter;
                // The higher bits of a hash choose neither the bucket nor the counter.
                for hash in [hash, hash | u64::MAX << 40] {
                    let slot = buckets.at_hash(hash);
                    let entry = slot.enter();
                    let all = buckets.as_slice().iter().flat_map(Bucket::nr_waiters);
                    let place = all.enumerate().find(|&(_, nr)| nr == 1);
                    let right = ptr::eq(slot.bucket, &buckets.as_slice()[bucket as usize]);
                    drop(entry);
                    let (bucket, counter) = Buckets::index(NR, hash);
                    let expected = bucket * NR_COUNTERS + counter;
                    assert_eq!(place.map(|(place, _)| place), Some(expected));
                    assert!(right);
                    seen[expected] = true;
                }
            }
        }
        assert!(seen.iter().all(|&seen| seen));
        for nr in [0, 3, 12] {
            assert!(Buckets::new(nr, GFP_KERNEL).err() == Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn who_is_woken_or_leaves_is_counted_out_where_he_was() -> Result {
        with_each(|two| {
            let [first, second] = two.crowds([3, 2])?;
            let mut right = two.counts([3, 2]);
            right &= two.wake(0, 1)? == 1 && two.counts([2, 2]);
            right &= first[2].leave() && two.counts([1, 2]);
            right &= second[0].leave() && two.counts([1, 1]);
            right &= two.wake(0, u32::MAX)? == 1 && two.counts([0, 1]);
            // The waiter has left already, and nobody is left to be woken.
            right &= !first[0].leave() && two.wake(0, 1)? == 0 && two.counts([0, 1]);
            drop(second);
            Ok(right && two.counts([0, 0]))
        })
    }

    #[test]
    fn who_is_moved_is_counted_where_he_comes_to() -> Result {
        for val in [None, Some(0)] {
            with_each(|two| {
                let [first, second] = two.crowds([5, 1])?;
                let mut right = two.requeue(Some(1), 1, 1) == Err(EAGAIN) && two.counts([5, 1]);
                right &= two.requeue(val, 1, 2)? == 3 && two.counts([2, 3]);
                // The first waiter was woken, and the next two were moved.
                right &= first[1].leave() && two.counts([2, 2]);
                right &= two.wake(1, 1)? == 1 && second[0].is_woken() && two.counts([2, 1]);
                right &= two.wake(0, 1)? == 1 && two.counts([1, 1]);
                drop(first);
                Ok(right && two.counts([0, 0]))
            })?;
        }
        Ok(())
    }

    #[test]
    fn who_is_moved_to_his_own_word_stays_counted() -> Result {
        with_each(|two| {
            let onto_itself = Two {
                table: two.table.clone(),
                words: [two.words[0]; 2],
                ..*two
            };
            let waiters = two.crowds([3, 1])?;
            let mut right = onto_itself.requeue(None, 1, u32::MAX)? == 3 && two.counts([2, 1]);
            right &= onto_itself.requeue(Some(0), 0, 1)? == 1 && two.counts([2, 1]);
            drop(waiters);
            Ok(right)
        })
    }

    #[test]
    fn who_is_on_the_way_is_not_missed() -> Result {
        with_each(|two| {
            let [from, to] = two.ids.map(OwnedKey::bare);
            let [start, end] = two.slots();
            let waiters = two.crowds([2, 0])?;
            let mut pair = Pair::lock(start, end);
            // A wake on either word must not find it empty, so that it waits for the lock until all
            // waiters have been moved.
            let mut right = !start.is_empty() && !end.is_empty();
            right &= pair.move_waiters(&from, &to, u32::MAX, &mut WakeChain::new()) == 2;
            right &= !end.is_empty();
            drop(pair);
            right &= two.counts([0, 2]);
            drop(waiters);
            // If no waiter is moved, none is counted afterwards.
            drop(Pair::lock(start, end));
            Ok(right)
        })
    }

    #[test]
    fn wakes_on_two_words_are_counted_apart() -> Result {
        with_each(|two| {
            let [first, second] = two.slots();
            let waiters = two.crowds([2, 4])?;
            let mut chain = WakeChain::new();
            let mut pair = Pair::lock(first, second);
            let woken = [
                pair.wake_from(two.ids[0], 1, &mut chain),
                pair.wake_to(two.ids[1], 3, &mut chain),
            ];
            drop(pair);
            let right = woken == [1, 3] && two.counts([1, 1]);
            drop(waiters);
            Ok(right)
        })
    }

    #[test]
    fn who_swaps_is_counted_and_who_he_wakes_is_not() -> Result {
        with_each(|two| {
            let [first, second] = two.slots();
            let waiters = two.crowds([0, 2])?;
            let mut right = with_place(|place| {
                let waiter = place.prepare(OwnedKey::bare(two.ids[0]), ANY, About::made_up(), None);
                Exchange::enter(second, first).swap(two.ids[1], waiter, &mut WakeChain::new());
                let right = two.counts([1, 1]);
                Ok::<_, Error>(right && two.wake(0, 1)? == 1 && two.counts([0, 1]))
            })?;
            // This makes the whole call. Its deadline is in the past.
            for (val, result, left) in [(1, EAGAIN, 1), (0, ETIMEDOUT, 0)] {
                let request = Swap {
                    wait: expired(two.words[0], val, Clock::Monotonic),
                    wake: two.words[1],
                };
                right &= op::swap::swap(by_page(&two.table), &request) == Err(result);
                right &= two.counts([0, left]);
            }
            drop(waiters);
            Ok(right)
        })
    }
}
