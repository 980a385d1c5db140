// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKE`, and the wakes whose argument is the address.

use crate::{
    key::{
        self,
        KeyId, //
    },
    queue::Bucket,
    request::{
        self,
        Word, //
    },
    table::Table,
    wake_chain::WakeChain, //
};
use kernel::prelude::*;

/// Wakes up to `nr` waiters on the word whose mask meets the request's. Returns how many.
///
/// Takes no reference on the inode, no lock where nobody waits, and allocates nothing.
///
/// # Errors
///
/// `EFAULT`: the word has no key.
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline(always)]
pub(crate) fn wake(table: &Table, request: &request::Wake) -> Result<u32> {
    let (word, mask, nr) = (request.word, request.mask, request.nr);
    if !word.private() {
        return wake_shared(table, word, mask, nr);
    }
    // A wake that finds nobody is the commonest call of all. It ends here.
    let id = key::private(&word)?;
    let bucket = table.bucket(id);
    if nr == 0 || bucket.is_empty() {
        return Ok(0);
    }
    Ok(wake_private(bucket, id, mask, nr))
}

#[inline(never)]
fn wake_private(bucket: &Bucket, id: KeyId, mask: u64, nr: u32) -> u32 {
    let mut chain = WakeChain::new();
    bucket.wake(id, mask, nr, &mut chain, || true).unwrap_or(0)
}

#[inline(never)]
fn wake_shared(table: &Table, word: Word, mask: u64, nr: u32) -> Result<u32> {
    // Dropped last: the tasks run after the key is gone.
    let mut chain = WakeChain::new();
    key::borrow(&word, |key| {
        let bucket = table.bucket(key.id());
        if nr == 0 || bucket.is_empty() {
            return Some(0);
        }
        bucket.wake(key.id(), mask, nr, &mut chain, || key.holds())
    })
}
