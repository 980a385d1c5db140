// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_SWAP`: wake one waiter on one word, and sleep on another, in one call.
//!
//! What FUTEX_SWAP would have been, for handing work to another thread and waiting for its answer.

use super::wait;
use crate::{
    key::{
        self,
        private::Private,
        resolve,
        Borrowed,
        Owned,
        Resolve,
        Visit, //
    },
    mm::{
        gup::Access,
        slot::{
            self,
            Slot, //
        },
        task,
        uaccess, //
    },
    queue::{
        Exchange,
        Spot,
        Waiter, //
    },
    request::{
        self,
        Word, //
    },
    table::Table,
    time::Deadline,
    wake_chain::Tasks, //
};
use kernel::prelude::*;

/// Wakes one waiter on the word `wake`, queues the caller on the word of `wait`, and sleeps.
///
/// The first two are one step against every wait and wake on either word. So whatever the woken one
/// does, it finds the caller in the queue; and on one word for both, it is another waiter that is
/// woken, never the caller. Nobody is woken if the caller is not queued.
///
/// # Errors
///
/// As [`wait::wait`] and [`super::wake::wake`], but a signal gives `EINTR`: the call must not be
/// made again as it is, since that would wake another one.
///
/// # Context
///
/// Process context, no locks held. Sleeps.
#[inline(always)]
pub(crate) fn swap(table: &Table, request: &request::Swap) -> Result {
    let word = request.wait.word;
    if word.private() && request.wake.private() {
        // Nothing to look for: a function without what the others need.
        return swap_by::<Private>(table, *request, key::own_private);
    }
    let request::Wait { val, mask, .. } = request.wait;
    swap_resolved(table, word, val, mask, request.wait.deadline, request.wake)
}

/// For words of which one or both have to be resolved.
// One by one, what a request is made of is in memory only for this call.
#[inline(never)]
fn swap_resolved(
    table: &Table,
    word: Word,
    val: u64,
    mask: u64,
    deadline: Option<Deadline>,
    wake: Word,
) -> Result {
    let wait = request::Wait {
        word,
        val,
        mask,
        deadline,
    };
    let request = request::Swap { wait, wake };
    resolve!(wake, By => swap_by::<By>(table, request, |word| key::own(&word)))
}

// By value, as in `wait`.
#[inline(always)]
fn swap_by<By: Resolve>(
    table: &Table,
    request: request::Swap,
    own: impl Fn(Word) -> Result<Owned>,
) -> Result {
    slot::with(|slot| {
        let key = own(request.wait.word)?;
        let tasks = match attempt::<By>(table, request, key, slot)? {
            Step::Queued(tasks) => tasks,
            Step::Changed => return Err(EAGAIN),
            Step::NotInMemory => {
                let request::Wait {
                    word, val, mask, ..
                } = request.wait;
                attempt_again::<By>(table, word, val, mask, request.wake, own, slot)?
            }
        };
        tasks.wake();
        let waiter = slot.get().ok_or(EINVAL)?;
        match wait::sleep(waiter, request.wait.deadline) {
            Err(error) if error == ERESTARTSYS => Err(EINTR),
            result => result,
        }
    })
}

#[inline(always)]
fn attempt<'t, By: Resolve>(
    table: &'t Table,
    request: request::Swap,
    key: Owned,
    slot: &mut Slot<'_, Waiter<'t>>,
) -> Result<Step> {
    let visitor = Visitor {
        table,
        request: request.wait,
        spot: table.spot(key.id()),
        key: Some(key),
        slot,
    };
    By::borrow(request.wake, Access::Read, visitor)
}

/// Brings the caller's word into memory, and begins again, as a wait does. Returns whom to wake.
#[cold]
#[inline(never)]
fn attempt_again<'t, By: Resolve>(
    table: &'t Table,
    word: Word,
    val: u64,
    mask: u64,
    wake: Word,
    own: impl Fn(Word) -> Result<Owned>,
    slot: &mut Slot<'_, Waiter<'t>>,
) -> Result<Tasks> {
    let request = request::Swap {
        wait: request::Wait {
            word,
            val,
            mask,
            deadline: None,
        },
        wake,
    };
    loop {
        uaccess::fault_in(&request.wait.word)?;
        task::before_retry()?;
        let key = own(request.wait.word)?;
        match attempt::<By>(table, request, key, slot)? {
            Step::Queued(tasks) => return Ok(tasks),
            Step::Changed => return Err(EAGAIN),
            Step::NotInMemory => {}
        }
    }
}

