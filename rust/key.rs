// SPDX-License-Identifier: GPL-2.0

//! Keys. A wake finds a waiter if both have the same key.
//!
//! | where the word lies | [`Kind`] | key |
//! |---|---|---|
//! | anywhere, if the caller said that it is private | `Private` | (mm, address) |
//! | on an anonymous page | `Mm` | (mm, address) |
//! | on a page of a file, which includes shared memory | `Inode` | (inode, position in it) |
//!
//! In a key, the mm and the inode are represented by their [`Number`]s, which are never given to
//! another object. A key ([`KeyId`]) therefore keeps nothing alive, and does not need anything to
//! be kept alive: a key whose object is gone is equal to no other key.
//!
//! A resolver turns an address into a key. At first the key is *borrowed*: it can be used only
//! while the object that it was found on is known to be valid memory. A waiter may need references
//! on that object, to be held while it sleeps. For such a waiter, the borrowed key is turned into
//! an *owned* one. See [`Hold`].

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

/// What identifies a word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The address in this process, because the caller said that the word is private.
    Private = 0,
    /// The address in this process, because the memory is anonymous.
    Mm = 1,
    /// The inode that the word's page belongs to, and the position in it.
    Inode = 2,
}

impl Kind {
    /// The number that the user interface has for this kind (`RFUTEX_KEY_*`).
    pub(crate) fn to_uapi(self) -> u32 {
        match self {
            Kind::Private => uapi::RFUTEX_KEY_PRIVATE,
            Kind::Mm => uapi::RFUTEX_KEY_MM,
            Kind::Inode => uapi::RFUTEX_KEY_INODE,
        }
    }
}

/// A key. Two keys are equal only if they are of the same word, even if they were resolved at
/// different times.
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

    /// The key of the address `addr` in the current process.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the task has no mm.
    #[inline]
    fn in_current_mm(kind: Kind, addr: usize) -> Result<Self> {
        let number = task::current_mm_number().ok_or(EFAULT)?;
        Ok(Self::new(kind, number, addr as u64))
    }

    /// The kind of this key.
    pub(crate) fn kind(self) -> Kind {
        match self.object & 3 {
            0 => Kind::Private,
            1 => Kind::Mm,
            _ => Kind::Inode,
        }
    }

    /// A number that stands for the object and the kind. It is meant to be hashed, not to be shown.
    pub(crate) fn object(self) -> u64 {
        self.object
    }

    /// The index of the word's page in the address space or in the file, in pages.
    pub(crate) fn index(self) -> u64 {
        self.position >> PAGE_SHIFT
    }

    /// The word's offset in its page, in bytes.
    pub(crate) fn offset(self) -> u32 {
        (self.position & ((1 << PAGE_SHIFT) - 1)) as u32
    }

    /// The two numbers that the key consists of, to compute its hash from.
    #[inline]
    pub(crate) fn parts(self) -> (u64, u64) {
        (self.object, self.position)
    }

    /// Whether the object is the inode with this number.
    pub(crate) fn is_inode(self, number: Number) -> bool {
        self.object == Self::new(Kind::Inode, number, 0).object
    }

    /// Whether both words lie in the same file.
    pub(crate) fn is_in_file_of(self, other: Self) -> bool {
        self.kind() == Kind::Inode && self.object == other.object
    }

    /// A key that a test makes up.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn made_up(kind: Kind, number: u64, position: u64) -> Self {
        Self::new(kind, Number::made_up(number), position)
    }
}

/// A key that a resolver lends, while the object that it was found on is known to be valid memory.
#[derive(Clone, Copy)]
pub(crate) struct Borrowed<'a> {
    id: KeyId,
    /// The word's page, if the resolver looked it up.
    page: Option<&'a PageRef>,
    object: Object<'a>,
}

/// The object that a borrowed key names, and what keeps it valid.
#[derive(Clone, Copy)]
enum Object<'a> {
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
enum Check<'a> {
    /// It is if the key's page still belongs to this mapping.
    Page(FileMapping),
    /// It is if the address space of the process has not been changed since.
    Mapped(Speculation<'a>),
}

impl<'a> Borrowed<'a> {
    /// The key of a word in anonymous memory of the current process.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the task has no mm.
    #[inline]
    fn in_process(word: Word, page: Option<&'a PageRef>) -> Result<Self> {
        Ok(Self {
            id: KeyId::in_current_mm(Kind::Mm, word.addr())?,
            page,
            object: Object::Mm,
        })
    }

    /// The key of the byte at `position` in the file whose inode has this `number`.
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

