// SPDX-License-Identifier: GPL-2.0

//! What an operation works with: the table and the resolver of the open file.

#![deny(unsafe_code)]

use crate::{
    key::{
        self,
        FolioPosition,
        Hold,
        KeyId,
        OwnedKey,
        Resolver, //
    },
    mm::{
        gup::Access,
        uaccess::{
            self,
            Mismatch, //
        },
    },
    table::Table,
    word::{
        Location,
        Word, //
    },
};
use core::convert::Infallible;
use kernel::prelude::*;

/// The table and the resolver of the open file on which a call was made.
#[derive(Clone, Copy)]
pub(crate) struct Context<'t> {
    table: &'t Table,
    resolver: Resolver,
}

impl<'t> Context<'t> {
    /// The context of a call that uses `table`, and finds the keys of words by means of `resolver`.
    #[inline]
    pub(crate) fn new(table: &'t Table, resolver: Resolver) -> Self {
        Self { table, resolver }
    }

    /// The table.
    #[inline]
    pub(crate) fn table(self) -> &'t Table {
        self.table
    }

    /// The resolver.
    #[inline]
    pub(crate) fn resolver(self) -> Resolver {
        self.resolver
    }

    /// Whether a waiter on the key `id` has to hold the inode that the key names.
    #[inline]
    pub(crate) fn holds(self, id: KeyId) -> bool {
        self.table.hold() == Hold::Inode && id.kind() == key::Kind::Inode
    }

    /// What a waiter may have to hold because of where `word` is found.
    #[inline]
    fn holding(self, word: Word) -> Hold {
        match word.location() {
            Location::Address => self.table.hold(),
            Location::PrivateAddress | Location::Arena => Hold::Nothing,
        }
    }

    /// Compares `word` with `val`, but does not fault it in.
    ///
    /// # Errors
    ///
    /// Tells why the word was not found to be equal to `val`.
    ///
    /// # Context
    ///
    /// Any, locks held or not. Does not sleep.
    #[inline(always)]
    pub(crate) fn compare(self, word: Word, val: u64) -> Result<(), Mismatch> {
        if word.in_arena() {
            self.table.compare_in_arena(word, val)
        } else {
            uaccess::compare_inatomic(word, val)
        }
    }

    /// Atomically replaces the value of `word` by `new(value)`, but does not fault the word in.
    /// Returns the value that the word had.
    ///
    /// # Errors
    ///
    /// As [`uaccess::update_inatomic`].
    ///
    /// # Context
    ///
    /// Any, locks held or not. Does not sleep.
    pub(crate) fn update(self, word: Word, new: impl Fn(u64) -> u64) -> Result<u64> {
        if word.in_arena() {
            self.table.update_in_arena(word, new)
        } else {
            uaccess::update_inatomic(word, new)
        }
    }

    /// Finds the key of `word`, which the caller is only going to read, if at all.
    ///
    /// # Errors
    ///
    /// As [`key::resolve`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    #[inline(always)]
    pub(crate) fn resolve(self, word: Word) -> Result<KeyId> {
        if word.in_arena() {
            return self.table.key_in_arena(word);
        }
        key::resolve(self.resolver, word, Access::Read, self.table.hold())
    }

    /// Finds the key of `word` if that takes no resolver; `None` if it does.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the word has no key. `EINVAL`: the table has no arena.
    ///
    /// # Context
    ///
    /// Process context. Does not sleep.
    #[inline(always)]
    pub(crate) fn resolve_directly(self, word: Word) -> Result<Option<KeyId>> {
        Ok(match word.location() {
            Location::Address => None,
            Location::PrivateAddress => Some(key::private(word)?),
            Location::Arena => Some(self.table.key_in_arena(word)?),
        })
    }

    /// Finds the key of `word`, which the caller is going to write to.
    ///
    /// # Errors
    ///
    /// As [`key::resolve`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    #[inline(always)]
    pub(crate) fn resolve_writable(self, word: Word) -> Result<KeyId> {
        if word.in_arena() {
            return self.table.key_in_arena(word);
        }
        key::resolve(self.resolver, word, Access::Write, self.table.hold())
    }

    /// Finds the key of `word` for a waiter, with the references that waiters in this table hold.
    ///
    /// If references have to be taken, the word is compared with `val` first, so that a wait that
    /// is going to fail takes none. The inner error is the result of that comparison. Even if the
    /// values are equal, the caller has to compare them again when the waiter is about to be
    /// queued.
    ///
    /// # Errors
    ///
    /// As [`key::resolve`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    #[inline(always)]
    pub(crate) fn own(self, word: Word, val: u64) -> Result<Result<OwnedKey, Mismatch>> {
        match self.holding(word) {
            Hold::Nothing => Ok(Ok(OwnedKey::bare(self.resolve(word)?))),
            Hold::Inode => key::own(self.resolver, word, || uaccess::compare_inatomic(word, val)),
        }
    }

    /// Does what [`Self::own`] does, but does not compare the word.
    ///
    /// # Errors
    ///
    /// As [`key::resolve`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(crate) fn own_unconditionally(self, word: Word) -> Result<OwnedKey> {
        match self.holding(word) {
            Hold::Nothing => Ok(OwnedKey::bare(self.resolve(word)?)),
            Hold::Inode => {
                let Ok(key) = key::own(self.resolver, word, || Ok::<_, Infallible>(()))?;
                Ok(key)
            }
        }
    }

    /// Finds the key of `word`, and where the word's page is in its folio, if the resolver looks up
    /// a page.
    ///
    /// # Errors
    ///
    /// As [`key::resolve`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(crate) fn describe(self, word: Word) -> Result<(KeyId, Option<FolioPosition>)> {
        if word.in_arena() {
            return Ok((self.table.key_in_arena(word)?, None));
        }
        key::describe(self.resolver, word, self.table.hold())
    }
}
