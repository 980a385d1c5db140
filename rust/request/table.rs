// SPDX-License-Identifier: GPL-2.0

//! The request of `RFUTEX_TABLE_CREATE`.

use super::{
    check_zero,
    Argument, //
};
use crate::{
    bindings::{
        self as uapi,
        rfutex_table_create, //
    },
    key::{
        Hold,
        Resolver, //
    },
    word::Size, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    static_assert, //
};

static_assert!(size_of::<rfutex_table_create>() == 32);

/// The request of `RFUTEX_TABLE_CREATE`.
pub(crate) struct TableCreate {
    /// Whether the file descriptor is closed by `execve()`.
    pub(crate) close_on_exec: bool,
    /// The resolver of the new file; `None` if it is to have that of the present one.
    pub(crate) resolver: Option<Resolver>,
    /// What tasks hold while they sleep on words of files.
    pub(crate) hold: Hold,
    pub(crate) nr_buckets: u32,
    /// The number of pages of the arena; 0 if there is to be none.
    pub(crate) arena_pages: usize,
    /// The size in bytes of that part of the arena that consists of robust words.
    pub(crate) robust_size: usize,
}

/// The number of buckets of a table, if the user does not choose one.
const DEFAULT_BUCKETS: u32 = 64;

impl TableCreate {
    /// Reads and checks the request. Whether the caller may have such a table is not looked at.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`](super::Wait::read), and as [`Resolver::from_uapi`].
    ///
    /// # Context
    ///
    /// As [`Wait::read`](super::Wait::read).
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_table_create = argument.read()?;
        check_zero(raw.flags & !uapi::RFUTEX_TABLE_CLOEXEC)?;
        let page = PAGE_SIZE as u64;
        if raw.arena_size % page != 0 || raw.arena_size > u64::from(uapi::RFUTEX_ARENA_MAX) {
            return Err(EINVAL);
        }
        if raw.nr_buckets > uapi::RFUTEX_TABLE_MAX_BUCKETS {
            return Err(EINVAL);
        }
        let word = Size::U64.bytes() as u64;
        if raw.robust_size % word != 0 || raw.robust_size > raw.arena_size {
            return Err(EINVAL);
        }
        Ok(Self {
            close_on_exec: raw.flags & uapi::RFUTEX_TABLE_CLOEXEC != 0,
            resolver: match raw.resolver {
                0 => None,
                number => Some(Resolver::from_uapi(number)?),
            },
            hold: match raw.hold {
                0 | uapi::RFUTEX_HOLD_NOTHING => Hold::Nothing,
                uapi::RFUTEX_HOLD_INODE => Hold::Inode,
                _ => return Err(EINVAL),
            },
            nr_buckets: match raw.nr_buckets {
                0 => DEFAULT_BUCKETS,
                nr => nr,
            },
            arena_pages: (raw.arena_size / page) as usize,
            robust_size: raw.robust_size as usize,
        })
    }
}
