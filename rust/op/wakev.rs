// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKEV`: wake waiters on several words.

use crate::{
    bindings as uapi,
    context::Context,
    key::KeyId,
    mm::pinned_vec::{
        self,
        PinnedVec, //
    },
    queue::BucketSlot,
    request,
    trace::{
        self,
        Command, //
    },
    wake_chain::WakeChain, //
};
use core::cell::Cell;
use kernel::prelude::*;

/// The number of words up to which everything lies on the stack, and nothing is allocated.
const ON_STACK: usize = 16;

/// How many words there can be.
const MAX: usize = uapi::RFUTEX_WAKEV_MAX as usize;

/// The results if nobody is woken.
static NOBODY: [u32; MAX] = [0; MAX];

/// What the request wants of the key of a word.
struct Wanted {
    mask: u64,
    /// How many waiters to wake at most.
    nr: u32,
    /// How many were woken.
    woken: Cell<u32>,
}

/// The words of the request, as they were resolved.
type Targets<'m> = PinnedVec<'m, KeyId, Wanted>;

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
/// - `ENOMEM`: there are more than [`ON_STACK`] words, and there is no memory.
/// - Others as [`key::resolve`](crate::key::resolve).
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn wakev(context: Context<'_>, request: &request::Wakev) -> Result<u32> {
    pinned_vec::with_capacity::<_, _, ON_STACK, _>(request.nr(), |targets| {
        resolve(context, request, targets)?;
        request.write_results(NOBODY.get(..request.nr()).ok_or(EINVAL)?)?;
        if !wake_all(context, targets) {
            // This is what the results say already.
            return Ok(0);
        }
        Ok(write_results(request, targets))
    })?
}

/// Reads the entries, and resolves their words.
///
/// # Errors
///
/// As [`wakev`].
#[inline(always)]
fn resolve(context: Context<'_>, request: &request::Wakev, targets: &mut Targets<'_>) -> Result {
    for index in 0..request.nr() {
        let entry = request.entry(index)?;
        let id = match context.resolve_directly(entry.word)? {
            Some(id) => id,
            None => context.resolve(entry.word)?,
        };
        let wanted = Wanted {
            mask: entry.mask,
            nr: entry.nr,
            woken: Cell::new(0),
        };
        targets.push(id, wanted)?;
    }
    Ok(())
}

/// Wakes the waiters. Returns whether there were any.
#[inline(always)]
fn wake_all(context: Context<'_>, targets: &Targets<'_>) -> bool {
    let mut any = false;
    // The tasks are woken when this function returns, before the results are written: that may
    // fault, and other wakes may have left their tasks to this chain.
    let mut chain = WakeChain::new();
    for (first, (id, _)) in targets.iter().enumerate() {
        let slot = context.table().slot(*id);
        if !slot.is_empty() {
            any |= wake_on(slot, targets, first, &mut chain);
        }
    }
    if trace::shows_wakes() {
        tell(context, targets);
    }
    any
}

/// Emits a trace event for each of the words.
#[cold]
#[inline(never)]
fn tell(context: Context<'_>, targets: &Targets<'_>) {
    for (id, wanted) in targets.iter() {
        let (mask, nr, woken) = (wanted.mask, wanted.nr, wanted.woken.get());
        trace::wake(context.table(), Command::Wakev, *id, mask, nr, woken);
    }
}

/// Wakes the waiters on the word with the index `first`, and on all later ones that have the same
/// key. Returns whether there were any.
#[inline(never)]
fn wake_on(
    slot: BucketSlot<'_>,
    targets: &Targets<'_>,
    first: usize,
    chain: &mut WakeChain,
) -> bool {
    let Some((id, _)) = targets.iter().nth(first) else {
        return false;
    };
    // An earlier word with the same key has dealt with this one as well.
    let mut earlier = targets.iter().take(first);
    if earlier.any(|(earlier, _)| *earlier == *id) {
        return false;
    }
    let mut any = false;
    slot.lock().wake_where(*id, chain, |mask| {
        let same = targets.iter().skip(first);
        let mut wanting = same
            .filter(|(other, wanted)| **other == *id && wanted.woken.get() < wanted.nr)
            .peekable();
        // The lock is not kept for those whom nobody wants.
        wanting.peek()?;
        let Some((_, wanted)) = wanting.find(|(_, wanted)| wanted.mask & mask != 0) else {
            return Some(false);
        };
        wanted.woken.set(wanted.woken.get() + 1);
        any = true;
        Some(true)
    });
    any
}

/// Writes how many waiters were woken on each word. Returns the number of all of them.
#[inline(never)]
fn write_results(request: &request::Wakev, targets: &Targets<'_>) -> u32 {
    let mut results = NOBODY;
    for (result, (_, wanted)) in results.iter_mut().zip(targets.iter()) {
        *result = wanted.woken.get();
    }
    if let Some(results) = results.get(..request.nr()) {
        // Nothing can be undone if this fails.
        let _ = request.write_results(results);
    }
    results.iter().sum()
}
