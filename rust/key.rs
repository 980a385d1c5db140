// SPDX-License-Identifier: GPL-2.0

//! Keys: what a wait and a wake must have in common to meet.
//!
//! | the word lies | [`Kind`] | key |
//! |---|---|---|
//! | anywhere, the caller said private | `Private` | (mm, address) |
//! | on an anonymous page | `Mm` | (mm, address) |
//! | on a page of a file, shared memory included | `Inode` | (inode, position in it) |
//!
//! Where the table says mm and inode, a key has their [`Number`]s, which no other object ever has.
//! So a key ([`KeyId`]) keeps nothing alive, and nothing has to be kept alive for it: a key that has
//! become stale meets nobody.
//!
//! A resolver turns an address into a key. The key is *borrowed* first, for as long as the object
//! that it was found on can be looked at. A waiter may want references on that object, which it
//! holds while it sleeps: then the borrowed key becomes an *owned* one. See [`Hold`].

#![deny(unsafe_code)]

mod hold;
#[cfg(RFUTEX_LAB)]
pub(crate) mod locked;
pub(crate) mod page;
mod resolver;
#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
mod tests;
pub(crate) mod vma;

pub(crate) use self::{
    hold::Hold,
    resolver::{
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
            DeferredPut,
            Host,
            InodeRef, //
        },
        number::Number,
        speculation::Speculation,
        task,
        uaccess, //
    },
    word::Word,
};
use core::mem;
use kernel::{
    page::{
        PAGE_MASK,
        PAGE_SHIFT, //
    },
    prelude::*,
    sync::{
        barrier,
        rcu, //
    },
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

/// A key. Two keys are equal only if the words are one, whenever they were resolved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyId {
    /// The object's number, with the kind in the low bits.
    object: u64,
    /// The position in the object in bytes: an address, or an offset in a file.
    position: u64,
}

impl KeyId {
    #[inline]
    fn new(kind: Kind, number: Number, position: u64) -> Self {
        Self {
            object: number.get() << 2 | kind as u64,
            position,
        }
    }

    /// The key of `addr` in the current process.
    #[inline]
    fn in_current_mm(kind: Kind, addr: usize) -> Result<Self> {
        let number = task::current_mm_number().ok_or(EFAULT)?;
        Ok(Self::new(kind, number, addr as u64))
    }

    /// The kind.
    pub(crate) fn kind(self) -> Kind {
        match self.object & 3 {
            0 => Kind::Private,
            1 => Kind::Mm,
            _ => Kind::Inode,
        }
    }

    /// The object, as a number that is of no use but to be hashed.
    pub(crate) fn object(self) -> u64 {
        self.object
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
        (self.object, self.position)
    }

    /// Whether the object is the inode with this number.
    pub(crate) fn is_inode(self, number: Number) -> bool {
        self.object == Self::new(Kind::Inode, number, 0).object
    }

    /// Whether both words are in one file.
    pub(crate) fn is_in_file_of(self, other: Self) -> bool {
        self.kind() == Kind::Inode && self.object == other.object
    }

    /// A key out of nothing.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn made_up(kind: Kind, number: u64, position: u64) -> Self {
        Self::new(kind, Number::made_up(number), position)
    }
}

/// A key that is lent by a resolver, while it can still look at the object.
#[derive(Clone, Copy)]
pub(crate) struct Borrowed<'a> {
    id: KeyId,
    /// The page, where one was looked at.
    page: Option<&'a PageRef>,
    object: Object<'a>,
}

