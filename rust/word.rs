// SPDX-License-Identifier: GPL-2.0

//! A word of user memory: its address, its size, and whether it is private.

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

/// Where a word is.
///
/// # Invariants
///
/// `addr` is a multiple of the size. It was not checked otherwise, and may even be an address of
/// the kernel.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    addr: usize,
    size: Size,
    private: bool,
}

impl Word {
    /// The word of this `size` at the address `addr`. On a `private` word, a wake finds only
    /// waiters of the same process that also said that the word is private.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `addr` is not a multiple of the size. `EFAULT`: it is, but does not fit into a
    /// pointer.
    #[inline]
    pub(crate) fn new(addr: u64, size: Size, private: bool) -> Result<Self> {
        if addr & (size.bytes() as u64 - 1) != 0 {
            return Err(EINVAL);
        }
        let addr = addr.try_into().map_err(|_| EFAULT)?;
        // INVARIANT: `addr` is a multiple of the size, as was just checked.
        Ok(Self {
            addr,
            size,
            private,
        })
    }

    /// The word of one byte at the address `addr`, for the wakes that have no size.
    #[inline]
    pub(crate) fn at(addr: usize, private: bool) -> Self {
        // INVARIANT: Every address is a multiple of one.
        Self {
            addr,
            size: Size::U8,
            private,
        }
    }

    /// The address.
    #[inline]
    pub(crate) fn addr(self) -> usize {
        self.addr
    }

    /// The size.
    #[inline]
    pub(crate) fn size(self) -> Size {
        self.size
    }

    /// Whether the caller said that only threads of its process use this word.
    #[inline]
    pub(crate) fn private(self) -> bool {
        self.private
    }
}
