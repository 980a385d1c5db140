// SPDX-License-Identifier: GPL-2.0

//! The request of `RFUTEX_LIST`.

use super::{
    check_zero,
    entries::MAX_SIZE,
    Argument, //
};
use crate::bindings::{
    self as uapi,
    rfutex_list,
    rfutex_waiter, //
};
use kernel::{
    prelude::*,
    static_assert, //
};

static_assert!(size_of::<rfutex_list>() == 8);
static_assert!(size_of::<rfutex_waiter>() == SHORTEST);

/// The size in bytes of the first version of the struct that is read.
const SHORTEST: usize = 136;

/// The request of `RFUTEX_LIST`.
///
/// # Invariants
///
/// `entry_size` is a multiple of 8, at least the size of the first version of the struct, and not
/// too large.
pub(crate) struct List {
    /// Whether the file descriptor is closed by `execve()`.
    pub(crate) close_on_exec: bool,
    /// The size of the version of the struct that the process has, in bytes.
    pub(crate) entry_size: usize,
}

impl List {
    /// Reads and checks the request.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`](super::Wait::read).
    ///
    /// # Context
    ///
    /// As [`Wait::read`](super::Wait::read).
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_list = argument.read()?;
        check_zero(raw.flags & !uapi::RFUTEX_LIST_CLOEXEC)?;
        let entry_size = raw.entry_size as usize;
        if !(SHORTEST..=MAX_SIZE).contains(&entry_size) || entry_size % 8 != 0 {
            return Err(EINVAL);
        }
        // INVARIANT: The size was just checked.
        Ok(Self {
            close_on_exec: raw.flags & uapi::RFUTEX_LIST_CLOEXEC != 0,
            entry_size,
        })
    }
}
