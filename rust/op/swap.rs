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
    owner::Owner,
    queue::{
        with_place,
        About,
        Exchange,
        Place,
        Waiter, //
    },
    request,
    time::Deadline,
    trace::{
        self,
        Command, //
    },
    wake_chain::WakeChain, //
};
use core::pin::Pin;
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
/// `ERESTARTSYS`, because to restart the call would wake another waiter. With `EOWNERDEAD`, as with
/// all that ends a sleep, a waiter was woken.
///
/// # Context
///
/// Process context, no locks held. Sleeps.
#[inline]
pub(crate) fn swap(context: Context<'_>, request: &request::Swap) -> Result {
    if request.wait.owner.is_some() {
        return swap_slowly(context, request);
    }
    // The word to wake on is resolved first, so that an error of it is returned even if the other
    // word has another value.
    let Some(target) = context.resolve_directly(request.wake)? else {
        return swap_on_addresses(context, request);
    };
    let Some(id) = context.resolve_directly(request.wait.word)? else {
        return swap_on_addresses(context, request);
    };
    let key = OwnedKey::bare(id);
    let attempt =
        with_place(|place| attempt(context, request, key, target, place, None, wait::sleep));
    after_attempt(context, request, attempt)
}

/// Does what [`swap`] does, where a key has to be looked up, and no owner is named.
#[inline(never)]
fn swap_on_addresses(context: Context<'_>, request: &request::Swap) -> Result {
    let target = context.resolve(request.wake)?;
    let attempt = match context.own(request.wait.word, request.wait.val)? {
        Ok(key) => {
            with_place(|place| attempt(context, request, key, target, place, None, wait::sleep))
        }
        Err(mismatch) => Err(mismatch),
    };
    after_attempt(context, request, attempt)
}

/// Returns the result of the first attempt, or makes more of them if the word was not in memory.
#[inline(always)]
fn after_attempt(
    context: Context<'_>,
    request: &request::Swap,
    attempt: Result<Result, Mismatch>,
) -> Result {
    match attempt {
        Ok(result) => not_again(result),
        Err(Mismatch::Changed) => Err(EAGAIN),
        Err(mismatch) => {
            mismatch.overcome(request.wait.word)?;
            swap_slowly(context, request)
        }
    }
}

/// Does what [`swap`] does, for all words, with an owner and without, and as often as the word is
/// not in memory.
#[cold]
#[inline(never)]
fn swap_slowly(context: Context<'_>, request: &request::Swap) -> Result {
    let owner = match request.wait.owner {
        None => None,
        Some(name) => Some(name.find()?),
    };
    let sleep =
        |waiter: Pin<&Waiter<'_>>, deadline| wait::sleep_for_any(waiter, deadline, owner.as_ref());
    let word = request.wait.word;
    loop {
        let target = context.resolve(request.wake)?;
        let attempt = match context.own(word, request.wait.val)? {
            Ok(key) => with_place(|place| {
                attempt(context, request, key, target, place, owner.as_ref(), sleep)
            }),
            Err(mismatch) => Err(mismatch),
        };
        match attempt {
            Ok(result) => return not_again(result),
            Err(mismatch) => mismatch.overcome(word)?,
        }
    }
}

/// The result of a sleep after which the call must not be restarted.
#[inline]
fn not_again(result: Result) -> Result {
    match result {
        Err(error) if error == ERESTARTSYS => Err(EINTR),
        result => result,
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
    owner: Option<&Owner>,
    sleep: impl Fn(Pin<&Waiter<'_>>, Option<Deadline>) -> Result,
) -> Result<Result, Mismatch> {
    let request::Wait {
        word,
        val,
        mask,
        deadline,
        ..
    } = request.wait;
    let table = context.table();
    // As in a wait, the locks are released before `key` is dropped if the word has another value.
    let exchange = Exchange::enter(table.slot(target), table.slot(key.id()));
    context.compare(word, val)?;
    let timed = deadline.is_some();
    trace::wait(table, Command::Swap, key.id(), word, val, mask, timed);
    let waiter = place.prepare(key, mask, About::new(word, val), owner.cloned());
    let mut chain = WakeChain::new();
    let woken = exchange.swap(target, waiter, &mut chain);
    trace::wake(table, Command::Swap, target, u64::MAX, 1, woken);
    drop(chain);
    let result = sleep(waiter, deadline);
    trace::woken(table, Command::Swap, waiter, result);
    Ok(result)
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
