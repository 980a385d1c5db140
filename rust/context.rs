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
    word::Word,
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
        key::resolve(self.resolver, word, Access::Read, self.table.hold())
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
        match self.table.hold() {
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
        match self.table.hold() {
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
        key::describe(self.resolver, word, self.table.hold())
    }
}
