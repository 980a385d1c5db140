// SPDX-License-Identifier: GPL-2.0

//! What the resolvers have in common, and how one is chosen.

use super::Borrowed;
use crate::{
    bindings as uapi,
    mm::{
        arch,
        gup::Access,
        task, //
    },
    request::Word,
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// A way to find keys, as the interface numbers it.
///
/// # Invariants
///
/// This build has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resolver(u32);

impl Resolver {
    /// See [`super::page`].
    pub(crate) const PAGE: Self = Self(uapi::RFUTEX_RESOLVER_PAGE);
    /// See [`super::vma`].
    pub(crate) const VMA: Self = Self(uapi::RFUTEX_RESOLVER_VMA);
    /// See [`super::locked`].
    #[cfg(RFUTEX_LAB)]
    pub(crate) const LOCKED: Self = Self(uapi::RFUTEX_RESOLVER_LOCKED);

    /// The resolver that has this number.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is none. `EOPNOTSUPP`: there is, but not in this build.
    pub(crate) fn from_uapi(number: u32) -> Result<Self> {
        match number {
            uapi::RFUTEX_RESOLVER_PAGE => Ok(Self::PAGE),
            uapi::RFUTEX_RESOLVER_VMA => Ok(Self::VMA),
            #[cfg(RFUTEX_LAB)]
            uapi::RFUTEX_RESOLVER_LOCKED => Ok(Self::LOCKED),
            #[cfg(not(RFUTEX_LAB))]
            uapi::RFUTEX_RESOLVER_LOCKED => Err(EOPNOTSUPP),
            _ => Err(EINVAL),
        }
    }

    /// The same, for a number that came from [`Self::to_uapi`].
    #[inline]
    pub(crate) fn known(number: u32) -> Self {
        // INVARIANT: Another one was made as this one is.
        Self(number)
    }

    /// Its number.
    #[inline]
    pub(crate) fn to_uapi(self) -> u32 {
        self.0
    }
}

/// A resolver that may be exchanged for another at any time.
///
/// # Invariants
///
/// It is the number of a [`Resolver`].
pub(crate) struct AtomicResolver(Atomic<i32>);

impl AtomicResolver {
    /// Begins with `resolver`.
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self(Atomic::new(resolver.0 as i32))
    }

    /// The one there is now.
    #[inline]
    pub(crate) fn get(&self) -> Resolver {
        Resolver::known(arch::read(&self.0) as u32)
    }

    /// Exchanges it.
    pub(crate) fn set(&self, resolver: Resolver) {
        self.0.store(resolver.0 as i32, Relaxed);
    }
}

/// What is done with a key that is lent.
///
/// A closure will do. Where every instruction counts, a type will: its function can be told to be
/// inlined.
pub(crate) trait Visit<R, E> {
    /// Gives a result; or asks for another attempt with a new key, and tells what is left over from
    /// this one, to be given back when nothing of the resolver's is held any more.
    fn visit(&mut self, key: &Borrowed<'_>) -> Result<R, E>;
}

impl<R, E, F: FnMut(&Borrowed<'_>) -> Result<R, E>> Visit<R, E> for F {
    #[inline(always)]
    fn visit(&mut self, key: &Borrowed<'_>) -> Result<R, E> {
        self(key)
    }
}

/// What every resolver can do.
pub(crate) trait Resolve {
    /// Finds the key of `word`, whose page the caller is going to access, and has it visited until
    /// there is a result.
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
    fn borrow<R, E: Default>(word: Word, access: Access, visitor: impl Visit<R, E>) -> Result<R>;

    /// The same for two words at once, of which the second is going to be written to. `None` from
    /// `f` asks for another attempt.
    fn borrow_both<R>(
        first: Word,
        second: Word,
        f: impl FnMut(&Borrowed<'_>, &Borrowed<'_>) -> Option<R>,
    ) -> Result<R>;
}

/// Names the resolver that a word asks for `R`, and evaluates the expression: once for each of them,
/// so that there is no pointer to follow, and each can be inlined.
macro_rules! resolve {
    ($word:expr, $R:ident => $what:expr) => {{
        #[cfg(RFUTEX_LAB)]
        use $crate::key::locked::Locked;
        use $crate::key::{
            page::Page,
            private::Private,
            vma::Vma,
            Resolver, //
        };

        if $word.private() {
            type $R = Private;
            $what
        } else {
            match $word.resolver() {
                Resolver::VMA => {
                    type $R = Vma;
                    $what
                }
                #[cfg(RFUTEX_LAB)]
                Resolver::LOCKED => {
                    type $R = Locked;
                    $what
                }
                _ => {
                    type $R = Page;
                    $what
                }
            }
        }
    }};
}

pub(crate) use resolve;

/// Runs `attempt` until it has a result; lets others run in between.
#[inline]
pub(super) fn repeat<R, E: Default>(
    mut attempt: impl FnMut() -> Result<Result<R, E>>,
) -> Result<R> {
    match attempt()? {
        Ok(result) => Ok(result),
        Err(left) => again(left, attempt),
    }
}

/// The same after a first attempt, of which something is left over.
///
/// The first one is for the caller to inline, without a loop round it: there the compiler would
/// prepare for a second one, which there hardly ever is.
#[cold]
#[inline(never)]
pub(super) fn again<R, E: Default>(
    mut left: E,
    mut attempt: impl FnMut() -> Result<Result<R, E>>,
) -> Result<R> {
    loop {
        // No lock is held here: now it may sleep to let go.
        drop(left);
        task::before_retry()?;
        match attempt()? {
            Ok(result) => return Ok(result),
            Err(next) => left = next,
        }
    }
}
