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

/// The number of attempts after which a key and a mapping that are of different files are taken to
/// be what the driver of the mapping does, not the result of a race.
const ATTEMPTS: u32 = 8;

/// Finds the key of the word, and tells the caller what it is, and how many waiters there are on
/// it.
///
/// Reveals no more about the memory than `/proc/self/maps` and `/proc/self/pagemap` do.
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
        // The position of a page in its folio reveals bits of the page's physical address.
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
                // It is likely that something else was mapped there after the word was resolved.
                task::before_retry()?;
                attempt += 1;
                continue;
            }
            // A driver may map pages of another file than the one that the user opened, so that the
            // two never agree. In that case the answer describes the file that the user opened. If
            // there is no file, the address may have a tag, which some processors ignore: there is
            // a page at such an address, but no VMA is found.
            let file = file.ok_or(EFAULT)?;
            (info.dev_major, info.dev_minor) = file.device;
            info.ino = file.ino;
        }
        info.nr_waiters = table.slot(id).lock().count(id);
        return request.answer(info);
    }
}
