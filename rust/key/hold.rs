// SPDX-License-Identifier: GPL-2.0

//! What a task holds while it sleeps on a word of a file.

use crate::{
    bindings as uapi,
    mm::parameters, //
};

/// What a waiter's key keeps alive. This is a property of a table, which never changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The inode and its superblock. A waiter can then be found for as long as it sleeps, even if
    /// its file was unmapped and closed, and would otherwise have been evicted. The price is that
    /// the file system cannot be shut down while the waiter sleeps.
    Inode = uapi::RFUTEX_HOLD_INODE as isize,
    /// Nothing, as in futex(2) since commit 8019ad13ef7f.
    Nothing = uapi::RFUTEX_HOLD_NOTHING as isize,
}

impl Hold {
    /// What the module parameter `hold` asks for.
    pub(crate) fn from_parameter() -> Self {
        // The parameter has one of these two values: see `rfutex_set_hold()`.
        match parameters::hold() {
            uapi::RFUTEX_HOLD_NOTHING => Hold::Nothing,
            _ => Hold::Inode,
        }
    }

    /// As the interface has it.
    pub(crate) fn to_uapi(self) -> u32 {
        self as u32
    }
}
