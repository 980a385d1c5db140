// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_KEY_INFO`: what identifies a word, and who waits there.

use crate::{
    bindings::rfutex_key_info,
    context::Context,
    key::Kind,
    mm::{
        task,
        vma, //
    },
    request, //
};
use kernel::prelude::*;

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
pub(crate) fn key_info(context: Context<'_>, request: request::KeyInfo) -> Result {
    let table = context.table();
    let mut attempt = 1;
    loop {
        let (id, position) = context.describe(request.word)?;
        // Where a page lies in its folio are bits of its physical address.
        let position = position.filter(|_| task::is_admin());
        let mut info = rfutex_key_info {
            kind: id.kind().to_uapi(),
            resolver: context.resolver().to_uapi(),
            index: id.index(),
            offset: id.offset(),
            folio_order: position.map_or(-1, |position| position.order as i32),
            folio_index: position.map_or(0, |position| position.index as u64),
            object: table.object_cookie(id),
            ..Default::default()
        };
        if id.kind() == Kind::Inode {
            let file = vma::file_at(request.word.addr())?;
            let host = file.as_ref().and_then(|file| file.host);
            if !host.is_some_and(|number| id.is_inode(number)) && attempt < ATTEMPTS {
                // Something else was mapped there since.
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
        info.nr_waiters = table.slot(id).lock().count(id);
        return request.answer(info);
    }
}
