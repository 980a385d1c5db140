// SPDX-License-Identifier: GPL-2.0

//! Keys that a resolver lends, and steps 6 and 7 of what becomes of them. See [`super::page`] for
//! the steps.

use super::{
    KeyId,
    Kind,
    OwnedKey,
    Resolver, //
};
use crate::{
    lab::{
        self,
        Point, //
    },
    mm::{
        folio::FileMapping,
        gup::PageRef,
        inode::{
            DeferredPut,
            Host, //
        },
        number::Number,
        speculation::Speculation,
        version, //
    },
    trace::{
        self,
        Step, //
    },
};
use kernel::{
    page::{
        PAGE_MASK,
        PAGE_SHIFT, //
    },
    prelude::*,
    sync::rcu, //
};

/// A key that a resolver lends, while the object that it was found on is known to be valid memory.
#[derive(Clone, Copy)]
pub(crate) struct Borrowed<'a> {
    pub(super) id: KeyId,
    /// The word's page, if the resolver looked it up.
    page: Option<&'a PageRef>,
    pub(super) object: Object<'a>,
}

/// The object that a borrowed key names, and what keeps it valid.
#[derive(Clone, Copy)]
pub(super) enum Object<'a> {
    /// The address space of the current process, on which the process has a reference.
    Mm,
    /// An inode that was seen in an RCU read-side critical section. It may be recycled in place at
    /// any time. After its number was read, the check tells whether it was the word's inode then.
    Seen(Host<'a>, Check<'a>, &'a rcu::Guard),
    /// An inode that cannot go away, because a lock is held.
    Kept(Host<'a>),
}

/// How to find out whether an inode that was seen is the word's inode.
#[derive(Clone, Copy)]
pub(super) enum Check<'a> {
    /// It is if the key's page still belongs to this mapping.
    Page(FileMapping),
    /// It is if the address space of the process has not been changed since.
    Mapped(Speculation<'a>),
}

impl<'a> Borrowed<'a> {
    /// The key of the word at `addr`, in anonymous memory of the current process.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the task has no mm.
    #[inline]
    pub(super) fn in_process(addr: usize, page: Option<&'a PageRef>) -> Result<Self> {
        Ok(Self {
            id: KeyId::in_current_mm(Kind::Mm, addr)?,
            page,
            object: Object::Mm,
        })
    }

    /// The key of the byte at `position` in the file whose inode has this `number`.
    #[inline]
    pub(super) fn in_file(
        number: Number,
        position: u64,
        page: Option<&'a PageRef>,
        object: Object<'a>,
    ) -> Self {
        Self {
            id: KeyId::new(Kind::Inode, number, position),
            page,
            object,
        }
    }

    /// The key of the word at `addr`, which lies on `page`, a page of the file whose inode is
    /// `host`. Gives the inode a number if it has none yet.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the inode cannot be held, and `any_file` is not set.
    #[inline(always)]
    pub(super) fn on_page(
        host: Host<'a>,
        page: &'a PageRef,
        addr: usize,
        any_file: bool,
        object: Object<'a>,
    ) -> Result<Self> {
        if !any_file && !host.can_be_held() {
            return Err(EFAULT);
        }
        let position = position(page.index(), addr);
        Ok(Self::in_file(
            host.number_or_give(),
            position,
            Some(page),
            object,
        ))
    }

    /// Step 7: whether the inode was the word's inode when its number was read.
    ///
    /// The number was read with acquire ordering, so that this check cannot be satisfied by what
    /// memory contained before the number was read.
    #[inline(always)]
    pub(super) fn still_holds(&self) -> bool {
        match self.object {
            Object::Seen(_, check, _) => {
                let unchanged = match check {
                    Check::Page(mapping) => self.page.is_some_and(|page| page.belongs_to(mapping)),
                    Check::Mapped(speculation) => speculation.holds(),
                };
                unchanged && !lab::fault(Point::MappingChanged)
            }
            _ => true,
        }
    }

    /// Emits a trace event: the word has to be resolved again, because of this `step`.
    #[inline(always)]
    fn tell_retry(&self, step: Step) {
        let resolver = match self.object {
            Object::Seen(_, Check::Page(_), _) => Resolver::Page,
            #[cfg(RFUTEX_LAB)]
            Object::Kept(_) if self.page.is_some() => Resolver::Locked,
            _ => Resolver::Vma,
        };
        trace::retry(resolver, step);
    }

    /// The key itself.
    ///
    /// # Errors
    ///
    /// The word may have another key by now. The caller has to resolve it again.
    #[inline(always)]
    pub(super) fn id(&self) -> Result<KeyId, DeferredPut> {
        // The page's index must have been read before the check below as well: when fs/dax.c takes
        // a page from its mapping, it overwrites the index.
        version::smp_rmb();
        if self.still_holds() {
            Ok(self.id)
        } else {
            self.tell_retry(Step::MappingChanged);
            Err(DeferredPut::Nothing)
        }
    }

    /// Turns this into a key to sleep on. If the key names an inode, takes a reference on the inode
    /// and one on its superblock.
    ///
    /// # Errors
    ///
    /// The inode or its superblock is being destroyed, or the word may have another key by now. The
    /// caller has to resolve the word again.
    #[inline(always)]
    pub(super) fn own(&self) -> Result<OwnedKey, DeferredPut> {
        let host = match self.object {
            Object::Mm => return Ok(OwnedKey::bare(self.id)),
            Object::Seen(host, ..) | Object::Kept(host) => host,
        };
        // 6. Take a reference on the superblock and one on the inode, unless one of them is being
        //    destroyed.                                                                    (002)
        let inode = host
            .try_get()
            .inspect_err(|_| self.tell_retry(Step::InodeGoing))?;
        if let Object::Seen(_, _, rcu) = self.object {
            if lab::fault(Point::InodeGoing) {
                self.tell_retry(Step::InodeGoing);
                return Err(inode.give_back(rcu));
            }
            // 7. Now that there is a reference, look again: an inode that was recycled in place
            //    between steps 5 and 6 no longer has this page.                            (001)
            if !self.still_holds() {
                self.tell_retry(Step::MappingChanged);
                return Err(inode.give_back(rcu));
            }
        }
        Ok(OwnedKey::with_inode(self.id, inode))
    }

    /// Where the word's page is in its folio; `None` if the resolver looked up no page.
    pub(super) fn folio_position(&self) -> Option<FolioPosition> {
        self.page.map(|page| FolioPosition {
            order: page.folio_order(),
            index: page.index_in_folio(),
        })
    }
}

/// Where a word's page is in its folio. This is only shown to the user.
#[derive(Clone, Copy)]
pub(crate) struct FolioPosition {
    /// The folio has 2^`order` pages.
    pub(crate) order: u32,
    /// The index of the word's page in the folio.
    pub(crate) index: usize,
}

/// The position in a file, in bytes, of what lies at `addr`, on the page with this `index`.
#[inline]
fn position(index: usize, addr: usize) -> u64 {
    let offset = addr & !PAGE_MASK;
    (index as u64) << PAGE_SHIFT | offset as u64
}
