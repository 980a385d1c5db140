// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAITV`: sleep until a wake on any of several words, if all of them have the expected
//! values.

use super::wait;
use crate::{
    context::Context,
    mm::{
        task,
        version::EOWNERDEAD, //
    },
    owner::{
        Life,
        Owners, //
    },
    queue::{
        with_places,
        About,
        Places, //
    },
    request,
    trace::{
        self,
        Command, //
    }, //
};
use kernel::prelude::*;

/// The number of words up to which the waiters lie on the stack, and need no allocation.
const ON_STACK: usize = 6;

/// Compares each word with its value and, if all of them are equal, sleeps until a wake on any of
/// them. Returns the index of the word on which the caller was woken. If it was woken on several
/// words, that is the last of them in the order of the request. If the owner of a word has ended,
/// and no wake has come, returns the index of that word and `RFUTEX_WAITV_OWNERDEAD`.
///
/// # Errors
///
/// As [`wait::wait`], for any of the words, except for `EOWNERDEAD`. `EINVAL`: the words have more
/// than `RFUTEX_WAITV_OWNERS` different owners. `ENOMEM`: there are more than [`ON_STACK`] words, and
/// there is no memory for their waiters.
///
/// # Context
///
/// Process context, no locks held. Sleeps.
#[inline]
pub(crate) fn waitv(context: Context<'_>, request: &request::Waitv) -> Result<u32> {
    // They are looked up only once, so that each attempt waits for the same.
    let mut owners = Owners::new();
    loop {
        let result = with_places::<ON_STACK, _>(request.nr(), |waiters| {
            attempt(context, request, waiters, &mut owners)
        })??;
        if let Some(index) = result {
            return Ok(index);
        }
        task::before_retry()?;
    }
}

/// Makes one attempt. Returns `None` if a word was not in memory, and was now brought there, so
/// that the caller has to try again.
fn attempt<'t>(
    context: Context<'t>,
    request: &request::Waitv,
    mut waiters: Places<'_, '_, 't>,
    owners: &mut Owners,
) -> Result<Option<u32>> {
    // All keys are resolved before any waiter is queued, because that may sleep.
    for index in 0..request.nr() {
        let entry = request.entry(index)?;
        if let Some(name) = entry.owner {
            owners
                .add(name, index)
                .or_else(|error| check_entries_from(request, index + 1).and(Err(error)))?;
        }
        let key = match context.own(entry.word, entry.val) {
            Ok(Ok(key)) => key,
            // An invalid entry takes precedence over a word that has no key or cannot be read, and
            // that over a word that has another value.
            Err(error) => {
                check_entries_from(request, index + 1)?;
                return Err(error);
            }
            Ok(Err(mismatch)) => {
                check_entries_from(request, index + 1)?;
                for later in index + 1..request.nr() {
                    context.resolve(request.entry(later)?.word)?;
                }
                compare_entries_before(context, request, index)?;
                return mismatch.overcome(entry.word).map(|()| None);
            }
        };
        let about = About::new(entry.word, entry.val);
        let owner = entry.owner.and_then(|_| owners.of(index)).cloned();
        waiters.prepare(key, entry.mask, about, owner)?;
    }
    for (index, waiter) in waiters.iter().enumerate() {
        let Some(id) = waiter.unqueued_id() else {
            continue;
        };
        let entry = context.table().slot(id).enter();
        let About { word, val, .. } = waiter.asked();
        let Err(mismatch) = context.compare(word, val) else {
            trace::wait(
                context.table(),
                Command::Waitv,
                id,
                word,
                val,
                waiter.mask(),
                request.deadline.is_some(),
            );
            entry.queue(waiter);
            continue;
        };
        drop(entry);
        // A wake on one of the words on which the caller is already queued takes precedence over
        // the mismatch, so that it is not lost.
        return match leave(context, &waiters, index, Err(EAGAIN)) {
            Some(index) => Ok(Some(index)),
            None => mismatch.overcome(word).map(|()| None),
        };
    }
    let any_woken = || waiters.iter().any(|waiter| waiter.is_woken());
    let result = if owners.is_empty() {
        wait::sleep_until(any_woken, request.deadline, || Life::Goes)
    } else {
        owners.listening(|life| wait::sleep_until(any_woken, request.deadline, life))
    };
    match (leave(context, &waiters, request.nr(), result), result) {
        (Some(index), _) => Ok(Some(index)),
        (None, Err(error)) if error == EOWNERDEAD => Ok(owners.ended()),
        (None, result) => result.map(|()| None),
    }
}

/// Checks the entries from `first` on.
fn check_entries_from(request: &request::Waitv, first: usize) -> Result {
    (first..request.nr()).try_for_each(|index| request.entry(index).map(drop))
}

/// Compares the words of the entries before `end` with their values. The first entry whose word has
/// another value or cannot be read decides how the call ends, as in futex(2). But not every word is
/// compared when its key is found.
fn compare_entries_before(context: Context<'_>, request: &request::Waitv, end: usize) -> Result {
    (0..end).try_for_each(|index| {
        let entry = request.entry(index)?;
        context
            .compare(entry.word, entry.val)
            .or_else(|mismatch| mismatch.overcome(entry.word))
    })
}

/// Takes the first `nr` waiters out of their queues, because the call ends with `result`, unless
/// one of them was woken. Returns the index of the one that was; if several were, the index of the
/// last of them.
fn leave(
    context: Context<'_>,
    waiters: &Places<'_, '_, '_>,
    nr: usize,
    result: Result,
) -> Option<u32> {
    let mut woken = None;
    for (index, waiter) in waiters.iter().take(nr).enumerate() {
        let mut why = result.and(trace::OTHER_WORD);
        if !waiter.leave() {
            woken = Some(index as u32);
            why = Ok(());
        }
        trace::woken(context.table(), Command::Waitv, waiter, why);
    }
    woken
}
