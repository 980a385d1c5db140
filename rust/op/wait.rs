// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAIT`: sleep while the word has a value.

use crate::{
    key,
    mm::{
        task,
        uaccess, //
    },
    queue::Waiter,
    request,
    table::Table,
    time::Deadline, //
};
use core::pin::Pin;
use kernel::prelude::*;
use pin_init::stack_pin_init;

/// Compares the word with the value and, where they are equal, sleeps until a wake.
///
/// Comparing and queueing are one step against every wake. Allocates nothing.
///
/// # Errors
///
/// - `EAGAIN`: the word has another value.
/// - `ETIMEDOUT`: the deadline passed. A deadline in the past is one that passes at once.
/// - `ERESTARTSYS`: a signal came. The deadline being absolute, the call can be made again as it is.
/// - `EFAULT`: the word cannot be read, or has no key.
///
/// # Context
///
/// Process context, no locks held. Sleeps.
#[inline]
pub(crate) fn wait(table: &Table, request: &request::Wait) -> Result {
    loop {
        let key = key::own(&request.word)?;
        let bucket = table.bucket(key.id());
        let entry = bucket.enter();
        match uaccess::read_inatomic(&request.word) {
            Ok(value) if value == request.val => {
                stack_pin_init!(let waiter = Waiter::current(key, request.mask));
                entry.queue(waiter.as_ref());
                return sleep(waiter.as_ref(), request.deadline.as_ref());
            }
            Ok(_) => return Err(EAGAIN),
            Err(_) => {
                // Not in memory. Another page may come, with another key: begin again.
                drop(entry);
                uaccess::fault_in(&request.word)?;
                task::before_retry()?;
            }
        }
    }
}

/// Sleeps until the waiter is woken, the deadline passes or a signal comes.
///
/// A wake that was there first wins over the other two: it is never lost.
pub(super) fn sleep(waiter: Pin<&Waiter<'_>>, deadline: Option<&Deadline>) -> Result {
    match sleep_until(|| waiter.is_woken(), deadline) {
        Err(reason) if waiter.leave() => Err(reason),
        _ => Ok(()),
    }
}

/// Sleeps until `woken`, which a waker makes true before it wakes the task. Wakes for no reason of
/// ours are not shown: the queue still has us, in our place.
///
/// # Errors
///
/// `ETIMEDOUT`, `ERESTARTSYS`: the deadline passed, a signal came.
pub(super) fn sleep_until(woken: impl Fn() -> bool, deadline: Option<&Deadline>) -> Result {
    loop {
        task::prepare_to_sleep();
        if woken() {
            task::stay_awake();
            return Ok(());
        }
        let expired = task::sleep(deadline);
        if woken() {
            return Ok(());
        }
        if expired {
            return Err(ETIMEDOUT);
        }
        if task::signal_pending() {
            return Err(ERESTARTSYS);
        }
    }
}
