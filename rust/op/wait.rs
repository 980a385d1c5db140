// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAIT`: sleep until a wake, if the word has the expected value.

#[cfg(RFUTEX_KUNIT)]
mod tests;

use crate::{
    context::Context,
    key::OwnedKey,
    mm::{
        task,
        timer,
        uaccess::Mismatch,
        version::EOWNERDEAD, //
    },
    owner::{
        self,
        Life,
        Owner, //
    },
    queue::{
        with_place,
        About,
        Place,
        Waiter, //
    },
    request,
    time::Deadline,
    trace::{
        self,
        Command, //
    }, //
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
    if let Some(name) = request.owner {
        return wait_for_owner(context, request, name);
    }
    let Some(id) = context.resolve_directly(request.word)? else {
        return wait_on_address(context, request);
    };
    let attempt =
        with_place(|place| attempt(context, request, OwnedKey::bare(id), place, None, sleep));
    after_attempt(context, request, attempt, None)
}

/// Does what [`wait`] does, where the word's key has to be looked up, and no owner is named.
///
/// This is apart so that waits on other words do not pay for the registers and the stack that it
/// needs.
#[inline(never)]
fn wait_on_address(context: Context<'_>, request: &request::Wait) -> Result {
    let attempt = match context.own(request.word, request.val)? {
        Ok(key) => with_place(|place| attempt(context, request, key, place, None, sleep)),
        Err(mismatch) => Err(mismatch),
    };
    after_attempt(context, request, attempt, None)
}

/// Does what [`wait`] does, where the request names an owner.
///
/// # Errors
///
/// `EOWNERDEAD`: the word has the value, and the owner has ended. Others as [`owner::Name::find`].
#[cold]
#[inline(never)]
fn wait_for_owner(context: Context<'_>, request: &request::Wait, name: owner::Name) -> Result {
    let owner = name.find()?;
    let Some(id) = context.resolve_directly(request.word)? else {
        return wait_slowly(context, request, Some(&owner));
    };
    let attempt = with_place(|place| {
        attempt(
            context,
            request,
            OwnedKey::bare(id),
            place,
            Some(&owner),
            |waiter, deadline| sleep_for_owner(waiter, deadline, &owner),
        )
    });
    after_attempt(context, request, attempt, Some(&owner))
}

/// Returns the result of the first attempt to wait, or makes more of them if the word was not in
/// memory.
#[inline(always)]
fn after_attempt(
    context: Context<'_>,
    request: &request::Wait,
    attempt: Result<Result, Mismatch>,
    owner: Option<&Owner>,
) -> Result {
    match attempt {
        Ok(result) => result,
        Err(Mismatch::Changed) => Err(EAGAIN),
        Err(mismatch) => {
            mismatch.overcome(request.word)?;
            wait_slowly(context, request, owner)
        }
    }
}

/// Does what [`wait`] does, for all words, with an owner and without, and as often as the word is
/// not in memory.
#[cold]
#[inline(never)]
fn wait_slowly(context: Context<'_>, request: &request::Wait, owner: Option<&Owner>) -> Result {
    loop {
        let attempt = match context.own(request.word, request.val)? {
            Ok(key) => with_place(|place| {
                attempt(context, request, key, place, owner, |waiter, deadline| {
                    sleep_for_any(waiter, deadline, owner)
                })
            }),
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
    owner: Option<&Owner>,
    sleep: impl Fn(Pin<&Waiter<'_>>, Option<Deadline>) -> Result,
) -> Result<Result, Mismatch> {
    // The key's references were taken before the bucket is locked. If the word has another value,
    // they are put after it is unlocked: `entry` is dropped before `key`, which is a parameter.
    let entry = context.table().slot(key.id()).enter();
    context.compare(request.word, request.val)?;
    trace::wait(
        context.table(),
        Command::Wait,
        key.id(),
        request.word,
        request.val,
        request.mask,
        request.deadline.is_some(),
    );
    let about = About::new(request.word, request.val);
    let waiter = place.prepare(key, request.mask, about, owner.cloned());
    entry.queue(waiter);
    let result = sleep(waiter, request.deadline);
    trace::woken(context.table(), Command::Wait, waiter, result);
    Ok(result)
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
    unless_woken(
        waiter,
        sleep_until(|| waiter.is_woken(), deadline, || Life::Goes),
    )
}

/// Sleeps as [`sleep`] does, but also until `owner` ends.
///
/// # Errors
///
/// As [`sleep`]. `EOWNERDEAD`: the owner has ended, and no wake has come before the caller knew.
///
/// # Context
///
/// As [`sleep`].
#[inline(never)]
fn sleep_for_owner(waiter: Pin<&Waiter<'_>>, deadline: Option<Deadline>, owner: &Owner) -> Result {
    let result = owner.listening(|| sleep_until(|| waiter.is_woken(), deadline, || owner.life()));
    let result = unless_woken(waiter, result);
    if result == Err(EOWNERDEAD) {
        trace::owner_has_ended(owner);
    }
    result
}

/// Sleeps as [`sleep_for_owner`] does if there is an owner, and as [`sleep`] does if not.
#[inline]
pub(super) fn sleep_for_any(
    waiter: Pin<&Waiter<'_>>,
    deadline: Option<Deadline>,
    owner: Option<&Owner>,
) -> Result {
    match owner {
        None => sleep(waiter, deadline),
        Some(owner) => sleep_for_owner(waiter, deadline, owner),
    }
}

/// Takes the waiter, whose sleep has ended with `result`, out of its queue. Returns the result,
/// unless a wake has counted the waiter.
#[inline(always)]
fn unless_woken(waiter: Pin<&Waiter<'_>>, result: Result) -> Result {
    match result {
        Err(reason) if waiter.leave() => Err(reason),
        _ => Ok(()),
    }
}

/// Sleeps until `woken` returns true, the deadline passes, a signal arrives, or what `life` tells
/// of has ended.
///
/// A waker must make `woken` true before it wakes the task. If the task is woken for any other
/// reason, it sleeps again, and keeps its place in the queue meanwhile.
///
/// # Errors
///
/// `EOWNERDEAD`: `life` told of an end. `ETIMEDOUT`: the deadline passed. `ERESTARTSYS`: a signal
/// arrived.
///
/// # Context
///
/// Process context, no locks held. Sleeps.
#[inline(always)]
pub(super) fn sleep_until(
    woken: impl Fn() -> bool,
    deadline: Option<Deadline>,
    life: impl Fn() -> Life,
) -> Result {
    match deadline {
        None => sleep_unless_expired(woken, || false, life),
        // The timer is armed only once, even if the task wakes up and sleeps again several times.
        Some(deadline) => timer::with(deadline, |timer| {
            sleep_unless_expired(woken, || timer.expired(), life)
        }),
    }
}

/// Does what [`sleep_until`] does, where `expired` tells whether the deadline has passed.
#[inline(always)]
fn sleep_unless_expired(
    woken: impl Fn() -> bool,
    expired: impl Fn() -> bool,
    life: impl Fn() -> Life,
) -> Result {
    loop {
        task::prepare_to_sleep();
        let life = life();
        if !woken() && !expired() {
            match life {
                Life::Goes => task::schedule(),
                Life::GoesUnheard => task::schedule_for_a_second(),
                Life::Ended => {}
            }
        }
        task::stay_awake();
        if woken() {
            return Ok(());
        }
        if life == Life::Ended {
            return Err(EOWNERDEAD);
        }
        if expired() {
            return Err(ETIMEDOUT);
        }
        if task::signal_pending() {
            return Err(ERESTARTSYS);
        }
    }
}
