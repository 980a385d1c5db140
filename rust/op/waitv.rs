// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAITV`: sleep while all of several words have their values.

use crate::{
    key,
    mm::{
        pinned_vec::{
            self,
            PinnedVec, //
        },
        task,
        uaccess, //
    },
    op::wait,
    queue::Waiter,
    request::{
        self,
        Word, //
    },
    table::Table,
};
use kernel::prelude::*;

/// So many words need no allocation. They lie on the stack.
const ON_STACK: usize = 6;

/// What a waiter's word is to be.
struct Expected {
    word: Word,
    val: u64,
}

/// The waiters of a call, one for each word.
type Waiters<'m, 't> = PinnedVec<'m, Waiter<'t>, Expected>;

/// Compares each word with its value and, where all are equal, sleeps until a wake on any of them.
/// Returns the index of the word that was woken; of the last, if several were.
///
/// # Errors
///
/// As [`wait::wait`], for any of the words. `ENOMEM`: there are many words, and no memory.
///
/// # Context
///
/// Process context, no locks held. Sleeps.
#[inline]
pub(crate) fn waitv(table: &Table, request: &request::Waitv) -> Result<u32> {
    loop {
        let result = pinned_vec::with_capacity::<_, _, ON_STACK, _>(request.nr(), |waiters| {
            attempt(table, request, waiters)
        })??;
        if let Some(index) = result {
            return Ok(index);
        }
        task::before_retry()?;
    }
}

/// One attempt. `None`: a word was not in memory, but is now.
fn attempt<'t>(
    table: &'t Table,
    request: &request::Waitv,
    waiters: &mut Waiters<'_, 't>,
) -> Result<Option<u32>> {
    // All keys first: that may sleep.
    for index in 0..request.nr() {
        let entry = request.entry(index)?;
        let key = key::own(&entry.word).or_else(|error| {
            // What is wrong in a request is told before what is wrong with memory.
            (index + 1..request.nr()).try_for_each(|later| request.entry(later).map(drop))?;
            Err(error)
        })?;
        let expected = Expected {
            word: entry.word,
            val: entry.val,
        };
        waiters.push(Waiter::current(key, entry.mask), expected)?;
    }
    for (index, (waiter, expected)) in waiters.iter().enumerate() {
        let Some(id) = waiter.unqueued_id() else {
            continue;
        };
        let entry = table.spot(id).enter();
        let result = match uaccess::read_inatomic(&expected.word) {
            Ok(value) if value == expected.val => {
                entry.queue(waiter);
                continue;
            }
            Ok(_) => Err(EAGAIN),
            Err(error) => Err(error),
        };
        drop(entry);
        // A wake on one of those that are queued already counts more.
        return match (leave(waiters, index), result) {
            (Some(index), _) => Ok(Some(index)),
            (None, Err(error)) if error == EFAULT => {
                uaccess::fault_in(&expected.word).map(|()| None)
            }
            (None, result) => result,
        };
    }
    let any_woken = || waiters.iter().any(|(waiter, _)| waiter.is_woken());
    let result = wait::sleep_until(any_woken, request.deadline);
    match leave(waiters, request.nr()) {
        Some(index) => Ok(Some(index)),
        None => result.map(|()| None),
    }
}

/// Takes the first `nr` out of their queues. The index of one that was woken; of the last, if
/// several were.
fn leave(waiters: &Waiters<'_, '_>, nr: usize) -> Option<u32> {
    let mut woken = None;
    for (index, (waiter, _)) in waiters.iter().take(nr).enumerate() {
        if !waiter.leave() {
            woken = Some(index as u32);
        }
    }
    woken
}
