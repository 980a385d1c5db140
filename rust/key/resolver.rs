// SPDX-License-Identifier: GPL-2.0

//! What the resolvers have in common, and how one of them is chosen.

use super::Borrowed;
use crate::{
    bindings as uapi,
    mm::{
        gup::{
            Access,
            PageRef, //
        },
        inode::DeferredPut,
        task, //
    },
    trace::{
        self,
        Step, //
    },
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
    /// All resolvers.
    #[cfg(RFUTEX_KUNIT)]
    pub(crate) const ALL: [Self; 3] = [Self::Page, Self::Vma, Self::Locked];

    /// The resolver that has this `number` in the user interface (`RFUTEX_RESOLVER_*`).
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no such resolver. `EOPNOTSUPP`: there is one, but not in this build.
    pub(crate) fn from_uapi(number: u32) -> Result<Self> {
        match number {
            uapi::RFUTEX_RESOLVER_PAGE => Ok(Self::Page),
            uapi::RFUTEX_RESOLVER_VMA => Ok(Self::Vma),
            #[cfg(RFUTEX_LAB)]
            uapi::RFUTEX_RESOLVER_LOCKED => Ok(Self::Locked),
            #[cfg(not(RFUTEX_LAB))]
            uapi::RFUTEX_RESOLVER_LOCKED => Err(crate::mm::version::EOPNOTSUPP),
            _ => Err(EINVAL),
        }
    }

    /// The number of this resolver in the user interface (`RFUTEX_RESOLVER_*`).
    #[inline]
    pub(crate) fn to_uapi(self) -> u32 {
        self as u32
    }

    /// The name of this resolver, for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Vma => "vma",
            #[cfg(RFUTEX_LAB)]
            Self::Locked => "locked",
        }
    }
}

/// A variable that holds a resolver, and can be read and changed at any time without a lock.
///
/// # Invariants
///
/// The number is that of a [`Resolver`].
pub(crate) struct AtomicResolver(Atomic<u32>);

impl AtomicResolver {
    /// A variable whose first value is `resolver`.
    pub(crate) fn new(resolver: Resolver) -> Self {
        // INVARIANT: The number is that of `resolver`.
        Self(Atomic::new(resolver.to_uapi()))
    }

    /// The current value.
    #[inline]
    pub(crate) fn get(&self) -> Resolver {
        match self.0.load(Relaxed) {
            uapi::RFUTEX_RESOLVER_VMA => Resolver::Vma,
            #[cfg(RFUTEX_LAB)]
            uapi::RFUTEX_RESOLVER_LOCKED => Resolver::Locked,
            // By the type invariants, this is the only number that is left.
            _ => Resolver::Page,
        }
    }

    /// Changes the value to `resolver`.
    pub(crate) fn set(&self, resolver: Resolver) {
        // INVARIANT: The number is that of `resolver`.
        self.0.store(resolver.to_uapi(), Relaxed);
    }
}

/// What a caller does with the key that a resolver lends.
///
/// Closures implement this. A type of its own can implement it too, and mark its function
/// `#[inline(always)]`, which a closure cannot.
pub(crate) trait Visit<R> {
    /// Uses the key, and returns a result.
    ///
    /// It must not sleep: the resolver may hold a lock, or be in an RCU read-side critical section.
    ///
    /// # Errors
    ///
    /// The key cannot be used, and the resolver is to try again. The error has the references that
    /// are to be put as soon as the resolver holds nothing any more.
    fn visit(&mut self, key: &Borrowed<'_>) -> Result<R, DeferredPut>;
}

impl<R, F: FnMut(&Borrowed<'_>) -> Result<R, DeferredPut>> Visit<R> for F {
    #[inline(always)]
    fn visit(&mut self, key: &Borrowed<'_>) -> Result<R, DeferredPut> {
        self(key)
    }
}

/// What every resolver implements.
pub(crate) trait Resolve {
    /// Finds the key of the word at `addr`, which is not private, and passes it to `visitor`. Does
    /// so again until the visitor returns a result.
    ///
    /// `access` says how the caller is going to access the word. Where `any_file` is false, words
    /// on files whose inodes cannot be held (see `Host::can_be_held`) have no key. The
    /// VMA resolver ignores both.
    ///
    /// The key is lent, not returned, because it is valid only under a lock, or in an RCU read-side
    /// critical section, that ends before this function returns.
    ///
    /// # Errors
    ///
    /// - `EFAULT`: the word has no key.
    /// - `EINTR`: the task was killed.
    /// - Others as [`PageRef::get`](crate::mm::gup::PageRef::get), if the resolver looks up a page.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep. The visitor must not sleep.
    fn resolve<R>(addr: usize, access: Access, any_file: bool, visitor: impl Visit<R>)
        -> Result<R>;
}

/// Decides what follows from a page that belongs to nothing, and that `resolver` has looked up at
/// `addr` for this kind of `access`. If this returns no error, the caller has to put the folio and to
/// try again.
///
/// `moving` says that the page is just being moved between a file and the swap cache. Otherwise, it
/// may have been removed from its file after it was looked up, because the file was truncated, or
/// because something else was mapped at the address and this was the last reference on the file.
/// Pages are unmapped before they are removed, so a second look finds what is there now. (futex(2)
/// does not look again, and returns `EFAULT` even if there has been a word at the address all the
/// time.) If the second look finds the same page, it is one that never belongs to anything, such as
/// the zero page.
///
/// # Errors
///
/// `EFAULT`: the page never belongs to anything.
///
/// # Context
///
/// As [`PageRef::get`].
pub(super) fn without_mapping(
    resolver: Resolver,
    page: &PageRef,
    moving: bool,
    addr: usize,
    access: Access,
) -> Result {
    if !moving && page.is_still_at(addr, access) {
        return Err(EFAULT);
    }
    let step = if moving {
        Step::NoMapping
    } else {
        Step::HostGone
    };
    trace::retry(resolver, step);
    Ok(())
}

/// Does the same for an anonymous page that was looked up for reading, because there was none to
/// write to.
///
/// A read-only anonymous page never changes, so to wait on it is a mistake. But the page may have
/// been mapped, writable, after the first look, which then was one at something else.
///
/// # Errors
///
/// As [`PageRef::get`]; `EFAULT`: the page is read-only.
///
/// # Context
///
/// As [`PageRef::get`].
pub(super) fn unwritable_anonymous(resolver: Resolver, addr: usize) -> Result {
    PageRef::get(addr, Access::Write)?;
    trace::retry(resolver, Step::MappingChanged);
    Ok(())
}

/// Calls `attempt` until it has a result, and lets other tasks run between two attempts.
///
/// # Errors
///
/// The error of the attempt. `EINTR`: the task was killed.
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(super) fn repeat<R>(mut attempt: impl FnMut() -> Result<Result<R, DeferredPut>>) -> Result<R> {
    loop {
        match attempt()? {
            Ok(result) => return Ok(result),
            // No lock is held here, so this may sleep to put the references.
            Err(deferred) => drop(deferred),
        }
        task::before_retry()?;
    }
}
