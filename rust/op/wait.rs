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
        uaccess::Mismatch, //
    },
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
    let waiter = place.prepare(key, request.mask);
    context.compare(request.word, request.val)?;
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
