// SPDX-License-Identifier: GPL-2.0

//! The requests of watch sets.

use super::{
    check_mask,
    check_value,
    check_word,
    check_zero,
    Argument, //
};
use crate::{
    bindings::{
        self as uapi,
        rfutex_event,
        rfutex_watch_add,
        rfutex_watch_remove,
        rfutex_watches_create, //
    },
    word::Word, //
};
use core::mem::offset_of;
use kernel::{
    prelude::*,
    static_assert, //
};

static_assert!(size_of::<rfutex_watches_create>() == 8);
static_assert!(size_of::<rfutex_watch_add>() == 56);
static_assert!(size_of::<rfutex_watch_remove>() == 16);
static_assert!(size_of::<rfutex_event>() == 32);

/// The request of `RFUTEX_WATCHES_CREATE`.
pub(crate) struct WatchesCreate {
    /// Whether the file descriptor is closed by `execve()`.
    pub(crate) close_on_exec: bool,
    /// Whether reading from the watch set does not wait for events.
    pub(crate) nonblocking: bool,
}

impl WatchesCreate {
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
        let raw: rfutex_watches_create = argument.read()?;
        check_zero(raw.pad)?;
        check_zero(raw.flags & !(uapi::RFUTEX_WATCHES_CLOEXEC | uapi::RFUTEX_WATCHES_NONBLOCK))?;
        Ok(Self {
            close_on_exec: raw.flags & uapi::RFUTEX_WATCHES_CLOEXEC != 0,
            nonblocking: raw.flags & uapi::RFUTEX_WATCHES_NONBLOCK != 0,
        })
    }
}

/// Where the field `id` begins in the struct of `RFUTEX_WATCH_ADD`, in bytes.
const ID_OFFSET: usize = offset_of!(rfutex_watch_add, id);

static_assert!(ID_OFFSET == 40);

/// The request of `RFUTEX_WATCH_ADD`.
///
/// # Invariants
///
/// The struct of the process has the field `id` as a whole.
pub(crate) struct WatchAdd {
    pub(crate) word: Word,
    pub(crate) val: u64,
    pub(crate) mask: u64,
    /// The value that the events of the watch have.
    pub(crate) cookie: u64,
    /// Whether the watch stays after a wake.
    pub(crate) repeat: bool,
    argument: Argument,
}

impl WatchAdd {
    /// Reads and checks the request. The field `id`, which is meant for the answer, may have any
    /// value.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`](super::Wait::read). `EINVAL` also if the struct of the process ends before
    /// the field `id` does.
    ///
    /// # Context
    ///
    /// As [`Wait::read`](super::Wait::read).
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_watch_add = argument.read()?;
        if argument.size < ID_OFFSET + size_of_val(&raw.id) {
            return Err(EINVAL);
        }
        check_zero(raw.flags & !uapi::RFUTEX_WATCH_REPEAT | raw.cond)?;
        let word = check_word(&raw.word)?;
        // INVARIANT: The size of the struct was compared above.
        Ok(Self {
            word,
            val: check_value(word, raw.val)?,
            mask: check_mask(raw.mask)?,
            cookie: raw.cookie,
            repeat: raw.flags & uapi::RFUTEX_WATCH_REPEAT != 0,
            argument,
        })
    }

    /// Writes the id of the watch to the field `id`, and nothing else.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the memory cannot be written to. A part of the field may have been written.
    ///
    /// # Context
    ///
    /// As [`Wait::read`](super::Wait::read).
    pub(crate) fn write_id(&self, id: u64) -> Result {
        let addr = self.argument.addr.wrapping_add(ID_OFFSET);
        Argument::new(addr, size_of_val(&id)).write(&id)
    }
}

/// The request of `RFUTEX_WATCH_REMOVE`.
pub(crate) struct WatchRemove {
    pub(crate) id: u64,
}

impl WatchRemove {
    /// Reads and checks the request. Whether there is a watch with this id is not looked at.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`](super::Wait::read).
    ///
    /// # Context
    ///
    /// As [`Wait::read`](super::Wait::read).
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_watch_remove = argument.read()?;
        check_zero(raw.flags | raw.pad)?;
        Ok(Self { id: raw.id })
    }
}
