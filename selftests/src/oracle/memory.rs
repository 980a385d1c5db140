// SPDX-License-Identifier: GPL-2.0
//! The memory of the scenarios: an arena of each kind, in every process.
//!
//! A scenario has two pages of each arena to itself, and the next one others: what one leaves
//! behind is not what the next one finds.

use super::backend::SLOT;
use super::script::{Kind, Size, Word};
use crate::harness::{PAGE, holds_inode};
use crate::memory::{HUGE, Mount, Region, RegionWord, SysV, huge_tmpfs, memfd, rw, thp};
use nix::sys::mman::{MapFlags, ProtFlags};
use serde::{Deserialize, Serialize};
use std::fs::File;

/// The size of an arena in bytes: a huge page, of which each round has two small ones, from the
/// second on.
const ARENA: usize = HUGE;

/// How many scenarios have pages of their own before the first one's are used again.
const ROUNDS: usize = (ARENA / PAGE - 1) / 2;

/// Where a place is in a round's pages, in bytes: two in one cache line, one on the next page, and
/// one more.
const PLACES: [usize; 4] = [0, SLOT, 2 * PAGE - SLOT, 1024];

/// Where nothing is ever mapped: above what mmap_min_addr forbids, below the program.
const UNMAPPED: u64 = 0x2_0000;

/// On which page of a round a place is.
pub fn page_of(place: u8) -> usize {
    offset(place) / PAGE
}

/// Where in a round's pages a place is, in bytes.
pub fn offset(place: u8) -> usize {
    PLACES[usize::from(place) % PLACES.len()]
}

/// How far from its place a word begins, in bytes: nothing, unless it is not to be aligned.
pub fn misalignment(word: &Word, size: Size) -> u8 {
    match size {
        Size::Bits8 => 0,
        Size::Bits16 => word.off & 1,
        Size::Bits32 | Size::Bits64 => word.off & 3,
    }
}

impl Kind {
    /// Those that are memory which can be written to, here or through another view.
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

    /// Those that no word can be on.
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
        Self::MEMORY.contains(&self)
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
            Self::Shared | Self::Memfd | Self::Tmpfs | Self::SysV
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
    /// of this process alone, or of another file, if waiters hold files.
    pub fn keeps_from(self, to: Self) -> bool {
        self.is_shared() && to.is_of_process() || self.is_other_file_than(to) && holds_inode()
    }

    /// Whether both are files, and not the same one. Each of the shared kinds is a file of its own.
    pub fn is_other_file_than(self, other: Self) -> bool {
        self.is_shared() && other.is_shared() && self.writable() != other.writable()
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

/// What there is before the processes fork.
#[derive(Debug)]
pub struct Common {
    memfd: File,
    tmpfs: File,
    inherited: Region,
    shared: Region,
    sysv: Region,
    _mount: Mount,
}

impl Common {
    /// Makes it.
    pub fn new() -> Self {
        let (mount, tmpfs) = huge_tmpfs("oracle", ARENA);
        Self {
            memfd: memfd(ARENA),
            tmpfs,
            inherited: Region::anonymous(ARENA, rw(), MapFlags::MAP_PRIVATE),
            shared: Region::anonymous(ARENA, rw(), MapFlags::MAP_SHARED),
            sysv: SysV::new(ARENA).attach(),
            _mount: mount,
        }
    }
}

/// A flag that all processes see.
#[derive(Clone, Copy, Debug)]
pub struct Flag(rfutex::Word<'static>);

impl Flag {
    /// Its address, in each of them.
    pub fn addr(self) -> u64 {
        self.0.addr()
    }

    /// Raises it, or lowers it.
    pub fn set(self, up: bool) {
        self.0.store(up.into());
    }
}

impl Common {
    /// The flag that ends a race: in front of all rounds.
    pub fn stop(&self) -> Flag {
        Flag(self.shared.word(0))
    }
}

/// What one process has.
#[derive(Debug)]
pub struct Views {
    regions: Vec<(Kind, Region)>,
    bases: Bases,
}

/// Where it is there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Bases(Vec<(Kind, u64)>);

impl Views {
    /// Maps it in the calling process. In the children it is all new, at other addresses.
    pub fn new(common: &Common) -> Self {
        let file = |file: &File, prot, flags| Region::file(file, 0, ARENA, prot, flags);
        let (shared, private) = (MapFlags::MAP_SHARED, MapFlags::MAP_PRIVATE);
        let (memfd, read) = (&common.memfd, ProtFlags::PROT_READ);
        let regions = vec![
            (Kind::Private, Region::anonymous(ARENA, rw(), private)),
            (Kind::PrivateHuge, thp(ARENA)),
            (Kind::Memfd, file(memfd, rw(), shared)),
            (Kind::MemfdAgain, file(memfd, rw(), shared)),
            (Kind::MemfdReadOnly, file(memfd, read, shared)),
            (Kind::MemfdCopy, file(memfd, rw(), private)),
            (Kind::MemfdCopyReadOnly, file(memfd, read, private)),
            (Kind::Tmpfs, Region::shared(&common.tmpfs, 0, ARENA)),
            (Kind::ReadOnly, Region::anonymous(ARENA, read, private)),
            (
                Kind::Inaccessible,
                Region::anonymous(ARENA, ProtFlags::PROT_NONE, private),
            ),
            (
                Kind::BeyondEnd,
                Region::file(memfd, ARENA, ARENA, rw(), shared),
            ),
        ];
        let base = |kind, region: &Region| (kind, region.base() as u64);
        let mut bases: Vec<_> = regions
            .iter()
            .map(|(kind, region)| base(*kind, region))
            .collect();
        bases.extend([
            base(Kind::Inherited, &common.inherited),
            base(Kind::Shared, &common.shared),
            base(Kind::SysV, &common.sysv),
            (Kind::Unmapped, UNMAPPED),
            (Kind::Null, 0),
            (Kind::Kernel, 0xffff_8880_0010_0000),
            (Kind::NonCanonical, 1 << 63),
        ]);
        Self {
            regions,
            bases: Bases(bases),
        }
    }

    /// Keeps what is private out of the children of this process. What is shared, they have twice:
    /// their own views are at other addresses.
    pub fn keep(&self) {
        for (_, region) in self.regions.iter().filter(|(kind, _)| !kind.is_shared()) {
            region.advise(libc::MADV_DONTFORK);
        }
    }

    /// Where it is.
    pub fn bases(&self) -> &Bases {
        &self.bases
    }
}

impl Bases {
    /// The address of a place in the given round.
    pub fn addr(&self, kind: Kind, place: u8, round: usize) -> u64 {
        let (_, base) = self
            .0
            .iter()
            .find(|(other, _)| *other == kind)
            .expect("all kinds are mapped");
        let at = if matches!(kind, Kind::Unmapped | Kind::Null) {
            0
        } else {
            PAGE + 2 * (round % ROUNDS) * PAGE
        };
        base + (at + offset(place)) as u64
    }
}
