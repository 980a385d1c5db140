// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKEV`: wake waiters on several words.

use crate::{
    context::Context,
    key::KeyId,
    lab::{
        self,
        Point, //
    },
    request,
    wake_chain::WakeChain, //
};
use kernel::prelude::*;

/// A word of the request, as it was resolved.
struct Target {
    id: KeyId,
    mask: u64,
    /// How many more waiters to wake at most.
    left: u32,
}

/// Wakes waiters on each of the words. Returns the number of all waiters that were woken, and
/// writes how many there were on each word.
///
/// All words are resolved before the first waiter is woken. Words that have the same key are dealt
/// with in one walk through their queue: a waiter is woken for the first of them whose mask it
/// meets and that is to wake another one. So a watch that stays queued is met once. Those who were
/// woken run when all words were dealt with.
///
/// # Errors
///
/// If there is an error, nobody was woken.
///
/// - `EFAULT`: a word has no key, an entry cannot be read, or the results cannot be written. If the
///   results can no longer be written when the waiters were woken, that is not an error.
/// - `ENOMEM`: there is no memory.
/// - Others as [`key::resolve`](crate::key::resolve).
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn wakev(context: Context<'_>, request: &request::Wakev) -> Result<u32> {
    if lab::fault(Point::Allocate) {
        return Err(ENOMEM);
    }
    let mut targets = KVec::with_capacity(request.nr(), GFP_KERNEL)?;
    for index in 0..request.nr() {
        let entry = request.entry(index)?;
        let target = Target {
            id: context.resolve(entry.word)?,
            mask: entry.mask,
            left: entry.nr,
        };
        targets.push(target, GFP_KERNEL)?;
    }
    let mut results = KVec::from_elem(0u32, request.nr(), GFP_KERNEL)?;
    request.write_results(&results)?;
    wake_all(context, &mut targets, &mut results);
    let woken = results.iter().sum();
    // Nothing can be undone if this fails.
    let _ = request.write_results(&results);
    Ok(woken)
}

/// Wakes the waiters, and puts their numbers into `results`.
fn wake_all(context: Context<'_>, targets: &mut [Target], results: &mut [u32]) {
    // The tasks are woken when this function returns, before the results are written: that may
    // fault, and other wakes may have left their tasks to this chain.
    let mut chain = WakeChain::new();
    for first in 0..targets.len() {
        let id = targets[first].id;
        let slot = context.table().slot(id);
        // An earlier word with the same key has dealt with this one as well.
        if slot.is_empty() || targets[..first].iter().any(|earlier| earlier.id == id) {
            continue;
        }
        slot.lock().wake_where(id, &mut chain, |mask| {
            let same = targets.iter_mut().zip(&mut *results).skip(first);
            let mut wanting = same
                .filter(|(target, _)| target.id == id && target.left != 0)
                .peekable();
            // The lock is not kept for those whom nobody wants.
            wanting.peek()?;
            let Some((target, result)) = wanting.find(|(target, _)| target.mask & mask != 0) else {
                return Some(false);
            };
            target.left -= 1;
            *result += 1;
            Some(true)
        });
    }
}
