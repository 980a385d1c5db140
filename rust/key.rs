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

mod hold;
#[cfg(RFUTEX_LAB)]
pub(crate) mod locked;
pub(crate) mod page;
pub(crate) mod private;
mod resolver;
#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
mod tests;
pub(crate) mod vma;

use self::resolver::{
    again,
    repeat, //
};
pub(crate) use self::{
    hold::Hold,
    resolver::{
        resolve,
        AtomicResolver,
        Resolve,
        Resolver,
        Visit, //
    }, //
};
use crate::{
    bindings as uapi,
    lab::{
        self,
        Point, //
    },
    mm::{
        folio::FileMapping,
        gup::{
            Access,
            PageRef, //
        },
        inode::{
            Host,
            InodeRef,
            Leftover, //
        },
        speculation::Speculation,
        task,
        uaccess, //
    },
    request::Word,
};
use core::mem;
use kernel::{
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
        match task::current_mm() {
            0 => Err(EFAULT),
            mm => Ok(Self::new(kind, mm, addr as u64)),
        }
    }

    /// The key of the byte `position` of the file that `host` hosts.
    #[inline]
    fn in_file(host: Host<'_>, position: u64) -> Self {
        Self::new(Kind::Inode, host.addr(), position)
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

/// A key that is lent: to be compared with others, or made one to sleep on.
///
/// Waiters own what they wait on, so an inode that a waiter's key names is alive; and the memory of
/// the inode that this key names is not freed while it is lent. What is left is an inode that is
/// recycled in place, which [`Borrowed::holds`] sees.
#[derive(Clone, Copy)]
pub(crate) struct Borrowed<'a> {
    id: KeyId,
    /// The page, where one was looked at.
    page: Option<&'a PageRef>,
    place: Place<'a>,
}

