// SPDX-License-Identifier: GPL-2.0

//! The page resolver: looks at the page behind the address, and takes no page lock.
//!
//! The steps are numbered; their order is the design. Where each comes from:
//!
//! - (000) Mel Gorman, "futex: Remove requirement for lock_page in get_futex_key", RFC of 2013, and
//!   Chris Mason's answer to it.
//! - (001) Linus Torvalds, "Some more lock_page work", 2020: take the reference, then look again.
//! - (002) Version 3 of the first, with Davidlohr Bueso, 2016; it became 65d8fc777f6d.
//! - (004) Andrea Arcangeli and Oleg Nesterov, "introduce get_compound_page", 2013: references on
//!   THP tails.
//!
//! Userspace can provoke every race here. None of them is worth more than another try.

use super::{
    Borrowed,
    KeyId,
    Kind,
    Owned,
    Place,
    Seen, //
};
use crate::{
    lab::{
        self,
        Point, //
    },
    mm::{
        folio::{
            FileMapping,
            Mapping, //
        },
        gup::{
            Access,
            PageRef, //
        },
        inode::Host, //
    },
    request::Word,
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// What steps 1 to 3 found.
pub(super) enum Found {
    /// The address is the key: the word is private, or on this anonymous page.
    Address(KeyId, Option<PageRef>),
    /// A page of a file.
    File(PageRef, FileMapping),
}

/// Steps 1 to 3: which page, and what it belongs to. A private word needs none. `None`: try again.
#[inline(always)]
pub(super) fn find(word: &Word, access: Access) -> Result<Option<Found>> {
    if word.private() {
        let id = KeyId::in_current_mm(Kind::Private, word.addr())?;
        return Ok(Some(Found::Address(id, None)));
    }
    // 1. The page, without mmap_lock where it is there.
    // 2. Its folio. Our reference keeps the folio whole from here on.                       (004)
    let page = PageRef::get(word.addr(), access)?;
    // 3. What it belongs to.
    let mapping = if lab::fault(Point::NoMapping) {
        Mapping::None
    } else {
        page.mapping()
    };
    match mapping {
        // A read-only anonymous page never changes: waiting on it is a mistake.
        Mapping::Anonymous if !page.writable() => Err(EFAULT),
        Mapping::Anonymous => {
            // No lock, no RCU: the address is the key.                                     (000)
            let id = KeyId::in_current_mm(Kind::Mm, word.addr())?;
            Ok(Some(Found::Address(id, Some(page))))
        }
        Mapping::File(mapping) => Ok(Some(Found::File(page, mapping))),
        // The one slow path. The folio is given back before the next try.              (000, 002)
        Mapping::None if page.is_moving()? => Ok(None),
        Mapping::None => Err(EFAULT),
    }
}

/// Resolves a word for a wake; see [`super::borrow`].
#[inline(never)]
pub(super) fn borrow<R>(
    word: &Word,
    access: Access,
    mut f: impl FnMut(&Borrowed) -> Option<R>,
) -> Result<R> {
    super::retry(|| {
        let Some(found) = find(word, access)? else {
            return Ok(None);
        };
        Ok(settle(found, word)?.and_then(|key| f(&key)))
    })
}

/// Steps 4 and 5, for a wake; see [`super::borrow`]. `None`: try again.
#[inline(always)]
pub(super) fn settle(found: Found, word: &Word) -> Result<Option<Borrowed>> {
    let (page, mapping) = match found {
        Found::Address(id, _) => return Ok(Some(Borrowed { id, place: None })),
        Found::File(page, mapping) => (page, mapping),
    };
    // 4. From here on, no inode is freed.
    let rcu = rcu::read_lock();
    // 5.
    let Some(host) = host(&page, mapping, &rcu)? else {
        return Ok(None);
    };
    // 6 and 7 are for those who stay.
    let id = KeyId::in_inode(host.addr(), &page, word);
    Ok(Some(Borrowed {
        id,
        place: Some(Place {
            _rcu: rcu,
            page,
            mapping,
        }),
    }))
}

/// Resolves a word for a wait; see [`super::own`]. Shows the page to `look` while it is there.
#[inline]
pub(super) fn own<T>(
    word: &Word,
    access: Access,
    look: impl Fn(Option<&PageRef>) -> T,
) -> Result<(Owned, T)> {
    super::retry(|| {
        let (page, mapping) = match find(word, access)? {
            None => return Ok(None),
            Some(Found::Address(id, page)) => {
                return Ok(Some((Owned { id, inode: None }, look(page.as_ref()))));
            }
            Some(Found::File(page, mapping)) => (page, mapping),
        };
        // 4. From here on, no inode is freed.
        let rcu = rcu::read_lock();
        // 5.
        let Some(host) = host(&page, mapping, &rcu)? else {
            return Ok(None);
        };
        // 6. A reference on the superblock and on the inode, unless they are going.         (002)
        let attempt = match host.try_get() {
            Ok(inode) if lab::fault(Point::InodeGoing) => Err(inode.give_back(&rcu)),
            // 7. The reference first, then look again: an inode that was recycled in place between
            //    5 and 6 no longer has this page.                                          (001)
            Ok(inode) if !page.belongs_to(mapping) || lab::fault(Point::MappingChanged) => {
                Err(inode.give_back(&rcu))
            }
            attempt => attempt,
        };
        let result = attempt.map(|inode| {
            let id = KeyId::in_inode(inode.addr(), &page, word);
            let inode = Some(inode);
            (Owned { id, inode }, look(Some(&page)))
        });
        // 8.
        drop(rcu);
        // 9. The folio goes before anything that may be a last iput(), as `result` may be.  (000)
        drop(page);
        Ok(result.ok())
    })
}

/// Step 5: still the same mapping, and an inode behind it that we take. `None`: try again.
#[inline]
fn host<'rcu>(
    page: &PageRef,
    mapping: FileMapping,
    rcu: &'rcu rcu::Guard,
) -> Result<Option<Host<'rcu>>> {
    match page.host(mapping, rcu) {
        Some(host) if host.acceptable() => Ok(Some(host).filter(|_| !lab::fault(Point::HostGone))),
        Some(_) => Err(EFAULT),
        None => Ok(None),
    }
}

/// What [`own`] can be asked to look at.
pub(super) fn seen(page: &PageRef) -> Seen {
    Seen {
        order: page.folio_order(),
        index: page.index_in_folio(),
    }
}
