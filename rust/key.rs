// SPDX-License-Identifier: GPL-2.0

//! Keys. A wake finds a waiter if both have the same key.
//!
//! | where the word lies | [`Kind`] | key |
//! |---|---|---|
//! | anywhere, if the caller said that it is private | `Private` | (mm, address) |
//! | on an anonymous page | `Mm` | (mm, address) |
//! | on a page of a file, which includes shared memory | `Inode` | (inode, position in it) |
//! | in the arena of a table | `Arena` | (arena, position in it) |
//!
//! In a key, the mm, the inode and the arena are represented by their [`Number`]s, which are never
//! given to another object. A key ([`KeyId`]) therefore keeps nothing alive, and does not need anything to
//! be kept alive: a key whose object is gone is equal to no other key.
//!
//! A resolver turns an address into a key. At first the key is *borrowed*: it can be used only
//! while the object that it was found on is known to be valid memory. A waiter may need references
//! on that object, to be held while it sleeps. For such a waiter, the borrowed key is turned into
//! an *owned* one. See [`Hold`].

#![deny(unsafe_code)]

mod borrowed;
mod hold;
#[cfg(RFUTEX_LAB)]
pub(crate) mod locked;
pub(crate) mod page;
mod resolver;
#[cfg(RFUTEX_KUNIT)]
mod tests;
pub(crate) mod vma;

use self::borrowed::{
    Check,
    Object, //
};
pub(crate) use self::{
    borrowed::{
        Borrowed,
        FolioPosition, //
    },
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
    mm::{
        gup::Access,
        inode::{
            DeferredPut,
            InodeRef, //
        },
        number::Number,
        task,
        uaccess,
        version::KeptMm, //
    },
    word::Word,
};
use core::{
    mem,
    num::NonZero, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*, //
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
    /// The arena of the table, and the position in it.
    Arena = 3,
}

impl Kind {
    /// The number that the user interface has for this kind (`RFUTEX_KEY_*`).
    pub(crate) fn to_uapi(self) -> u32 {
        match self {
            Kind::Private => uapi::RFUTEX_KEY_PRIVATE,
            Kind::Mm => uapi::RFUTEX_KEY_MM,
            Kind::Inode => uapi::RFUTEX_KEY_INODE,
            Kind::Arena => uapi::RFUTEX_KEY_ARENA,
        }
    }
}

/// The position of the kind in [`KeyId::object`]. All numbers are below 2 to this power.
const KIND_SHIFT: u32 = 62;

/// A key. Two keys are equal only if they are of the same word, even if they were resolved at
/// different times.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyId {
    /// The object's number, with the kind in the two bits above it.
    object: NonZero<u64>,
    /// The position in the object in bytes: an address, or an offset in a file or in an arena.
    position: u64,
}

impl KeyId {
    /// A key that no word has, because no object has this number.
    pub(crate) const NONE: Self = Self {
        object: NonZero::<u64>::MAX,
        position: 0,
    };

