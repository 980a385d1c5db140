// SPDX-License-Identifier: GPL-2.0
//! The memory of the scenarios: an area of each kind, in every process.
//!
//! A scenario has two pages of each area to itself, and the next one others: what one leaves
//! behind is not what the next one finds.

use super::backend::SLOT;
use super::script::{Kind, Size, Table, Word};
use crate::harness::{Feature, PAGE};
use crate::memory::{HUGE, Mount, Region, RegionWord, SysV, file_in, huge_tmpfs, memfd, rw, thp};
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex::Rfutex;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// The size of an area in bytes: a huge page, of which each round has two small ones, from the
/// second on.
const AREA: usize = HUGE;

/// How many scenarios have pages of their own before the first one's are used again.
const ROUNDS: usize = (AREA / PAGE - 1) / 2;

/// The same for the arena of a table, where rounds have the first page too: an offset can be 0. It
/// is odd, so that a scenario that is played again and again, twice each time, gets all of them.
const ARENA_ROUNDS: usize = 15;

/// The size in bytes of the arena of a table. As much is mapped behind its end.
pub const ARENA: usize = 2 * ARENA_ROUNDS * PAGE;

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

/// Where a place is in its area in the given round, in bytes.
pub fn position(kind: Kind, place: u8, round: usize) -> usize {
    let begin = match kind {
        Kind::Unmapped | Kind::Null => 0,
        Kind::Arena => 2 * (round % ARENA_ROUNDS) * PAGE,
        Kind::BeyondArena => ARENA + 2 * (round % ARENA_ROUNDS) * PAGE,
        _ => PAGE + 2 * (round % ROUNDS) * PAGE,
    };
    begin + offset(place)
}

/// How far from its place a word begins, in bytes: nothing, unless it is not to be aligned.
pub fn misalignment(word: &Word, size: Size) -> u8 {
    match size {
        Size::Bits8 => 0,
        Size::Bits16 => word.off & 1,
        Size::Bits32 | Size::Bits64 => word.off & 3,
    }
}

/// What there is before the processes fork.
#[derive(Debug)]
pub struct Common {
    /// The tables that were made, each with its file.
    pub tables: Vec<(Table, Arc<rfutex::Table>)>,
    memfd: File,
    /// What an arena is on futex(2).
    arena: File,
    tmpfs: File,
    inherited: Region,
    shared: Region,
    sysv: Region,
    _mount: Mount,
}

impl Common {
    /// Makes it.
    pub fn new() -> Self {
        let (mount, tmpfs) = if Feature::Thp.is_lacking() {
            let mount = Mount::tmpfs("");
            let file = file_in(mount.path(), "oracle", AREA);
            (mount, file)
        } else {
            huge_tmpfs("oracle", AREA)
        };
        let has_rfutex = Path::new(Rfutex::PATH).exists();
        let tables = has_rfutex.then(Table::inherited).into_iter().flatten();
        Self {
            tables: tables
                .map(|table| (table, Arc::new(table.make())))
                .collect(),
            memfd: memfd(AREA),
            arena: memfd(ARENA),
            tmpfs,
            inherited: Region::anonymous(AREA, rw(), MapFlags::MAP_PRIVATE),
            shared: Region::anonymous(AREA, rw(), MapFlags::MAP_SHARED),
            sysv: SysV::new(AREA).attach(),
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
        let file = |file: &File, prot, flags| Region::file(file, 0, AREA, prot, flags);
        let (shared, private) = (MapFlags::MAP_SHARED, MapFlags::MAP_PRIVATE);
        let (memfd, read) = (&common.memfd, ProtFlags::PROT_READ);
        // Where there are no huge pages, these words are on small ones.
        let huge = if Feature::Thp.is_lacking() {
            Region::anonymous(AREA, rw(), private)
        } else {
            thp(AREA)
        };
        let regions = vec![
            (Kind::Private, Region::anonymous(AREA, rw(), private)),
            (Kind::PrivateHuge, huge),
            (Kind::Memfd, file(memfd, rw(), shared)),
            (Kind::MemfdAgain, file(memfd, rw(), shared)),
            (Kind::MemfdReadOnly, file(memfd, read, shared)),
            (Kind::MemfdCopy, file(memfd, rw(), private)),
            (Kind::MemfdCopyReadOnly, file(memfd, read, private)),
            (Kind::Tmpfs, Region::shared(&common.tmpfs, 0, AREA)),
            (Kind::ReadOnly, Region::anonymous(AREA, read, private)),
            (
                Kind::Inaccessible,
                Region::anonymous(AREA, ProtFlags::PROT_NONE, private),
            ),
            (
                Kind::BeyondEnd,
                Region::file(memfd, AREA, AREA, rw(), shared),
            ),
            (
                Kind::Arena,
                Region::file(&common.arena, 0, 2 * ARENA, rw(), shared),
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
    /// Where an area begins.
    pub fn base(&self, kind: Kind) -> u64 {
        let mapped = if kind.is_in_arena() {
            Kind::Arena
        } else {
            kind
        };
        let mut bases = self.0.iter();
        let base = bases.find(|(other, _)| *other == mapped);
        base.expect("all kinds are mapped").1
    }
}
