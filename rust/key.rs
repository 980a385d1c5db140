// SPDX-License-Identifier: GPL-2.0

//! Keys: what a wait and a wake must have in common to meet.
//!
//! A resolver turns an address into a key. The key is *borrowed* first: good for comparing, for as
//! long as an RCU section lasts, at the price of no reference on the inode. A waiter needs one that
//! it can sleep on, an *owned* one, which holds the inode and its superblock.
//!
//! | the word lies | [`Kind`] | key |
//! |---|---|---|
//! | anywhere, the caller said private | `Private` | (mm, address) |
//! | on an anonymous page | `Mm` | (mm, address) |
//! | on a page of a file, shared memory included | `Inode` | (inode, position in it) |

pub(crate) mod page;
#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
mod tests;

use crate::{
    bindings as uapi,
    mm::{
        folio::FileMapping,
        gup::{
            Access,
            PageRef, //
        },
        inode::InodeRef,
        task,
        uaccess, //
    },
    request::Word,
};
use core::mem;
use kernel::{
    current,
    page::PAGE_SHIFT,
    prelude::*,
    sync::rcu, //
};

/// What kind of thing a word is identified by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The address in this process, because the caller said so.
    Private = 0,
    /// The address in this process, because the memory is anonymous.
    Mm = 1,
    /// The inode and the position in it.
    Inode = 2,
}

impl Kind {
    /// As the interface has it.
    pub(crate) fn to_uapi(self) -> u32 {
        match self {
            Kind::Private => uapi::RFUTEX_KEY_PRIVATE,
            Kind::Mm => uapi::RFUTEX_KEY_MM,
            Kind::Inode => uapi::RFUTEX_KEY_INODE,
        }
    }
}

/// The numbers that make a key: to compare and to hash, never to follow.
///
/// Two of them are equal only if the keys are the same, as long as somebody sees to it that the
/// object (mm or inode) is not freed and made anew between the two. That is what [`Borrowed`] and
/// [`Owned`] are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyId {
    /// The object's address, with the kind in its low bits.
    object: usize,
    /// The position in it in bytes: an address, or an offset in a file.
    position: u64,
}

impl KeyId {
    #[inline]
    fn new(kind: Kind, object: usize, position: u64) -> Self {
        Self {
            object: object | kind as usize,
            position,
        }
    }

    /// The key of `addr` in the current process.
    #[inline]
    fn in_current_mm(kind: Kind, addr: usize) -> Result<Self> {
        let task = current!();
        let mm = task.mm().ok_or(EFAULT)?;
        Ok(Self::new(kind, mm.as_raw().addr(), addr as u64))
    }

    /// The key of the byte `position` of the inode at `inode`.
    #[inline]
    fn in_inode(inode: usize, page: &PageRef, word: &Word) -> Self {
        let offset = word.addr() & !kernel::page::PAGE_MASK;
        let position = (page.index() as u64) << PAGE_SHIFT | offset as u64;
        Self::new(Kind::Inode, inode, position)
    }

    /// The kind.
    pub(crate) fn kind(self) -> Kind {
        match self.object & 3 {
            0 => Kind::Private,
            1 => Kind::Mm,
            _ => Kind::Inode,
        }
    }

    /// The number of the word's page, in the address space or in the file.
    pub(crate) fn index(self) -> u64 {
        self.position >> PAGE_SHIFT
    }

    /// The word's offset in its page, in bytes.
    pub(crate) fn offset(self) -> u32 {
        (self.position & ((1 << PAGE_SHIFT) - 1)) as u32
    }

    /// The two numbers, for the hash.
    #[inline]
    pub(crate) fn parts(self) -> (u64, u64) {
        (self.object as u64, self.position)
    }

    /// Whether the object is the inode at this address.
    pub(crate) fn is_inode(self, inode: usize) -> bool {
        self.object == inode | Kind::Inode as usize
    }

    /// A key out of nothing.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn made_up(kind: Kind, object: usize, position: u64) -> Self {
        Self::new(kind, object, position)
    }
}

/// A key for a wake: compared with others while it lives, then forgotten.
///
/// Waiters own what they wait on, so an inode that a waiter's key names is alive; and the memory of
/// the inode that this key names is not freed while it lives. What is left is an inode that is
/// recycled in place, which [`Borrowed::holds`] sees.
pub(crate) struct Borrowed {
    id: KeyId,
    place: Option<Place>,
}

/// Where the word of an inode key was seen. Dropped in this order: RCU ends, then the folio goes.
struct Place {
    _rcu: rcu::Guard,
    page: PageRef,
    mapping: FileMapping,
}

