// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_SWAP`: wake one waiter on one word, and sleep on another, in one call.
//!
//! With this, a thread can hand work to another thread and wait for the answer. FUTEX_SWAP, which
//! was proposed for futex(2) but never merged, was meant to do the same.

use super::wait;
use crate::{
    context::Context,
    key::{
        KeyId,
        OwnedKey, //
    },
    mm::uaccess::Mismatch,
    queue::{
        with_place,
        Exchange,
        Place, //
    },
    request,
    wake_chain::WakeChain, //
};
use kernel::prelude::*;

/// Wakes one waiter on the word `wake`, queues the caller on the word of `wait`, and sleeps.
///
/// Waking and queueing are atomic with respect to waits and wakes on either word. The task that was
/// woken can therefore rely on finding the caller in the queue. If both words are the same, another
/// waiter is woken, never the caller. If the caller is not queued, because its word has another
/// value, nobody is woken.
///
/// # Errors
///
/// As [`wait::wait`] and [`super::wake::wake`]. But a signal results in `EINTR`, not in
/// `ERESTARTSYS`, because to restart the call would wake another waiter.
///
/// # Context
///
/// Process context, no locks held. Sleeps.
#[inline]
pub(crate) fn swap(context: Context<'_>, request: &request::Swap) -> Result {
    let word = request.wait.word;
    loop {
        // The word to wake on is resolved first, so that an error of it is returned even if the
        // other word has another value.
        let target = context.resolve(request.wake)?;
        let attempt = match context.own(word, request.wait.val)? {
            Ok(key) => with_place(|place| attempt(context, request, key, target, place)),
            Err(mismatch) => Err(mismatch),
        };
        match attempt {
            Ok(Err(error)) if error == ERESTARTSYS => return Err(EINTR),
            Ok(result) => return result,
            Err(mismatch) => mismatch.overcome(word)?,
        }
    }
}

/// Compares the word, queues the caller, wakes a waiter, and sleeps. If this returns an error, the
/// caller was not queued, and nobody was woken.
#[inline(always)]
fn attempt<'t>(
    context: Context<'t>,
    request: &request::Swap,
    key: OwnedKey,
    target: KeyId,
    place: Place<'_, 't>,
) -> Result<Result, Mismatch> {
    let request::Wait {
        word,
        val,
        mask,
        deadline,
    } = request.wait;
    let table = context.table();
    // As in a wait, the locks are released before `key` is dropped if the word has another value.
    let exchange = Exchange::enter(table.slot(target), table.slot(key.id()));
    let waiter = place.prepare(key, mask);
    context.compare(word, val)?;
    let mut chain = WakeChain::new();
    exchange.swap(target, waiter, &mut chain);
    drop(chain);
    Ok(wait::sleep(waiter, deadline))
}

#[cfg(RFUTEX_KUNIT)]
#[kunit_tests(rfutex_swap)]
mod tests {
    use super::*;
    use crate::{
        key::Hold,
        lab::kunit::{
            beside,
            by_page,
            expired,
            nobody_waits,
            request,
            until,
            waiting,
            Access::ReadWrite,
            Mapping, //
        },
        table::Table,
        time::Clock,
        word::Word, //
    };

    /// Calls `swap` with a deadline in the past, so that it does not sleep for long.
    fn swap_expired(table: &Table, word: Word, val: u64, wake: Word) -> Result {
        let wait = expired(word, val, Clock::Monotonic);
        swap(by_page(table), &request::Swap { wait, wake })
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
                let waiter = beside(move || wait::wait(by_page(&theirs), &request(wake, 0)))?;
                until(|| waiting(&table, wake) == Ok(1))?;
                // If the word has another value, nothing happens.
                let in_vain = swap_expired(&table, word, 1, wake);
                let still_waiting = waiting(&table, wake);
                let result = swap_expired(&table, word, 0, wake);
                let woken = waiter.join()?;
                assert!(in_vain == Err(EAGAIN));
                assert!(still_waiting == Ok(1));
                assert!(result == Err(ETIMEDOUT));
                assert!(woken == Ok(()));
                assert!(nobody_waits(&table));
                // The second time, there is nobody to be woken.
                let result = swap_expired(&table, word, 0, wake);
                assert!(result == Err(ETIMEDOUT));
                assert!(nobody_waits(&table));
            }
        }
        Ok(())
    }
}
