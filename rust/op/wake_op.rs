// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKE_OP`: change a word, and wake on two.

use crate::{
    context::Context,
    key::KeyId,
    mm::{
        task,
        uaccess, //
    },
    request,
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
/// - Others as [`key::resolve`](crate::key::resolve).
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline]
pub(crate) fn wake_op(context: Context<'_>, request: &request::WakeOp) -> Result<u32> {
    loop {
        // One page at a time: nothing of the first word is held while the second is faulted in.
        let id = context.resolve(request.word)?;
        let target = context.resolve_writable(request.target)?;
        match attempt(context, request, id, target) {
            // Others kept changing it.
            Err(error) if error == EAGAIN => {}
            Err(error) if error == EFAULT => uaccess::fault_in_writable(request.target)?,
            result => return result,
        }
        task::before_retry()?;
    }
}

fn attempt(
    context: Context<'_>,
    request: &request::WakeOp,
    id: KeyId,
    target: KeyId,
) -> Result<u32> {
    // Dropped last: the tasks run after the buckets were unlocked.
    let mut chain = WakeChain::new();
    // From here on no waiter comes or goes.
    let mut pair = context.table().pair(id, target);
    let old = uaccess::update_inatomic(request.target, |old| request.apply(old))?;
    let mut woken = pair.wake_from(id, request.nr, &mut chain);
    if request.compares(old) {
        woken += pair.wake_to(target, request.nr_target, &mut chain);
    }
    Ok(woken)
}
