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

/// How far an attempt came.
enum Step {
    /// The caller is queued, and who there was to wake is woken.
    Woke,
    /// The caller's word has another value.
    Changed,
    /// The caller's word is not in memory.
    NotInMemory,
}

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
#[inline]
pub(crate) fn swap(table: &Table, request: &request::Swap) -> Result {
    let word = &request.wait.word;
    loop {
        let key = key::own(word)?;
        let bucket = table.bucket(key.id());
        stack_pin_init!(let waiter = Waiter::current(key, request.wait.mask));
        let waiter = waiter.into_ref();
        let mut chain = WakeChain::new();
        let mut queued = false;
        let result = key::borrow(&request.wake, |target| {
            // Once queued, we stay so, even if the other word's page moves meanwhile.
            if !queued {
                let entry = bucket.enter();
                match uaccess::read_inatomic(word) {
                    Ok(value) if value == request.wait.val => entry.queue(waiter),
                    Ok(_) => return Some(Step::Changed),
                    Err(_) => return Some(Step::NotInMemory),
                }
                queued = true;
            }
            let bucket = table.bucket(target.id());
            if bucket.is_empty() {
                return Some(Step::Woke);
            }
            bucket
                .wake(target.id(), u64::MAX, 1, &mut chain, || target.holds())
                .map(|_| Step::Woke)
        });
        match result {
            Ok(Step::Woke) => drop(chain),
            Ok(Step::Changed) => return Err(EAGAIN),
            Ok(Step::NotInMemory) => {
                uaccess::fault_in(word)?;
                task::before_retry()?;
                continue;
            }
            // A wake that we got while we were queued counts.
            Err(error) if queued => return if waiter.leave() { Err(error) } else { Ok(()) },
            Err(error) => return Err(error),
        }
        return match wait::sleep(waiter, request.wait.deadline.as_ref()) {
            Err(error) if error == ERESTARTSYS => Err(EINTR),
            result => result,
        };
    }
}
