// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_KEY_INFO`: what identifies a word, and who waits there.

use crate::{
    bindings::rfutex_key_info,
    key,
    mm::{
        task,
        vma, //
    },
    request,
    table::Table, //
};
use kernel::{
    current,
    prelude::*, //
};

/// How often the key and the mapping may disagree before it is put down to the mapping's driver.
const ATTEMPTS: u32 = 8;

/// Resolves the word and describes the result.
///
/// Tells no more than the caller can read in `/proc/self/maps` and `/proc/self/pagemap`.
///
/// # Errors
///
/// `EFAULT`: the word has no key, or the answer cannot be written.
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline]
pub(crate) fn key_info(table: &Table, request: request::KeyInfo) -> Result {
    let mut attempt = 1;
    loop {
        let (key, seen) = key::describe(&request.word)?;
        let id = key.id();
        let mut info = rfutex_key_info {
            kind: id.kind().to_uapi(),
            resolver: request.word.resolver().to_uapi(),
            index: id.index(),
            offset: id.offset(),
            folio_order: seen.map_or(-1, |seen| seen.order as i32),
            folio_index: seen.map_or(0, |seen| seen.index as u64),
            ..Default::default()
        };
        if key.inode().is_some() {
            let task = current!();
            let mm = task.mm().ok_or(EFAULT)?;
            let file = vma::file_at(mm, request.word.addr());
            let agrees = file.as_ref().is_some_and(|file| id.is_inode(file.host));
            if !agrees && attempt < ATTEMPTS {
                // Something else was mapped there since.
                drop(key);
                task::before_retry()?;
                attempt += 1;
                continue;
            }
            // A driver may map pages of another file than the one that the user opened, so that
            // they never agree. What the user opened is what the user may know. And at an address
            // with a tag, as some processors let through, there is a page and no mapping.
            let file = file.ok_or(EFAULT)?;
            (info.dev_major, info.dev_minor) = file.device;
            info.ino = file.ino;
        }
        info.nr_waiters = table.spot(id).count(id);
        return request.answer(info);
    }
}