    #[inline]
    fn new(kind: Kind, number: Number, position: u64) -> Self {
        Self {
            object: number.get() | (kind as u64) << KIND_SHIFT,
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

    /// The key of the word at `offset` in the arena that has this `number`.
    #[inline]
    pub(crate) fn in_arena(number: Number, offset: usize) -> Self {
        Self::new(Kind::Arena, number, offset as u64)
    }

    /// The kind of this key.
    pub(crate) fn kind(self) -> Kind {
        match self.object.get() >> KIND_SHIFT {
            0 => Kind::Private,
            1 => Kind::Mm,
            2 => Kind::Inode,
            _ => Kind::Arena,
        }
    }

    /// A number that stands for the object and the kind. It is meant to be hashed, not to be shown.
    pub(crate) fn object(self) -> u64 {
        self.object.get()
    }

    /// The position of the word in the object in bytes.
    pub(crate) fn position(self) -> u64 {
        self.position
    }

    /// The index of the word's page in the address space, the file or the arena, in pages.
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
        (self.object.get(), self.position)
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
    #[cfg(RFUTEX_KUNIT)]
    pub(crate) fn made_up(kind: Kind, number: u64, position: u64) -> Self {
        Self::new(kind, Number::made_up(number), position)
    }
}

/// A key to sleep on, with the references that the waiter holds. [`InodeRef`] says where those may
/// be dropped, and so where this may be dropped.
///
/// # Invariants
///
/// If `held` has references on an inode, it is the one that `id` names.
pub(crate) struct OwnedKey {
    id: KeyId,
    held: Held,
}

impl OwnedKey {
    /// A key without references on an inode. If it names a process, that is the current one.
    #[inline]
    pub(crate) fn bare(id: KeyId) -> Self {
        let mm = match id.kind() {
            Kind::Private | Kind::Mm => KeptMm::current(),
            Kind::Inode | Kind::Arena => KeptMm::none(),
        };
        // INVARIANT: There are no references on an inode, so there is nothing to show.
        Self {
            id,
            held: Held { inode: None, mm },
        }
    }

    /// The key of a word of a file, with references on its inode.
    ///
    /// `inode` must be the one that `id` names.
    #[inline]
    fn with_inode(id: KeyId, inode: InodeRef) -> Self {
        // INVARIANT: The caller has promised what has to be shown.
        Self {
            id,
            held: Held {
                inode: Some(inode),
                mm: KeptMm::none(),
            },
        }
    }

    /// The key itself.
    #[inline]
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// The key itself, and what is held with it.
    #[inline]
    pub(crate) fn into_parts(self) -> (KeyId, Held) {
        (self.id, self.held)
    }
}

/// What a waiter holds while it waits: references on the inode that its word lies on, or nothing.
/// [`InodeRef`] says where those may be dropped, and so where this may be dropped.
pub(crate) struct Held {
    inode: Option<InodeRef>,
    mm: KeptMm,
}

impl Held {
    /// Exchanges what a waiter on the key `from` holds for what a waiter on the key `to` holds.
    ///
    /// # Context
    ///
    /// Any. Does not sleep: because `from` has references on the same objects, those that are given
    /// back here are not the last ones.
    pub(crate) fn exchange(&mut self, from: &OwnedKey, to: &OwnedKey) {
        // `from` has one of the mm that this one is of.
        self.mm = to.held.mm.again();
        if from.held.inode.is_none() && to.held.inode.is_none() {
            // This one has no references on an inode either, because its key is that of `from`.
            // Nothing is written then: the line is one that the processor may not have.
            return;
        }
        let again = to.held.inode.as_ref().map(InodeRef::again);
        let old = mem::replace(&mut self.inode, again);
        if let (Some(old), Some(witness)) = (old, &from.held.inode) {
            if let Err(old) = witness.release_other(old) {
                // Equal keys name the same inode, so this cannot happen. If it does, to leak a
                // reference is better than to drop one here, where nothing may sleep.
                kernel::warn_on!(true);
                mem::forget(old);
            }
        }
    }
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
    let addr = word.addr();
    match resolver {
        Resolver::Page => page::Page::resolve(addr, access, any_file, visitor),
        Resolver::Vma => vma::Vma::resolve(addr, access, any_file, visitor),
        #[cfg(RFUTEX_LAB)]
        Resolver::Locked => locked::Locked::resolve(addr, access, any_file, visitor),
    }
}

/// The key of a private word, which is its address. What is mapped there does not matter.
///
/// # Errors
///
/// `EFAULT`: the address is not one of user space, or the task has no mm.
#[inline]
pub(crate) fn private(word: Word) -> Result<KeyId> {
    check_range(word.addr())?;
    KeyId::in_current_mm(Kind::Private, word.addr())
}

/// Does what [`private()`] does, but gives the mm no number. Returns `None` where it has none yet,
/// and where [`private()`] returns an error.
#[inline]
pub(crate) fn private_if_numbered(word: Word) -> Option<KeyId> {
    let number = task::current_mm_number_if_given()?;
    check_range(word.addr()).ok()?;
    Some(KeyId::new(Kind::Private, number, word.addr() as u64))
}

/// Finds the key of `word`, which must not be one of an arena, by means of `resolver`.
///
/// `access` says how the caller is going to access the word, and `hold` what the waiters of the
/// caller's table hold.
///
/// # Errors
///
/// - `EFAULT`: the word has no key.
/// - `EINTR`: the task was killed.
/// - Others as [`PageRef::get`](crate::mm::gup::PageRef::get), if the resolver looks up a page.
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

/// Finds the key of `word`, which must not be one of an arena, by means of `resolver`, for a waiter
/// that holds the inode which the word lies on, if it lies on one.
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

/// Finds the key of `word`, which must not be one of an arena, by means of `resolver`, and where
/// the word's page is in its folio, if the resolver looks up a page.
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

/// Checks that `addr` lies in user space.
///
/// # Errors
///
/// `EFAULT`: it does not.
#[inline]
fn check_range(addr: usize) -> Result {
    if uaccess::access_ok(addr) {
        Ok(())
    } else {
        Err(EFAULT)
    }
}
