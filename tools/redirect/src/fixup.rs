// SPDX-License-Identifier: GPL-2.0
//! What in the trampolines, and in their unwind tables, depends on where these are and where the
//! library is. Linkers call it relocations; there are two kinds of them.

use crate::code::Error;

/// How a place is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Four bytes that say how far behind the place the address is (`R_X86_64_PC32`).
    Relative,
    /// Eight bytes that are the address (`R_X86_64_64`).
    Absolute,
}

impl Kind {
    /// How many bytes the place has.
    pub fn size(self) -> usize {
        match self {
            Self::Relative => size_of::<u32>(),
            Self::Absolute => size_of::<u64>(),
        }
    }
}

/// A place that depends on where the library is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixup {
    /// Where the place is: so many bytes behind the first trampoline's beginning.
    pub at: u32,
    /// How it is filled.
    pub kind: Kind,
    /// The address in the library's file.
    pub to: u64,
}

impl Fixup {
    /// Whether there is such a place in so many bytes.
    pub fn is_within(&self, length: usize) -> bool {
        self.at as usize <= length && length - self.at as usize >= self.kind.size()
    }

    /// Fills the place in `bytes`, which will be at `base`, for a library that is `bias` above the
    /// addresses of its file.
    pub fn apply(&self, bytes: &mut [u8], base: u64, bias: u64) -> Result<(), Error> {
        let to = self.to.wrapping_add(bias);
        let place = &mut bytes[self.at as usize..][..self.kind.size()];
        match self.kind {
            Kind::Relative => {
                let distance = distance(base.wrapping_add(self.at.into()), to)?;
                place.copy_from_slice(&distance.to_le_bytes());
            }
            Kind::Absolute => place.copy_from_slice(&to.to_le_bytes()),
        }
        Ok(())
    }
}

/// How far `to` is behind `from`, if four bytes can say it.
pub fn distance(from: u64, to: u64) -> Result<i32, Error> {
    let distance = to.wrapping_sub(from) as i64;
    distance.try_into().map_err(|_| Error::Far)
}
