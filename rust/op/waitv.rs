// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAITV`: sleep while all of several words have their values.

use super::wait;
use crate::{
    context::Context,
    mm::{
        task,
        uaccess, //
    },
    queue::{
        with_places,
        Places, //
    },
    request,
    word::Word, //
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
type Waiters<'p, 'm, 't> = Places<'p, 'm, 't, Expected>;

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
pub(crate) fn waitv(context: Context<'_>, request: &request::Waitv) -> Result<u32> {
    loop {
        let result = with_places::<_, ON_STACK, _>(request.nr(), |waiters| {
            attempt(context, request, waiters)
        })??;
        if let Some(index) = result {
            return Ok(index);
        }
        task::before_retry()?;
    }
}

/// One attempt. `None`: a word was not in memory, but is now.
fn attempt<'t>(
    context: Context<'t>,
    request: &request::Waitv,
    mut waiters: Waiters<'_, '_, 't>,
) -> Result<Option<u32>> {
    // All keys first: that may sleep.
    for index in 0..request.nr() {
        let entry = request.entry(index)?;
        let key = match context.own(entry.word, entry.val) {
            Ok(Ok(key)) => key,
            // What is wrong with the request is told before what is wrong with memory, and that
            // before what is wrong with a value.
            Err(error) => {
                check_entries_from(request, index + 1)?;
                return Err(error);
            }
            Ok(Err(mismatch)) => {
                check_entries_from(request, index + 1)?;
                for later in index + 1..request.nr() {
                    context.resolve(request.entry(later)?.word)?;
                }
                return mismatch.overcome(entry.word).map(|()| None);
            }
        };
        let expected = Expected {
            word: entry.word,
            val: entry.val,
        };
        waiters.prepare(key, entry.mask, expected)?;
    }
    for (index, (waiter, expected)) in waiters.iter().enumerate() {
        let Some(id) = waiter.unqueued_id() else {
            continue;
        };
        let entry = context.table().slot(id).enter();
        let Err(mismatch) = uaccess::compare_inatomic(expected.word, expected.val) else {
            entry.queue(waiter);
            continue;
        };
        drop(entry);
        // A wake on one of those that are queued already counts more.
        return match leave(&waiters, index) {
            Some(index) => Ok(Some(index)),
            None => mismatch.overcome(expected.word).map(|()| None),
        };
    }
    let any_woken = || waiters.iter().any(|(waiter, _)| waiter.is_woken());
    let result = wait::sleep_until(any_woken, request.deadline);
    match leave(&waiters, request.nr()) {
        Some(index) => Ok(Some(index)),
        None => result.map(|()| None),
    }
}

/// Checks the entries from `first` on.
fn check_entries_from(request: &request::Waitv, first: usize) -> Result {
    (first..request.nr()).try_for_each(|index| request.entry(index).map(drop))
}

/// Takes the first `nr` out of their queues. The index of one that was woken; of the last, if
/// several were.
fn leave(waiters: &Waiters<'_, '_, '_>, nr: usize) -> Option<u32> {
    let mut woken = None;
    for (index, (waiter, _)) in waiters.iter().take(nr).enumerate() {
        if !waiter.leave() {
            woken = Some(index as u32);
        }
    }
    woken
}
