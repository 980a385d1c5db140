// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_SWAP`: wake one waiter on one word, and sleep on another, in one call.
//!
//! What FUTEX_SWAP would have been, for handing work to another thread and waiting for its answer.

use super::wait;
use crate::{
    key::{
        self,
        Borrowed, //
    },
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

/// How far an attempt came.
enum Step {
    /// The caller is queued, and who there was to wake is about to be.
    Queued,
    /// The caller's word has another value.
    Changed,
    /// The caller's word is not in memory. Nothing was done.
    NotInMemory,
}

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
#[inline]
pub(crate) fn swap(table: &Table, request: &request::Swap) -> Result {
    let word = &request.wait.word;
    loop {
        let key = key::own(word)?;
        let spot = table.spot(key.id());
        stack_pin_init!(let waiter = Waiter::current(key, request.wait.mask));
        let waiter = waiter.into_ref();
        let mut chain = WakeChain::new();
        let step = key::borrow(&request.wake, |target: &Borrowed<'_>| {
            let mut pair = Pair::lock(table.spot(target.id()), spot);
            match uaccess::read_inatomic(word) {
                Ok(value) if value != request.wait.val => Ok(Step::Changed),
                Ok(_) if target.holds() => {
                    pair.wake_from(target.id(), u64::MAX, 1, &mut chain);
                    pair.queue(waiter);
                    Ok(Step::Queued)
                }
                // The other word's page went elsewhere.
                Ok(_) => Err(()),
                Err(_) => Ok(Step::NotInMemory),
            }
        })?;
        match step {
            Step::Queued => drop(chain),
            Step::Changed => return Err(EAGAIN),
            Step::NotInMemory => {
                uaccess::fault_in(word)?;
                task::before_retry()?;
                continue;
            }
        }
        return match wait::sleep(waiter, request.wait.deadline.as_ref()) {
            Err(error) if error == ERESTARTSYS => Err(EINTR),
            result => result,
        };
    }
}
