// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_REQUEUE`: wake some waiters, and move others to another word.

use crate::{
    context::Context,
    key::{
        KeyId,
        Kind,
        OwnedKey, //
    },
    mm::uaccess::Mismatch,
    queue::WaiterKind,
    request,
    trace,
    wake_chain::WakeChain,
    word::Word, //
};
use kernel::prelude::*;

/// Wakes up to `nr_wake` waiters on the first word, and moves up to `nr_move` others to the second
/// word. If the request has a value, does so only if the first word has that value. Returns the
/// number of waiters that were woken or moved.
///
/// Comparing, waking and moving are atomic with respect to waits and wakes on either word.
/// Allocates nothing.
///
/// # Errors
///
/// - `EAGAIN`: the first word has another value.
/// - `EINVAL`: a waiter of another process would be moved to a word whose key is an address in this
///   process; or, if waiters hold inodes, to a word in another file.
/// - `EFAULT`: a word cannot be read, or has no key.
/// - `EINTR`: the task was killed.
/// - Others as [`key::resolve`](crate::key::resolve).
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline]
pub(crate) fn requeue(context: Context<'_>, request: &request::Requeue) -> Result<u32> {
    loop {
        let from = context.resolve(request.from)?;
        let to = context.resolve(request.to)?;
        let attempt = match without_moving(context, request, from, to) {
            Some(attempt) => attempt,
            None if context.holds(from) || context.holds(to) => {
                let from = context.own_unconditionally(request.from)?;
                let to = context.own_unconditionally(request.to)?;
                move_waiters(context, request, &from, &to)?
            }
            None => move_waiters(context, request, &OwnedKey::bare(from), &OwnedKey::bare(to))?,
        };
        match attempt {
            Ok(done) => return Ok(done),
            Err(mismatch) => mismatch.overcome(request.from)?,
        }
    }
}

/// Compares the first word, and wakes waiters on it, if no waiter has to be moved. This takes one
/// lock, and no references. Returns `None`, and does nothing, if waiters have to be moved.
#[inline]
fn without_moving(
    context: Context<'_>,
    request: &request::Requeue,
    from: KeyId,
    to: KeyId,
) -> Option<Result<u32, Mismatch>> {
    // This is dropped last, so that the tasks are woken after the bucket was unlocked.
    let mut chain = WakeChain::new();
    let mut locked = context.table().slot(from).lock();
    if let Err(mismatch) = compare(context, request) {
        return Some(Err(mismatch));
    }
    if request.nr_move != 0 && locked.has_more_than(from, request.nr_wake) {
        return None;
    }
    let woken = locked.wake(from, u64::MAX, request.nr_wake, &mut chain);
    tell(context, request, (from, to), (woken, 0));
    Some(Ok(woken))
}

/// Compares the first word, wakes waiters on it, and moves others.
fn move_waiters(
    context: Context<'_>,
    request: &request::Requeue,
    from: &OwnedKey,
    to: &OwnedKey,
) -> Result<Result<u32, Mismatch>> {
    // This is dropped last, so that the tasks are woken after the buckets were unlocked.
    let mut chain = WakeChain::new();
    let mut pair = context.table().pair(from.id(), to.id());
    if let Err(mismatch) = compare(context, request) {
        return Ok(Err(mismatch));
    }
    if pair
        .foreign(from.id(), request.nr_wake, request.nr_move)
        .any(|kind| !may_move(context, kind, from.id(), to.id()))
    {
        return Err(EINVAL);
    }
    let woken = pair.wake_from(from.id(), request.nr_wake, &mut chain);
    let moved = pair.move_waiters(from, to, request.nr_move, &mut chain);
    tell(context, request, (from.id(), to.id()), (woken, moved));
    Ok(Ok(woken + moved))
}

/// Emits a trace event: of those who wait on the first key, so many were woken, and so many moved to
/// the second.
#[inline(always)]
fn tell(
    context: Context<'_>,
    request: &request::Requeue,
    (from, to): (KeyId, KeyId),
    done: (u32, u32),
) {
    let nr = (request.nr_wake, request.nr_move);
    trace::requeue(context.table(), from, to, nr, done);
}

/// Whether a waiter of this `kind`, of another process, may be moved from the key `from` to the key
/// `to`.
///
/// It must not be moved to a word on which only this process can wake it. A task that holds an
/// inode must not be moved to another file either, because it did not choose to hold that one.
fn may_move(context: Context<'_>, kind: WaiterKind, from: KeyId, to: KeyId) -> bool {
    let reachable = matches!(to.kind(), Kind::Inode | Kind::Arena);
    match kind {
        WaiterKind::Task => reachable && (!context.holds(to) || to.is_in_file_of(from)),
        WaiterKind::Watch => reachable,
        #[cfg(CONFIG_IO_URING)]
        WaiterKind::Request => reachable,
        // These are not moved at all.
        WaiterKind::RepeatedWatch | WaiterKind::Marker => true,
    }
}

/// Compares the first word with the value in the request, if there is one.
#[inline]
fn compare(context: Context<'_>, request: &request::Requeue) -> Result<(), Mismatch> {
    match request.val {
        Some(val) => compare_with(context, request.from, val),
        None => Ok(()),
    }
}

/// Compares `word` with `val`. See [`Context::compare`].
///
/// This is apart so that the walk through the queue has the registers for itself.
#[inline(never)]
fn compare_with(context: Context<'_>, word: Word, val: u64) -> Result<(), Mismatch> {
    context.compare(word, val)
}
