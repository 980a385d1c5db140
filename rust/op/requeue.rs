// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_REQUEUE`: wake some waiters, and move others to another word.

use crate::{
    key,
    mm::{
        task,
        uaccess, //
    },
    queue::Pair,
    request,
    table::Table,
    wake_chain::WakeChain, //
};
use kernel::prelude::*;

/// Wakes up to `nr_wake` waiters on the first word, and moves up to `nr_move` more to the second, if
/// the first has the value that is asked for. Returns how many were woken and moved.
///
/// Both in one step against every wait and wake on either word. Allocates nothing.
///
/// # Errors
///
/// - `EAGAIN`: the first word has another value.
/// - `EINVAL`: a waiter of another process would be moved to a word that is identified by an
///   address in this one, or by a file on another file system than that of its own word.
/// - `EFAULT`: a word cannot be read, or has no key. `EINTR`: the task was killed. Others as
///   [`key::own`].
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline]
pub(crate) fn requeue(table: &Table, request: &request::Requeue) -> Result<u32> {
    loop {
        let from = key::own(&request.from)?;
        let to = key::own(&request.to)?;
        let mut chain = WakeChain::new();
        let mut pair = Pair::lock(table.spot(from.id()), table.spot(to.id()));

        if let Some(val) = request.val {
            match uaccess::read_inatomic(&request.from) {
                Ok(value) if value == val => {}
                Ok(_) => return Err(EAGAIN),
                Err(_) => {
                    drop(pair);
                    uaccess::fault_in(&request.from)?;
                    task::before_retry()?;
                    continue;
                }
            }
        }
        if pair.would_burden(&from, &to, request.nr_wake, request.nr_move) {
            return Err(EINVAL);
        }
        let woken = pair.wake_from(from.id(), u64::MAX, request.nr_wake, &mut chain);
        let moved = pair.move_waiters(&from, &to, request.nr_move);
        return Ok(woken + moved);
    }
}
