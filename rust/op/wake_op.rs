// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKE_OP`: change a word, and wake on two.

use crate::{
    key::{
        self,
        Borrowed, //
    },
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
        let result = key::borrow_both(&request.word, &request.target, |key, target| {
            attempt(table, request, key, target, &mut chain)
        })?;
        match result {
            Err(error) if error == EFAULT => uaccess::fault_in_writable(&request.target)?,
            result => return result,
        }
        task::before_retry()?;
    }
}

#[inline(never)]
fn attempt(
    table: &Table,
    request: &request::WakeOp,
    key: &Borrowed<'_>,
    target: &Borrowed<'_>,
    chain: &mut WakeChain,
) -> Option<Result<u32>> {
    let mut pair = Pair::lock(table.spot(key.id()), table.spot(target.id()));
    // From here on no waiter comes or goes. A key that holds now names the inode of those that are
    // queued under it, which they own.
    if !key.holds() || !target.holds() {
        return None;
    }
    let old = match uaccess::update_inatomic(&request.target, |old| request.apply(old)) {
        Ok(old) => old,
        // Others kept changing it.
        Err(error) if error == EAGAIN => return None,
        Err(error) => return Some(Err(error)),
    };
    let mut woken = pair.wake_from(key.id(), u64::MAX, request.nr, chain);
    if request.compares(old) {
        woken += pair.wake_to(target.id(), u64::MAX, request.nr_target, chain);
    }
    Some(Ok(woken))
}