impl Borrowed {
    /// The numbers.
    #[inline]
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Whether the page still belongs to where it was found.
    ///
    /// To be asked under the bucket's lock, before the first waiter is marked: if it says no, the
    /// inode may have become another one, and the wake has to begin again with a new key.
    #[inline]
    pub(crate) fn holds(&self) -> bool {
        !crate::lab::fault(crate::lab::Point::BorrowedMoved)
            && self
                .place
                .as_ref()
                .is_none_or(|place| place.page.belongs_to(place.mapping))
    }
}

/// A key to sleep on. See [`InodeRef`] for where it may be dropped.
///
/// The mm of a private or an mm key needs no reference: who owns the key runs on that mm.
pub(crate) struct Owned {
    id: KeyId,
    inode: Option<InodeRef>,
}

impl Owned {
    /// The numbers.
    #[inline]
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// The inode, where the key has one.
    pub(crate) fn inode(&self) -> Option<&InodeRef> {
        self.inode.as_ref()
    }

    /// Makes a key that is equal to `from` one that is equal to `to`. May happen under a lock:
    /// `from` witnesses that the references given back are not the last.
    pub(crate) fn replace(&mut self, from: &Owned, to: &Owned) {
        let old = mem::replace(&mut self.inode, to.inode.as_ref().map(InodeRef::again));
        self.id = to.id;
        if let (Some(old), Some(witness)) = (old, &from.inode) {
            if let Err(old) = witness.release_other(old) {
                // Equal keys have one inode. A reference lost is better than one too few.
                kernel::warn_on!(true);
                mem::forget(old);
            }
        }
    }
}

/// Where a resolver saw a word; only to be shown.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    /// The folio's order.
    pub(crate) order: u32,
    /// The index of the word's page in it.
    pub(crate) index: usize,
}

/// Resolves a private word: the key is its address, for as long as the task runs.
///
/// # Errors
///
/// `EFAULT`: it is not an address of user space.
#[inline]
pub(crate) fn private(word: &Word) -> Result<KeyId> {
    check_range(word)?;
    KeyId::in_current_mm(Kind::Private, word.addr())
}

/// Resolves `word` for a wake, and calls `f` with the key until it has a result.
///
/// The key is lent, not returned: it is large, and moving it costs more than the rest of a wake that
/// finds nobody.
///
/// # Errors
///
/// `EFAULT`: no key can be had there. `EINTR`: the task was killed.
///
/// # Context
///
/// Process context, no locks held. May sleep; `f` must not.
#[inline(always)]
pub(crate) fn borrow<R>(word: &Word, f: impl FnMut(&Borrowed) -> Option<R>) -> Result<R> {
    check_range(word)?;
    page::borrow(word, Access::Read, f)
}

/// Resolves two words for wakes on both; the second is one that the caller is going to write to.
///
/// # Errors
///
/// As [`borrow`].
///
/// # Context
///
/// As [`borrow`].
pub(crate) fn borrow_both(first: &Word, second: &Word) -> Result<(Borrowed, Borrowed)> {
    check_range(first)?;
    check_range(second)?;
    retry(|| {
        // Both pages first, since that may sleep; then both inodes.
        let (Some(found_first), Some(found_second)) = (
            page::find(first, Access::Read)?,
            page::find(second, Access::Write)?,
        ) else {
            return Ok(None);
        };
        let keys = (
            page::settle(found_first, first)?,
            page::settle(found_second, second)?,
        );
        Ok(keys.0.zip(keys.1))
    })
}

/// Resolves `word` for a wait.
///
/// # Errors
///
/// As [`borrow`].
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline]
pub(crate) fn own(word: &Word) -> Result<Owned> {
    check_range(word)?;
    page::own(word, Access::Read, |_| ()).map(|(key, ())| key)
}

/// Resolves `word`, and tells where it was seen, where a page was looked at.
///
/// # Errors
///
/// As [`borrow`].
///
/// # Context
///
/// As [`own`].
pub(crate) fn describe(word: &Word) -> Result<(Owned, Option<Seen>)> {
    check_range(word)?;
    page::own(word, Access::Read, |page| page.map(page::seen))
}

/// Runs `attempt` until it has a result; lets others run in between.
#[inline]
fn retry<T>(mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    loop {
        if let Some(result) = attempt()? {
            return Ok(result);
        }
        task::before_retry()?;
    }
}

#[inline]
fn check_range(word: &Word) -> Result {
    if uaccess::is_user_addr(word.addr()) {
        Ok(())
    } else {
        Err(EFAULT)
    }
}