/// What keeps the object that a borrowed key names.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// The process itself: it is its mm.
    Process,
    /// An RCU section, in which an inode was seen.
    Seen(Host<'a>, Witness<'a>, &'a rcu::Guard),
    /// References that others hold on the inode meanwhile.
    Held(Host<'a>),
}

/// What tells whether an inode that was seen is still the one that it was.
#[derive(Clone, Copy)]
enum Witness<'a> {
    /// The key's page, while it belongs to this mapping.
    Page(FileMapping),
    /// What the process has mapped, while it is as it was.
    Mapped(Speculation<'a>),
}

impl<'a> Borrowed<'a> {
    /// The key of a word in the memory of the current process.
    #[inline]
    fn in_process(kind: Kind, word: Word, page: Option<&'a PageRef>) -> Result<Self> {
        Ok(Self {
            id: KeyId::in_current_mm(kind, word.addr())?,
            page,
            place: Place::Process,
        })
    }

    /// The key of a private word.
    ///
    /// # Errors
    ///
    /// As [`private()`].
    #[inline]
    fn private(word: Word) -> Result<Self> {
        Ok(Self {
            id: private(word)?,
            page: None,
            place: Place::Process,
        })
    }

    /// The key of the byte `position` of a file.
    #[inline]
    fn in_file(position: u64, page: Option<&'a PageRef>, host: Host<'a>, place: Place<'a>) -> Self {
        Self {
            id: KeyId::in_file(host, position),
            page,
            place,
        }
    }

    /// The numbers.
    #[inline]
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Whether the word is still where it was found.
    ///
    /// To be asked under the bucket's lock, before the first waiter is marked: if it says no, the
    /// inode may have become another one, and the wake has to begin again with a new key.
    #[inline(always)]
    pub(crate) fn holds(&self) -> bool {
        if lab::fault(Point::BorrowedMoved) {
            return false;
        }
        match self.place {
            Place::Seen(_, witness, _) => self.is_there(witness),
            _ => true,
        }
    }

    #[inline(always)]
    fn is_there(&self, witness: Witness<'a>) -> bool {
        match witness {
            Witness::Page(mapping) => self.page.is_some_and(|page| page.belongs_to(mapping)),
            Witness::Mapped(speculation) => speculation.holds(),
        }
    }

    /// Makes it one to sleep on. Takes no lock, and may happen under one.
    ///
    /// # Errors
    ///
    /// What it names is on its way out: look again, for another key.
    #[inline(always)]
    pub(crate) fn own(&self) -> Result<Owned, Leftover> {
        let inode = match self.place {
            Place::Process => None,
            Place::Held(host) => Some(host.get()),
            Place::Seen(host, witness, rcu) => {
                // 6. A reference on the superblock and on the inode, unless they are going. (002)
                let inode = host.try_get()?;
                if lab::fault(Point::InodeGoing) {
                    return Err(inode.give_back(rcu));
                }
                // 7. The reference first, then look again: an inode that was recycled in place
                //    between 5 and 6 no longer has this page.                             (001)
                if !self.is_there(witness) || lab::fault(Point::MappingChanged) {
                    return Err(inode.give_back(rcu));
                }
                Some(inode)
            }
        };
        Ok(Owned { id: self.id, inode })
    }

    /// Where the word was seen, where a page was looked at.
    fn seen(&self) -> Option<Seen> {
        self.page.map(|page| Seen {
            order: page.folio_order(),
            index: page.index_in_folio(),
        })
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
pub(crate) fn private(word: Word) -> Result<KeyId> {
    check_range(word)?;
    KeyId::in_current_mm(Kind::Private, word.addr())
}

/// Resolves `word`, and has the key visited until there is a result: see [`Resolve::borrow`].
#[inline(always)]
pub(crate) fn borrow<R, E: Default>(word: &Word, visitor: impl Visit<R, E>) -> Result<R> {
    resolve!(word, By => By::borrow(*word, Access::Read, visitor))
}

/// Resolves two words for wakes on both: see [`Resolve::borrow_both`].
#[inline(always)]
pub(crate) fn borrow_both<R>(
    first: &Word,
    second: &Word,
    mut f: impl FnMut(&Borrowed<'_>, &Borrowed<'_>) -> Option<R>,
) -> Result<R> {
    match (first.private(), second.private()) {
        (true, false) => {
            let key = Borrowed::private(*first)?;
            let with_second = |second: &Borrowed<'_>| f(&key, second).ok_or(());
            resolve!(second, By => By::borrow(*second, Access::Write, with_second))
        }
        (false, true) => {
            let other = Borrowed::private(*second)?;
            let with_first = |first: &Borrowed<'_>| f(first, &other).ok_or(());
            resolve!(first, By => By::borrow(*first, Access::Read, with_first))
        }
        // Both words of a call have one resolver.
        _ => resolve!(first, By => By::borrow_both(*first, *second, f)),
    }
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
    /// A type, so that each resolver's key is owned where it is found.
    struct Own;

    impl Visit<Owned, Leftover> for Own {
        #[inline(always)]
        fn visit(&mut self, key: &Borrowed<'_>) -> Result<Owned, Leftover> {
            key.own()
        }
    }

    #[inline(never)]
    fn own_by<By: Resolve>(word: Word) -> Result<Owned> {
        By::borrow(word, Access::Read, Own)
    }

    if word.private() {
        return own_private(*word);
    }
    resolve!(word, By => own_by::<By>(*word))
}

/// Resolves a private word for a wait.
///
/// # Errors
///
/// As [`private()`].
#[inline(always)]
pub(crate) fn own_private(word: Word) -> Result<Owned> {
    let id = private(word)?;
    Ok(Owned { id, inode: None })
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
    borrow(word, |key: &Borrowed<'_>| {
        Ok::<_, Leftover>((key.own()?, key.seen()))
    })
}

/// The position in a file of a word that lies on its page `index`.
#[inline]
fn position(index: usize, word: Word) -> u64 {
    let offset = word.addr() & !kernel::page::PAGE_MASK;
    (index as u64) << PAGE_SHIFT | offset as u64
}

#[inline]
fn check_range(word: Word) -> Result {
    if uaccess::access_ok(word.addr(), word.size().bytes()) {
        Ok(())
    } else {
        Err(EFAULT)
    }
}
