// SPDX-License-Identifier: GPL-2.0
//! What happens to the mapping of an arena.

use serde::{Deserialize, Serialize};

/// What happens to a page of the mapping that a process has of an arena. The words there stay what
/// they are: only those that are named by an address need a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remap {
    /// It is unmapped.
    Unmap,
    /// It can no longer be accessed.
    Protect,
    /// It is moved to another address.
    Move,
}
