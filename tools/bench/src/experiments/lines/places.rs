// SPDX-License-Identifier: GPL-2.0
//! Where words are and who has which file.

use crate::memory::Memory;
use crate::side::Side;
use rfutex::{Arena, Features, Rfutex, Table, TableOptions, Word};
use rfutex_selftests::harness::PAGE;
use rfutex_selftests::memory::RegionWord;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Words of a place, used in turn: where two words share a bucket by chance, the
/// median is of others.
pub const WORDS: usize = 8;

/// Words are so far apart in an arena: on lines of their own, and on those that a
/// processor fetches along with them.
const APART: usize = 128;

/// The places that an arena has.
const PLACES: usize = 64;

/// Whose the open files are. A call on a file that threads share counts its users up
/// and down, whatever the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// None are needed.
    None,
    /// Each thread has opened one.
    Each,
    /// They share one.
    One,
}

impl Files {
    /// What the side `name` is called with these.
    pub fn name_with(self, name: &str) -> String {
        match self {
            Self::None | Self::Each => name.to_owned(),
            Self::One => format!("{name}, one file"),
        }
    }

    /// What a thread makes calls with.
    pub fn of_thread(self, side: Side) -> Side {
        match self {
            Self::None | Self::One => side,
            Self::Each => side.opened_again(),
        }
    }
}

/// Who is measured. An arena is of the process that measures: nothing of it is open in
/// the one that goes on to the next.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// What has been opened before.
    Side(Side),
    /// A table of one's own.
    Arena,
}

impl Who {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Side(side) => side.name(),
            Self::Arena => "none",
        }
    }

    /// With what calls are made.
    pub fn side(self) -> Side {
        match self {
            Self::Side(side) => side,
            Self::Arena => Side::Ours(arena().table(), self.name()),
        }
    }
}

/// Whether the module has tables of one's own.
pub fn has_arenas() -> bool {
    let device = Rfutex::open().expect("/dev/rfutex opens");
    let features = device.query().expect("a query").features;
    features.contains(Features::TABLES)
}

/// The arena of this process, in a table that has buckets enough.
fn arena() -> &'static Arena {
    static ARENA: OnceLock<Arena> = OnceLock::new();
    ARENA.get_or_init(|| {
        let device = Rfutex::open().expect("/dev/rfutex opens");
        let options = TableOptions::new()
            .arena((PLACES * WORDS * APART) as u64)
            .buckets(4096);
        let table = Table::create(&device, options).expect("a table");
        Arena::map(table).expect("the arena is mapped")
    })
}

/// A word, and what is there.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What calls name it by.
    pub word: Word<'static>,
    /// What the program reads and writes.
    pub value: &'static AtomicU32,
}

/// The words of some places. Each place has a page, if it is not in an arena; all are of one file,
/// if they are of one.
pub fn cells(memory: Memory, side: Side, places: usize) -> Vec<[Cell; WORDS]> {
    assert!(places <= PLACES);
    if let (Memory::Arena, Side::Ours(..)) = (memory, side) {
        let cell = |offset: usize| {
            let value: &AtomicU32 = arena().get(offset).expect("a word");
            value.store(0, Ordering::SeqCst);
            let word = Word::in_arena(offset as u64, 4);
            Cell { word, value }
        };
        let place = |place| std::array::from_fn(|i| cell((place * WORDS + i) * APART));
        return (0..places).map(place).collect();
    }
    let memory = match memory {
        // futex(2) has no arena. This is what it has for processes that share memory.
        Memory::Arena => Memory::Shared,
        other => other,
    };
    let of_page = PAGE / 64;
    let words = memory.many_words(places * of_page);
    let place = |place: usize| {
        std::array::from_fn(|i| {
            let word = words[place * of_page + i * (APART / 64)];
            let value = word.cell();
            Cell { word, value }
        })
    };
    (0..places).map(place).collect()
}
