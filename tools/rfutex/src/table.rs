// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device files with a table of their own.

use crate::raw::uapi;
use crate::{Error, Hold, Resolver, Rfutex};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// How a [`Table`] is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TableOptions {
    resolver: Option<Resolver>,
    hold: Option<Hold>,
    buckets: u32,
    arena_size: u64,
    robust_size: u64,
}

impl TableOptions {
    /// A table of 64 buckets without an arena, with the resolver of the device file.
    pub fn new() -> Self {
        Self::default()
    }

    /// The resolver of the table, which cannot be changed later.
    pub fn resolver(self, resolver: Resolver) -> Self {
        Self {
            resolver: Some(resolver),
            ..self
        }
    }

    /// What a thread holds while it sleeps on a word of a file. Without this, that is
    /// nothing. [`Hold::Inode`] takes `CAP_SYS_ADMIN`.
    pub fn hold(self, hold: Hold) -> Self {
        Self {
            hold: Some(hold),
            ..self
        }
    }

    /// The number of buckets, which is rounded up to a power of two. More than 4096
    /// take `CAP_SYS_RESOURCE`.
    pub fn buckets(self, buckets: u32) -> Self {
        Self { buckets, ..self }
    }

    /// The size of the table's memory in bytes, a multiple of the page size. See
    /// [`Arena`](crate::Arena).
    pub fn arena(self, size: u64) -> Self {
        Self {
            arena_size: size,
            ..self
        }
    }

    /// The size in bytes of the part of the arena, from its beginning, that consists of
    /// robust words. More than 64 KiB take `CAP_SYS_RESOURCE`. See
    /// [`RobustMutex`](crate::sync::RobustMutex).
    pub fn robust(self, size: u64) -> Self {
        Self {
            robust_size: size,
            ..self
        }
    }

    fn to_uapi(self) -> uapi::rfutex_table_create {
        uapi::rfutex_table_create {
            flags: uapi::RFUTEX_TABLE_CLOEXEC,
            resolver: self.resolver.map_or(0, Resolver::to_uapi),
            hold: self.hold.map_or(0, Hold::to_uapi),
            nr_buckets: self.buckets,
            arena_size: self.arena_size,
            robust_size: self.robust_size,
        }
    }
}

/// A device file with a table of its own. Nobody else meets those who have this file.
///
/// It has no name. It is passed on as a file descriptor: by fork(2), or in a message.
/// All calls of an [`Rfutex`] work on it, except that its resolver cannot be changed.
#[derive(Debug)]
pub struct Table(Rfutex);

impl Table {
    /// Makes a table. `device` may be the device, or another table.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`]: an option has a value that it cannot have.
    /// - [`Error::Os`] with `EPERM`: the options ask for more than the caller may have.
    /// - [`Error::Os`] with `ENOSPC`: the user has as many tables, or as much memory in
    ///   arenas, as are allowed.
    /// - [`Error::Os`] with `EMFILE`, `ENFILE` or `ENOMEM`.
    /// - [`Error::Unsupported`]: the module does not know tables.
    pub fn create(device: &Rfutex, options: TableOptions) -> Result<Self, Error> {
        let fd = device.call(uapi::RFUTEX_TABLE_CREATE, &mut options.to_uapi())?;
        // INVARIANT: The module has opened a device file with this number.
        // SAFETY: Nobody else owns the new descriptor.
        Ok(Self(unsafe { Rfutex::from_raw_fd(fd as i32) }))
    }
}

#[cfg(test)]
impl Table {
    /// A table for tests that make no calls on it.
    pub(crate) fn of(rfutex: Rfutex) -> Self {
        Self(rfutex)
    }
}

impl Deref for Table {
    type Target = Rfutex;

    fn deref(&self) -> &Rfutex {
        &self.0
    }
}

impl AsFd for Table {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Takes over a descriptor of a table, for instance one that another process has sent.
///
/// # Errors
///
/// As for an [`Rfutex`]. That the file is a table and not the device itself is not
/// checked.
impl TryFrom<OwnedFd> for Table {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self, Error> {
        Rfutex::try_from(fd).map(Self)
    }
}

impl From<Table> for OwnedFd {
    fn from(table: Table) -> Self {
        table.0.into()
    }
}
