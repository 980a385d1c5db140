// SPDX-License-Identifier: GPL-2.0
//! Kinds of memory.

use serde::{Deserialize, Serialize};

/// Kinds of memory. Each process has all of them, those of an arena where there is a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Private anonymous memory.
    Private,
    /// The same, on tail pages of a huge page.
    PrivateHuge,
    /// The same, from before the processes forked.
    Inherited,
    /// Shared anonymous memory, from before the processes forked.
    Shared,
    /// A memfd, in each process at another address.
    Memfd,
    /// It again, at a second address.
    MemfdAgain,
    /// It again, read-only.
    MemfdReadOnly,
    /// Its private copy.
    MemfdCopy,
    /// Its private copy, read-only: never copied.
    MemfdCopyReadOnly,
    /// A tmpfs file on huge pages; the words are on tail pages.
    Tmpfs,
    /// System V shared memory.
    SysV,
    /// An arena, whose words are named by their offsets. On futex(2), and where words are private, it
    /// is a shared file, and words have addresses.
    Arena,
    /// Anonymous memory that may not be written to.
    ReadOnly,
    /// Anonymous memory that may not be accessed.
    Inaccessible,
    /// Behind the end of the memfd.
    BeyondEnd,
    /// Behind the end of the arena.
    BeyondArena,
    /// Where nothing is mapped.
    Unmapped,
    /// Address 0.
    Null,
    /// An address of the kernel.
    Kernel,
    /// An address that the processor does not know.
    NonCanonical,
}

impl Kind {
    /// Those that are memory which can be written to, here or through another view, and need no
    /// table.
    pub const MEMORY: &[Self] = &[
        Self::Private,
        Self::PrivateHuge,
        Self::Inherited,
        Self::Shared,
        Self::Memfd,
        Self::MemfdAgain,
        Self::MemfdReadOnly,
        Self::MemfdCopy,
        Self::MemfdCopyReadOnly,
        Self::Tmpfs,
        Self::SysV,
    ];

    /// Those that no word can be on, and that need no table.
    pub const NONE: &[Self] = &[
        Self::ReadOnly,
        Self::Inaccessible,
        Self::BeyondEnd,
        Self::Unmapped,
        Self::Null,
        Self::Kernel,
        Self::NonCanonical,
    ];

    /// Whether a word can be there.
    pub fn is_memory(self) -> bool {
        self == Self::Arena || Self::MEMORY.contains(&self)
    }

    /// Whether its words are named by their offsets in an arena.
    pub fn is_in_arena(self) -> bool {
        matches!(self, Self::Arena | Self::BeyondArena)
    }

    /// What a word is in instead if it is to be in an arena.
    pub fn in_arena(self) -> Self {
        if self.is_memory() {
            Self::Arena
        } else {
            Self::BeyondArena
        }
    }

    /// The view of the same memory that can be written to.
    pub fn writable(self) -> Self {
        match self {
            Self::MemfdReadOnly | Self::MemfdCopyReadOnly | Self::MemfdAgain => Self::Memfd,
            other => other,
        }
    }

    /// Whether it can be written to where it is.
    pub fn is_writable(self) -> bool {
        self.is_memory() && !matches!(self, Self::MemfdReadOnly | Self::MemfdCopyReadOnly)
    }

    /// Whether all processes have the same memory there.
    pub fn is_shared(self) -> bool {
        matches!(
            self.writable(),
            Self::Shared | Self::Memfd | Self::Tmpfs | Self::SysV | Self::Arena
        )
    }

    /// Whether each process has a key of its own there.
    pub fn is_of_process(self) -> bool {
        matches!(
            self,
            Self::Private | Self::PrivateHuge | Self::Inherited | Self::MemfdCopy
        )
    }

    /// Whether rfutex does not move those of another process who wait here to a word there: memory
    /// of this process alone, or of another file, if waiters `hold` files.
    pub fn keeps_from(self, to: Self, hold: bool) -> bool {
        self.is_shared() && to.is_of_process() || hold && self.leads_to_file(to)
    }

    /// Whether that one is a file, and not the one where this is. Each of the shared kinds but the
    /// arena is a file of its own.
    pub fn leads_to_file(self, to: Self) -> bool {
        self.is_shared() && to.is_shared() && to != Self::Arena && self.writable() != to.writable()
    }

    /// The next best kind on which all resolvers agree: in rfutex.rst is where they do not.
    pub fn agreed(self) -> Self {
        match self {
            Self::MemfdCopyReadOnly => Self::MemfdReadOnly,
            Self::ReadOnly | Self::Inaccessible | Self::BeyondEnd => Self::Unmapped,
            other => other,
        }
    }

    /// Whether the page can be taken away, so that a zero is found there. Huge pages stay huge.
    pub fn can_be_cold(self) -> bool {
        matches!(
            self,
            Self::Private | Self::Inherited | Self::Shared | Self::Memfd | Self::SysV
        )
    }
}