/// The object that a borrowed key is about, and what keeps it.
#[derive(Clone, Copy)]
enum Object<'a> {
    /// The address space of the current process, which the process keeps.
    Mm,
    /// An inode that was seen in an RCU section. It may be recycled in place at any time: whether it
    /// was the word's when its number was read is to be checked afterwards.
    Seen(Host<'a>, Check<'a>, &'a rcu::Guard),
    /// An inode that a lock keeps.
    Kept(Host<'a>),
}

/// What tells whether an inode that was seen was the right one.
#[derive(Clone, Copy)]
enum Check<'a> {
    /// The key's page still belongs to this mapping.
    Page(FileMapping),
    /// What the process has mapped has not changed.
    Mapped(Speculation<'a>),
}

impl<'a> Borrowed<'a> {
    /// The key of a word in the memory of the current process.
    #[inline]
    fn in_process(word: Word, page: Option<&'a PageRef>) -> Result<Self> {
        Ok(Self {
            id: KeyId::in_current_mm(Kind::Mm, word.addr())?,
            page,
            object: Object::Mm,
        })
    }

    /// The key of the byte `position` of a file.
    #[inline]
    fn in_file(
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

    /// Step 7: whether the inode was the right one when its number was read.
    ///
    /// The number was read with acquire ordering, so that what is looked at here is not older.
    #[inline(always)]
    fn still_holds(&self) -> bool {
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

    /// The key itself.
    ///
    /// # Errors
    ///
    /// The word may have another key: look again.
    #[inline(always)]
    fn id(&self) -> Result<KeyId, DeferredPut> {
        // The index was read before this, too. (fs/dax.c puts something else in its place, in a page
        // that it takes from its mapping.)
        barrier::smp_mb(barrier::Read);
        if self.still_holds() {
            Ok(self.id)
        } else {
            Err(DeferredPut::Nothing)
        }
    }

    /// Makes it one to sleep on, with references on the inode, if there is one.
    ///
    /// # Errors
    ///
    /// What it names is on its way out, or the word may have another key: look again.
    #[inline(always)]
    fn own(&self) -> Result<OwnedKey, DeferredPut> {
        let host = match self.object {
            Object::Mm => return Ok(OwnedKey::bare(self.id)),
            Object::Seen(host, ..) | Object::Kept(host) => host,
        };
        // 6. A reference on the superblock and on the inode, unless they are going.        (002)
        let inode = host.try_get()?;
        if let Object::Seen(_, _, rcu) = self.object {
            if lab::fault(Point::InodeGoing) {
                return Err(inode.give_back(rcu));
            }
            // 7. The reference first, then look again: an inode that was recycled in place
            //    between 5 and 6 no longer has this page.                                  (001)
            if !self.still_holds() {
                return Err(inode.give_back(rcu));
            }
        }
        Ok(OwnedKey {
            id: self.id,
            inode: Some(inode),
        })
    }

    /// Where the word's page is in its folio, where a page was looked at.
    fn folio_position(&self) -> Option<FolioPosition> {
        self.page.map(|page| FolioPosition {
            order: page.folio_order(),
            index: page.index_in_folio(),
        })
    }
}

/// A key to sleep on, with what a waiter holds. See [`InodeRef`] for where it may be dropped.
///
/// # Invariants
///
/// If there is an inode, it is the one that `id` is about.
pub(crate) struct OwnedKey {
    id: KeyId,
    inode: Option<InodeRef>,
}

impl OwnedKey {
    /// A key of which nothing is held.
    #[inline]
    pub(crate) fn bare(id: KeyId) -> Self {
        // INVARIANT: There is no inode.
        Self { id, inode: None }
    }

    /// The key.
    #[inline]
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Makes a key that is equal to `from` one that is equal to `to`, and holds what `to` does. May
    /// happen under a lock: `from` witnesses that the references given back are not the last.
    pub(crate) fn replace(&mut self, from: &OwnedKey, to: &OwnedKey) {
        let old = mem::replace(&mut self.inode, to.inode.as_ref().map(InodeRef::again));
        // INVARIANT: The inode is another reference on that of `to`.
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

/// Where a word's page is in its folio; only to be shown.
#[derive(Clone, Copy)]
pub(crate) struct FolioPosition {
    /// The folio has 2^`order` pages.
    pub(crate) order: u32,
    /// The index of the word's page in it.
    pub(crate) index: usize,
}

/// Has `visitor` visit the key of `word`, which is not private, as `resolver` finds it.
#[inline(always)]
fn visit<R>(
    resolver: Resolver,
    word: Word,
    access: Access,
    hold: Hold,
    visitor: impl Visit<R>,
) -> Result<R> {
    // Whoever holds nothing may wait on any file, and so may be woken there.
    let any_file = hold == Hold::Nothing;
    match resolver {
        Resolver::Page => page::Page::resolve(word, access, any_file, visitor),
        Resolver::Vma => vma::Vma::resolve(word, access, any_file, visitor),
        #[cfg(RFUTEX_LAB)]
        Resolver::Locked => locked::Locked::resolve(word, access, any_file, visitor),
    }
}

/// The key of a private word: its address, because the caller said so. Nothing is looked at.
///
/// # Errors
///
/// `EFAULT`: it is not an address of user space.
#[inline]
pub(crate) fn private(word: Word) -> Result<KeyId> {
    check_range(word)?;
    KeyId::in_current_mm(Kind::Private, word.addr())
}

/// Resolves `word`, which the caller is going to access as `access` says, in a table whose waiters
/// hold what `hold` says.
///
/// # Errors
///
/// `EFAULT`: the word has no key. `EINTR`: the task was killed. Others, where a page is looked at, as
/// [`PageRef::get`].
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline(always)]
pub(crate) fn resolve(resolver: Resolver, word: Word, access: Access, hold: Hold) -> Result<KeyId> {
    /// A type, so that each resolver has the visit inlined.
    struct Id;

    impl Visit<KeyId> for Id {
        #[inline(always)]
        fn visit(&mut self, key: &Borrowed<'_>) -> Result<KeyId, DeferredPut> {
            key.id()
        }
    }

    if word.private() {
        private(word)
    } else {
        visit(resolver, word, access, hold, Id)
    }
}

/// Resolves `word` for a waiter that holds the inode, if the word is on one. Before references are
/// taken, `check` is asked whether to go on, and must not sleep; what it objects comes back.
///
/// # Errors
///
/// As [`resolve`].
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline(always)]
pub(crate) fn own<E>(
    resolver: Resolver,
    word: Word,
    check: impl Fn() -> Result<(), E>,
) -> Result<Result<OwnedKey, E>> {
    /// A type, so that each resolver has the visit inlined.
    struct Own<F>(F);

    impl<E, F: Fn() -> Result<(), E>> Visit<Result<OwnedKey, E>> for Own<F> {
        #[inline(always)]
        fn visit(&mut self, key: &Borrowed<'_>) -> Result<Result<OwnedKey, E>, DeferredPut> {
            match (self.0)() {
                Ok(()) => key.own().map(Ok),
                Err(objection) => Ok(Err(objection)),
            }
        }
    }

    if word.private() {
        return Ok(Ok(OwnedKey::bare(private(word)?)));
    }
    visit(resolver, word, Access::Read, Hold::Inode, Own(check))
}

/// Resolves `word`, and tells where its page is in its folio, where a page was looked at.
///
/// # Errors
///
/// As [`resolve`].
///
/// # Context
///
/// As [`resolve`].
pub(crate) fn describe(
    resolver: Resolver,
    word: Word,
    hold: Hold,
) -> Result<(KeyId, Option<FolioPosition>)> {
    if word.private() {
        return Ok((private(word)?, None));
    }
    visit(resolver, word, Access::Read, hold, |key: &Borrowed<'_>| {
        Ok((key.id()?, key.folio_position()))
    })
}

/// The position in a file of a word that lies on its page `index`.
#[inline]
fn position(index: usize, word: Word) -> u64 {
    let offset = word.addr() & !PAGE_MASK;
    (index as u64) << PAGE_SHIFT | offset as u64
}

#[inline]
fn check_range(word: Word) -> Result {
    if uaccess::access_ok(word) {
        Ok(())
    } else {
        Err(EFAULT)
    }
}
