// SPDX-License-Identifier: GPL-2.0
//! How wide words are.

use serde::{Deserialize, Serialize};

/// The size of a word.
///
/// All values in a script have 32 bits. A narrower word has the upper ones, and in a wider one
/// they are the upper half: so every operation and comparison, the signed ones too, has the same
/// result in all sizes, as long as the bits that a narrow word has not are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    /// One byte.
    Bits8,
    /// Two.
    Bits16,
    /// Four, as futex(2) has.
    #[default]
    Bits32,
    /// Eight.
    Bits64,
}

impl Size {
    /// In bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Self::Bits8 => 1,
            Self::Bits16 => 2,
            Self::Bits32 => 4,
            Self::Bits64 => 8,
        }
    }

    /// A script's value as a word of this size has it.
    pub fn widen(self, value: u32) -> u64 {
        match self {
            Self::Bits64 => u64::from(value) << 32,
            _ => u64::from(value) >> (32 - 8 * self.bytes()),
        }
    }

    /// A word's value as a script has it; `None` if it is not one that [`widen`](Self::widen)
    /// makes.
    pub fn narrow(self, value: u64) -> Option<u32> {
        let narrow = match self {
            Self::Bits64 => value >> 32,
            _ => value << (32 - 8 * self.bytes()),
        };
        (self.widen(narrow as u32) == value).then_some(narrow as u32)
    }

    /// `value` without the bits that words of this size have not.
    pub fn clip(self, value: u32) -> u32 {
        match self {
            Self::Bits8 => value & 0xff00_0000,
            Self::Bits16 => value & 0xffff_0000,
            _ => value,
        }
    }
}
