// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKE_OP`: change a word, and wake on two.

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

/// Changes the target word in one step, wakes on the first word, and on the target if the value that
/// it had compares. Returns how many were woken.
///
/// All in one step against every wait on either word. Takes no reference on an inode, and allocates
/// nothing.
///
/// # Errors
///
/// - `EFAULT`: a word has no key, or the target cannot be written.
/// - `EINVAL`: this architecture cannot change a word of the target's size in user memory.
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline]
pub(crate) fn wake_op(table: &Table, request: &request::WakeOp) -> Result<u32> {
    loop {
        // Dropped last: the tasks run after the keys are gone.
        let mut chain = WakeChain::new();
        let (key, target) = key::borrow_both(&request.word, &request.target)?;
        let mut pair = Pair::lock(table.bucket(key.id()), table.bucket(target.id()));

        // From here on no waiter comes or goes. A key that holds now names the inode of those that
        // are queued under it, which they own.
        let result = if key.holds() && target.holds() {
            uaccess::update_inatomic(&request.target, |old| request.apply(old))
        } else {
            Err(EAGAIN)
        };
        let old = match result {
            Ok(old) => old,
            Err(error) => {
                drop(pair);
                drop((key, target));
                if error == EFAULT {
                    uaccess::fault_in_writable(&request.target)?;
                } else if error != EAGAIN {
                    return Err(error);
                }
                task::before_retry()?;
                continue;
            }
        };
        let mut woken = pair.wake_from(key.id(), u64::MAX, request.nr, &mut chain);
        if request.compares(old) {
            woken += pair.wake_to(target.id(), u64::MAX, request.nr_target, &mut chain);
        }
        return Ok(woken);
    }
}
