// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_WAKE`, and the wakes whose argument is the address.

use crate::{
    key,
    mm::task,
    request,
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
#[inline]
pub(crate) fn wake(table: &Table, request: &request::Wake) -> Result<u32> {
    // Dropped last: the tasks run after the key is gone.
    let mut chain = WakeChain::new();
    loop {
        let key = key::borrow(&request.word)?;
        let bucket = table.bucket(key.id());
        if let Some(woken) = bucket.wake(&key, request.mask, request.nr, &mut chain) {
            return Ok(woken);
        }
        // The page went elsewhere since the key was made: nobody was woken yet.
        drop(key);
        task::before_retry()?;
    }
}
