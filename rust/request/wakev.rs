// SPDX-License-Identifier: GPL-2.0

//! The request of `RFUTEX_WAKEV`.

use super::{
    check_mask,
    check_word,
    check_zero,
    entries::Entries,
    Argument, //
};
use crate::{
    bindings::{
        self as uapi,
        rfutex_wakev,
        rfutex_wakev_entry, //
    },
    word::Word, //
};
use kernel::{
    prelude::*,
    static_assert, //
};

static_assert!(size_of::<rfutex_wakev_entry>() == 32);
static_assert!(size_of::<rfutex_wakev>() == 32);

/// The request of `RFUTEX_WAKEV`.
pub(crate) struct Wakev {
    entries: Entries<rfutex_wakev_entry>,
    results: usize,
}

/// An entry of `RFUTEX_WAKEV`, which describes one word.
pub(crate) struct WakevEntry {
    pub(crate) word: Word,
    pub(crate) mask: u64,
    pub(crate) nr: u32,
}

impl Wakev {
    /// Reads and checks the request, but not its entries.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`](super::Wait::read).
    ///
    /// # Context
    ///
    /// As [`Wait::read`](super::Wait::read).
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_wakev = argument.read()?;
        check_zero(raw.flags | raw.pad)?;
        Ok(Self {
            entries: Entries::new(
                raw.entries,
                size_of::<rfutex_wakev_entry>(),
                raw.nr,
                uapi::RFUTEX_WAKEV_MAX,
                raw.entry_size,
            )?,
            results: raw.results.try_into().map_err(|_| EFAULT)?,
        })
    }

    /// The number of entries, which is also that of the results.
    pub(crate) fn nr(&self) -> usize {
        self.entries.nr()
    }

    /// Reads and checks the entry with this `index`.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`](super::Wait::read).
    ///
    /// # Context
    ///
    /// As [`Wait::read`](super::Wait::read).
    pub(crate) fn entry(&self, index: usize) -> Result<WakevEntry> {
        let raw = self.entries.read(index)?;
        check_zero(raw.flags)?;
        Ok(WakevEntry {
            word: check_word(&raw.word)?,
            mask: check_mask(raw.mask)?,
            nr: raw.nr,
        })
    }

    /// Writes the results, of which there must be one for each entry. An operation writes zeros
    /// before it wakes anybody, in order to find out whether the results can be written.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the memory cannot be written to. A part of it may have been written.
    ///
    /// # Context
    ///
    /// As [`Wait::read`](super::Wait::read).
    pub(crate) fn write_results(&self, results: &[u32]) -> Result {
        Argument::new(self.results, size_of_val(results)).write(results)
    }
}
