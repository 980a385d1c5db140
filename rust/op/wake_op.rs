// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKE_OP`: change one word, and wake waiters on it and on another.

use crate::{
    context::Context,
    key::KeyId,
    mm::{
        task,
        uaccess, //
    },
    request,
    trace::{
        self,
        Command, //
    },
    wake_chain::WakeChain, //
};
use kernel::prelude::*;

/// Changes the target word atomically, and wakes waiters on the first word. If the comparison in
/// the request is true of the target's old value, wakes waiters on the target as well. Returns the
/// number of waiters that were woken.
///
/// All of this is atomic with respect to waits on either word. Takes no reference on an inode, and
/// allocates nothing.
///
/// # Errors
///
/// - `EFAULT`: a word has no key, or the target cannot be written to.
/// - `EINVAL`: this architecture cannot change a word of the target's size in user memory.
/// - Others as [`key::resolve`](crate::key::resolve).
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline]
pub(crate) fn wake_op(context: Context<'_>, request: &request::WakeOp) -> Result<u32> {
    loop {
        // The words are resolved one after the other, so that there is no reference on the page of
        // the first while that of the second is faulted in, which may take long.
        let id = context.resolve(request.word)?;
        let target = context.resolve_writable(request.target)?;
        match attempt(context, request, id, target) {
            // Other tasks changed the target each time before this one could.
            Err(error) if error == EAGAIN => {}
            Err(error) if error == EFAULT && !request.target.in_arena() => {
                uaccess::fault_in_writable(request.target)?;
            }
            result => return result,
        }
        task::before_retry()?;
    }
}

/// Makes one attempt, which fails with `EFAULT` if the target has to be faulted in first, and with
/// `EAGAIN` if other tasks kept changing it.
fn attempt(
    context: Context<'_>,
    request: &request::WakeOp,
    id: KeyId,
    target: KeyId,
) -> Result<u32> {
    // This is dropped last, so that the tasks are woken after the buckets were unlocked.
    let mut chain = WakeChain::new();
    // While this is held, no waiter can be queued on either word, or leave it.
    let mut pair = context.table().pair(id, target);
    let old = context.update(request.target, |old| request.apply(old))?;
    let mut woken = pair.wake_from(id, request.nr, &mut chain);
    tell(context, id, request.nr, woken);
    if request.compares(old) {
        let on_target = pair.wake_to(target, request.nr_target, &mut chain);
        tell(context, target, request.nr_target, on_target);
        woken += on_target;
    }
    Ok(woken)
}

/// Emits a trace event: of those who wait on the key `id`, `nr` were to be woken, and `woken` were.
#[inline(always)]
fn tell(context: Context<'_>, id: KeyId, nr: u32, woken: u32) {
    trace::wake(context.table(), Command::WakeOp, id, u64::MAX, nr, woken);
}
