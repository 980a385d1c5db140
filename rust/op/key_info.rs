// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_KEY_INFO`: what identifies a word, and who waits there.

use crate::{
    bindings as uapi,
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
pub(crate) fn key_info(table: &Table, request: request::KeyInfo) -> Result {
    loop {
        let (key, seen) = key::describe(&request.word)?;
        let id = key.id();
        let mut info = rfutex_key_info {
            kind: id.kind().to_uapi(),
            resolver: uapi::RFUTEX_RESOLVER_PAGE,
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
            let Some(file) = file.filter(|file| id.is_inode(file.host)) else {
                // Something else was mapped there since.
                drop(key);
                task::before_retry()?;
                continue;
            };
            (info.dev_major, info.dev_minor) = file.device;
            info.ino = file.ino;
        }
        info.nr_waiters = table.bucket(id).count(id);
        return request.answer(info);
    }
}
