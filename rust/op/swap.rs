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
    queue::Waiter,
    request,
    table::Table,
    wake_chain::WakeChain, //
};
use kernel::prelude::*;
use pin_init::stack_pin_init;

/// Queues the caller on the word of `wait`, wakes one waiter on the word `wake`, and sleeps.
///
/// The caller is queued before the other is woken: whatever that one then does, it finds the caller
/// there. Nobody is woken if the caller is not queued.
///
/// # Errors
///
/// As [`wait::wait`] and [`super::wake::wake`], but a signal gives `EINTR` once somebody was woken:
/// the call must not be made again as it is.
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

        let entry = bucket.enter();
        match uaccess::read_inatomic(word) {
            Ok(value) if value == request.wait.val => entry.queue(waiter),
            Ok(_) => return Err(EAGAIN),
            Err(_) => {
                drop(entry);
                drop(target);
                uaccess::fault_in(word)?;
                task::before_retry()?;
                continue;
            }
        }
        let woken = table
            .bucket(target.id())
            .wake(&target, u64::MAX, 1, &mut chain);
        drop(target);
        if woken.is_none() {
            // The page went elsewhere. Not queued again: a wake that we got counts.
            let result = super::wake::wake(table, &request::Wake::one(request.wake));
            if let Err(error) = result {
                return if waiter.leave() { Err(error) } else { Ok(()) };
            }
        }
        drop(chain);
        return match wait::sleep(waiter, request.wait.deadline.as_ref()) {
            Err(error) if error == ERESTARTSYS => Err(EINTR),
            result => result,
        };
    }
}
