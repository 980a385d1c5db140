// SPDX-License-Identifier: GPL-2.0

//! A word: where it is, and its size.

#![deny(unsafe_code)]

use kernel::prelude::*;

/// The size of a word. The numbers are the binary logarithms of the sizes in bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Size {
    U8 = 0,
    U16 = 1,
    U32 = 2,
    U64 = 3,
}

impl Size {
    /// All sizes in bytes, or-ed together.
    pub(crate) const ALL: u32 = 1 | 2 | 4 | 8;

    /// The size that has this number of `bytes`; `None` if there is none.
    #[inline]
    pub(crate) fn from_bytes(bytes: u32) -> Option<Self> {
        match bytes {
            1 => Some(Size::U8),
            2 => Some(Size::U16),
            4 => Some(Size::U32),
            8 => Some(Size::U64),
            _ => None,
        }
    }

    /// The size in bytes.
    #[inline]
    pub(crate) fn bytes(self) -> usize {
        1 << self as u32
    }

    /// The size in bits.
    #[inline]
    pub(crate) fn bits(self) -> u32 {
        8 << self as u32
    }
}

/// What a word is found by.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Location {
    /// Its address in this process. What is mapped there decides who else has the same word.
    Address,
    /// Its address in this process, as a word of this process alone.
    PrivateAddress,
    /// Its offset in the arena of the table.
    Arena,
}

/// Where a word is.
///
/// # Invariants
///
/// `at` is a multiple of the size. It was not checked otherwise: an address may even be one of the
/// kernel, and an offset may lie beyond the end of the arena.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    at: usize,
    size: Size,
    location: Location,
}

impl Word {
    /// The word of this `size` at `at`, which is an address or an offset, as `location` says.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `at` is not a multiple of the size. `EFAULT`: it is, but does not fit into a
    /// pointer.
    #[inline]
    pub(crate) fn new(at: u64, size: Size, location: Location) -> Result<Self> {
        if at & (size.bytes() as u64 - 1) != 0 {
            return Err(EINVAL);
        }
        let at = at.try_into().map_err(|_| EFAULT)?;
        // INVARIANT: `at` is a multiple of the size, as was just checked.
        Ok(Self { at, size, location })
    }

    /// The word of one byte at `at`, for the wakes that have no size.
    #[inline]
    pub(crate) fn at(at: usize, location: Location) -> Self {
        // INVARIANT: Every number is a multiple of one.
        Self {
            at,
            size: Size::U8,
            location,
        }
    }

    /// The address of a word that is found by its address.
    #[inline]
    pub(crate) fn addr(self) -> usize {
        debug_assert!(self.location != Location::Arena);
        self.at
    }

    /// The offset of a word in the arena.
    #[inline]
    pub(crate) fn offset(self) -> usize {
        debug_assert!(self.location == Location::Arena);
        self.at
    }

    /// The size.
    #[inline]
    pub(crate) fn size(self) -> Size {
        self.size
    }

    /// What the word is found by.
    #[inline]
    pub(crate) fn location(self) -> Location {
        self.location
    }

    /// Whether the caller said that only threads of its process use this word.
    #[inline]
    pub(crate) fn private(self) -> bool {
        self.location == Location::PrivateAddress
    }

    /// Whether the word is one of the arena of the table.
    #[inline]
    pub(crate) fn in_arena(self) -> bool {
        self.location == Location::Arena
    }
}