/// A swap in front of the key to wake on.
struct Visitor<'m, 's, 't> {
    table: &'t Table,
    request: request::Wait,
    /// The caller's, which it is going to queue in.
    spot: Spot<'t>,
    /// The caller's, until it is queued.
    key: Option<Owned>,
    slot: &'s mut Slot<'m, Waiter<'t>>,
}

impl Visit<Step, ()> for Visitor<'_, '_, '_> {
    #[inline(always)]
    fn visit(&mut self, target: &Borrowed<'_>) -> Result<Step, ()> {
        let exchange = Exchange::enter(self.table.spot(target.id()), self.spot);
        match uaccess::read_inatomic(&self.request.word) {
            Ok(value) if value != self.request.val => Ok(Step::Changed),
            Ok(_) if target.holds() => {
                let key = self.key.take().ok_or(())?;
                let tasks = exchange.swap(target.id(), self.slot, key, self.request.mask);
                Ok(Step::Queued(tasks))
            }
            // The other word's page went elsewhere.
            Ok(_) => Err(()),
            Err(_) => Ok(Step::NotInMemory),
        }
    }
}

/// How far an attempt came.
enum Step {
    /// The caller is queued. Whom there was to wake.
    Queued(Tasks),
    /// The caller's word has another value.
    Changed,
    /// The caller's word is not in memory. Nothing was done.
    NotInMemory,
}

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
#[kunit_tests(rfutex_swap)]
mod tests {
    use super::*;
    use crate::{
        key::Hold,
        lab::kunit::{
            beside,
            nobody_waits,
            until,
            waiting,
            Access::ReadWrite,
            Mapping, //
        },
        time::Clock, //
    };

    fn wait_on(word: Word, val: u64, deadline: Option<Deadline>) -> request::Wait {
        request::Wait {
            word,
            val,
            mask: u64::MAX,
            deadline,
        }
    }

    /// Swaps without sleeping for long.
    fn swap_expired(table: &Table, word: Word, val: u64, wake: Word) -> Result {
        let wait = wait_on(word, val, Some(Deadline::new(Clock::Monotonic, 1)));
        swap(table, &request::Swap { wait, wake })
    }

    #[test]
    fn all_are_counted_in_and_out() -> Result {
        let memory = Mapping::anonymous(1, ReadWrite)?;
        memory.write(0, &[0; 16])?;
        let (private, shared) = (memory.private_word(0), memory.word(0));
        let (other_private, other_shared) = (memory.private_word(8), memory.word(8));
        for nr_buckets in [1, 64] {
            let table = Table::new(nr_buckets, Hold::Inode)?;
            for (word, wake) in [
                (private, other_private),
                (private, private),
                (private, other_shared),
                (shared, other_private),
                (shared, other_shared),
                (shared, shared),
            ] {
                let theirs = table.clone();
                let waiter = beside(move || wait::wait(&theirs, &wait_on(wake, 0, None)))?;
                until(|| waiting(&table, &wake) == Ok(1))?;
                // Another value: nothing happens.
                let in_vain = swap_expired(&table, word, 1, wake);
                let still_waiting = waiting(&table, &wake);
                let result = swap_expired(&table, word, 0, wake);
                let woken = waiter.join()?;
                assert!(in_vain == Err(EAGAIN));
                assert!(still_waiting == Ok(1));
                assert!(result == Err(ETIMEDOUT));
                assert!(woken == Ok(()));
                assert!(nobody_waits(&table));
                // With nobody there.
                let result = swap_expired(&table, word, 0, wake);
                assert!(result == Err(ETIMEDOUT));
                assert!(nobody_waits(&table));
            }
        }
        Ok(())
    }
}
