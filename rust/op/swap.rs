// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_SWAP`: wake one waiter on one word, and sleep on another, in one call.
//!
//! What FUTEX_SWAP would have been, for handing work to another thread and waiting for its answer.

use super::wait;
use crate::{
    key,
    mm::{
        task,
        uaccess, //
    },
    queue::{
        Pair,
        Waiter, //
    },
    request,
    table::Table,
    wake_chain::WakeChain, //
};
use kernel::prelude::*;
use pin_init::stack_pin_init;

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
pub(crate) fn swap(table: &Table, request: &request::Swap) -> Result {
    let word = &request.wait.word;
    loop {
        let key = key::own(word)?;
        let bucket = table.bucket(key.id());
        stack_pin_init!(let waiter = Waiter::current(key, request.wait.mask));
        let waiter = waiter.into_ref();
        let mut chain = WakeChain::new();
        // RCU from here on: nothing sleeps while this key lives.
        let target = key::borrow(&request.wake)?;
        let mut pair = Pair::lock(table.bucket(target.id()), bucket);

        match uaccess::read_inatomic(word) {
            Ok(value) if value != request.wait.val => return Err(EAGAIN),
            Ok(_) if target.holds() => {
                pair.wake_from(target.id(), u64::MAX, 1, &mut chain);
                pair.queue(waiter);
            }
            // The word is not in memory, or the other one's page went elsewhere. Nothing was done.
            result => {
                drop(pair);
                drop(target);
                if result.is_err() {
                    uaccess::fault_in(word)?;
                }
                task::before_retry()?;
                continue;
            }
        }
        drop(target);
        drop(chain);
        return match wait::sleep(waiter, request.wait.deadline.as_ref()) {
            Err(error) if error == ERESTARTSYS => Err(EINTR),
            result => result,
        };
    }
}
