// SPDX-License-Identifier: GPL-2.0
//! Words of every kind and size at once, for operations on two.

use super::{Region, memfd};
use crate::harness::{Mapping, PAGE};
use rfutex::Word;

/// Memory whose words have keys of each kind.
#[derive(Debug)]
pub struct EachKind {
    private: Mapping,
    shared: Mapping,
    file: Region,
}

impl EachKind {
    /// Maps it.
    #[track_caller]
    pub fn new() -> Self {
        Self {
            private: Mapping::private(PAGE),
            shared: Mapping::shared(PAGE),
            file: Region::shared(memfd(PAGE), 0, PAGE),
        }
    }

    /// Words of each kind and each size, of which no two are the same.
    pub fn words(&self) -> [Word<'static>; 5] {
        [
            self.private.sized_word(0, 1).private(),
            self.private.sized_word(64, 2),
            self.shared.sized_word(0, 4),
            self.shared.sized_word(64, 8).private(),
            self.file.word(0),
        ]
    }
}
