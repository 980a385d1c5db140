// SPDX-License-Identifier: GPL-2.0

//! What the resolvers have in common, and how one is chosen.

use super::Borrowed;
use crate::{
    bindings as uapi,
    mm::{
        gup::Access,
        inode::DeferredPut,
        task, //
    },
    word::Word,
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// A way to find keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolver {
    /// See [`super::page`].
    Page = uapi::RFUTEX_RESOLVER_PAGE as isize,
    /// See [`super::vma`].
    Vma = uapi::RFUTEX_RESOLVER_VMA as isize,
    /// See [`super::locked`].
    #[cfg(RFUTEX_LAB)]
    Locked = uapi::RFUTEX_RESOLVER_LOCKED as isize,
}

impl Resolver {
    /// All that this build has.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) const ALL: [Self; 3] = [Self::Page, Self::Vma, Self::Locked];

    /// The resolver that has this number in the interface.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is none. `EOPNOTSUPP`: there is, but not in this build.
    pub(crate) fn from_uapi(number: u32) -> Result<Self> {
        match number {
            uapi::RFUTEX_RESOLVER_PAGE => Ok(Self::Page),
            uapi::RFUTEX_RESOLVER_VMA => Ok(Self::Vma),
            #[cfg(RFUTEX_LAB)]
            uapi::RFUTEX_RESOLVER_LOCKED => Ok(Self::Locked),
            #[cfg(not(RFUTEX_LAB))]
            uapi::RFUTEX_RESOLVER_LOCKED => Err(EOPNOTSUPP),
            _ => Err(EINVAL),
        }
    }

    /// Its number in the interface.
    #[inline]
    pub(crate) fn to_uapi(self) -> u32 {
        self as u32
    }
}

/// A resolver that may be exchanged for another at any time.
///
/// # Invariants
///
/// It is the number of a [`Resolver`].
pub(crate) struct AtomicResolver(Atomic<u32>);

impl AtomicResolver {
    /// Begins with `resolver`.
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self(Atomic::new(resolver.to_uapi()))
    }

    /// The one there is now.
    #[inline]
    pub(crate) fn get(&self) -> Resolver {
        match self.0.load(Relaxed) {
            uapi::RFUTEX_RESOLVER_VMA => Resolver::Vma,
            #[cfg(RFUTEX_LAB)]
            uapi::RFUTEX_RESOLVER_LOCKED => Resolver::Locked,
            // By the type invariants, there is no other one.
            _ => Resolver::Page,
        }
    }

    /// Exchanges it.
    pub(crate) fn set(&self, resolver: Resolver) {
        self.0.store(resolver.to_uapi(), Relaxed);
    }
}

/// What is done with a key that is lent.
///
/// A closure is one. So is a type, whose function can be told to be inlined into each resolver.
pub(crate) trait Visit<R> {
    /// Gives a result; or asks for another attempt with a new key, and tells which references are
    /// to be put when nothing of the resolver's is held any more.
    fn visit(&mut self, key: &Borrowed<'_>) -> Result<R, DeferredPut>;
}

impl<R, F: FnMut(&Borrowed<'_>) -> Result<R, DeferredPut>> Visit<R> for F {
    #[inline(always)]
    fn visit(&mut self, key: &Borrowed<'_>) -> Result<R, DeferredPut> {
        self(key)
    }
}

/// What every resolver can do.
pub(crate) trait Resolve {
    /// Finds the key of `word`, which is not private, and has it visited until there is a result.
    /// The caller is going to access the word as `access` says.
    ///
    /// With `any_file`, words on every file that has pages have keys. Without, those on files whose
    /// inodes cannot be held (see `Host::can_be_held`) have none.
    ///
    /// The key is lent, not returned: what keeps it is a lock or an RCU section.
    ///
    /// # Errors
    ///
    /// `EFAULT`: no key can be had there. `EINTR`: the task was killed. Others, where a page is
    /// looked at, as [`PageRef::get`](crate::mm::gup::PageRef::get).
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep; the visitor must not.
    fn resolve<R>(word: Word, access: Access, any_file: bool, visitor: impl Visit<R>) -> Result<R>;
}

/// Runs `attempt` until it has a result; lets others run in between.
pub(super) fn repeat<R>(mut attempt: impl FnMut() -> Result<Result<R, DeferredPut>>) -> Result<R> {
    loop {
        match attempt()? {
            Ok(result) => return Ok(result),
            // No lock is held here: now it may sleep to let go.
            Err(deferred) => drop(deferred),
        }
        task::before_retry()?;
    }
}