    /// Step 7: whether the inode was the word's inode when its number was read.
    ///
    /// The number was read with acquire ordering, so that this check cannot be satisfied by what
    /// memory contained before the number was read.
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
    /// The word may have another key by now. The caller has to resolve it again.
    #[inline(always)]
    fn id(&self) -> Result<KeyId, DeferredPut> {
        // The page's index must have been read before the check below as well: when fs/dax.c takes
        // a page from its mapping, it overwrites the index.
        barrier::smp_mb(barrier::Read);
        if self.still_holds() {
            Ok(self.id)
        } else {
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
    fn own(&self) -> Result<OwnedKey, DeferredPut> {
        let host = match self.object {
            Object::Mm => return Ok(OwnedKey::bare(self.id)),
            Object::Seen(host, ..) | Object::Kept(host) => host,
        };
        // 6. Take a reference on the superblock and one on the inode, unless one of them is being
        //    destroyed.                                                                    (002)
        let inode = host.try_get()?;
        if let Object::Seen(_, _, rcu) = self.object {
            if lab::fault(Point::InodeGoing) {
                return Err(inode.give_back(rcu));
            }
            // 7. Now that there is a reference, look again: an inode that was recycled in place
            //    between steps 5 and 6 no longer has this page.                            (001)
            if !self.still_holds() {
                return Err(inode.give_back(rcu));
            }
        }
        Ok(OwnedKey {
            id: self.id,
            inode: Some(inode),
        })
    }

    /// Where the word's page is in its folio; `None` if the resolver looked up no page.
    fn folio_position(&self) -> Option<FolioPosition> {
        self.page.map(|page| FolioPosition {
            order: page.folio_order(),
            index: page.index_in_folio(),
        })
    }
}

/// A key to sleep on, with the references that the waiter holds. [`InodeRef`] says where those may
/// be dropped, and so where this may be dropped.
///
/// # Invariants
///
/// If there is an inode, it is the one that `id` names.
pub(crate) struct OwnedKey {
    id: KeyId,
    inode: Option<InodeRef>,
}

impl OwnedKey {
    /// A key without any references.
    #[inline]
    pub(crate) fn bare(id: KeyId) -> Self {
        // INVARIANT: There is no inode, so there is nothing to show.
        Self { id, inode: None }
    }

    /// The key itself.
    #[inline]
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Turns this key, which must be equal to `from`, into one that is equal to `to`, with
    /// references on the same objects that `to` has references on.
    ///
    /// # Context
    ///
    /// Any. Does not sleep: because `from` has references on the same objects, those that are given
    /// back here are not the last ones.
    pub(crate) fn replace(&mut self, from: &OwnedKey, to: &OwnedKey) {
        let old = mem::replace(&mut self.inode, to.inode.as_ref().map(InodeRef::again));
        // INVARIANT: By the invariants of `to`, its inode is the one that `to.id` names, and the
        // new reference is on that inode.
        self.id = to.id;
        if let (Some(old), Some(witness)) = (old, &from.inode) {
            if let Err(old) = witness.release_other(old) {
                // Equal keys name the same inode, so this cannot happen. If it does, to leak a
                // reference is better than to drop one here, where nothing may sleep.
                kernel::warn_on!(true);
                mem::forget(old);
            }
        }
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

/// Finds the key of `word`, which must not be private, by means of `resolver`, and passes it to
/// `visitor`.
///
/// # Errors
///
/// As [`Resolve::resolve`].
///
/// # Context
///
/// As [`Resolve::resolve`].
#[inline(always)]
fn visit<R>(
    resolver: Resolver,
    word: Word,
    access: Access,
    hold: Hold,
    visitor: impl Visit<R>,
) -> Result<R> {
    // Waiters that hold nothing may wait on any file. So wakes have to find the key of any file
    // too.
    let any_file = hold == Hold::Nothing;
    match resolver {
        Resolver::Page => page::Page::resolve(word, access, any_file, visitor),
        Resolver::Vma => vma::Vma::resolve(word, access, any_file, visitor),
        #[cfg(RFUTEX_LAB)]
        Resolver::Locked => locked::Locked::resolve(word, access, any_file, visitor),
    }
}

/// The key of a private word, which is its address. What is mapped there does not matter.
///
/// # Errors
///
/// `EFAULT`: the address is not one of user space, or the task has no mm.
#[inline]
pub(crate) fn private(word: Word) -> Result<KeyId> {
    check_range(word)?;
    KeyId::in_current_mm(Kind::Private, word.addr())
}

/// Finds the key of `word` by means of `resolver`.
///
/// `access` says how the caller is going to access the word, and `hold` what the waiters of the
/// caller's table hold.
///
/// # Errors
///
/// - `EFAULT`: the word has no key.
/// - `EINTR`: the task was killed.
/// - Others as [`PageRef::get`], if the resolver looks up a page.
///
/// # Context
///
/// Process context, no locks held. May sleep.
#[inline(always)]
pub(crate) fn resolve(resolver: Resolver, word: Word, access: Access, hold: Hold) -> Result<KeyId> {
    /// This is a type, not a closure, so that `visit` can be inlined into each resolver.
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

/// Finds the key of `word` by means of `resolver`, for a waiter that holds the inode which the word
/// lies on, if it lies on one.
///
/// If the word is not private, `check` is called before any references are taken. It must not
/// sleep. If it returns an error, none are taken, and the error is returned as the inner result.
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
    /// This is a type, not a closure, so that `visit` can be inlined into each resolver.
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

/// Finds the key of `word` by means of `resolver`, and where the word's page is in its folio, if
/// the resolver looks up a page.
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

/// The position, in bytes, of `word` in a file, if it lies on the page with this `index`.
#[inline]
fn position(index: usize, word: Word) -> u64 {
    let offset = word.addr() & !PAGE_MASK;
    (index as u64) << PAGE_SHIFT | offset as u64
}

/// Checks that `word` lies in user space.
///
/// # Errors
///
/// `EFAULT`: it does not.
#[inline]
fn check_range(word: Word) -> Result {
    if uaccess::access_ok(word) {
        Ok(())
    } else {
        Err(EFAULT)
    }
}
