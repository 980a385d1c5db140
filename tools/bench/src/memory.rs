// SPDX-License-Identifier: GPL-2.0
//! The memory that the words are in.

use rfutex::{Arena, Error, Rfutex, Table, TableOptions, Word};
use rfutex_selftests::harness::{Mapping, PAGE};
use rfutex_selftests::memory::RegionWord;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Of what kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Anonymous, and the calls say that it is private.
    Private,
    /// A page of a tmpfs.
    Shared,
    /// Anonymous, and the calls do not say so.
    Anonymous,
    /// The arena of a table of one's own. The contender has a page of a tmpfs.
    Arena,
}

/// Apart so far, words are in cache lines of their own.
const APART: usize = 64;

impl Memory {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Shared => "shared",
            Self::Anonymous => "anonymous",
            Self::Arena => "arena",
        }
    }

    /// Those of the experiments; with `files_only`, those that are of files.
    pub fn of_experiments(files_only: bool) -> &'static [Self] {
        if files_only {
            &[Self::Shared]
        } else {
            &[Self::Private, Self::Shared]
        }
    }

    /// Whether words in it are words of a file.
    pub fn is_of_file(self) -> bool {
        self == Self::Shared
    }

    /// Words in new memory of this kind, all zero. It stays for good. There is one arena, and each
    /// call gives the same words of it.
    pub fn words<const N: usize>(self) -> [Word<'static>; N] {
        let words = self.many_words(N);
        std::array::from_fn(|i| words[i])
    }

    /// `nr` of them.
    pub fn many_words(self, nr: usize) -> Vec<Word<'static>> {
        let len = (nr * APART).next_multiple_of(PAGE);
        let mapping = match self {
            Self::Arena => {
                let words = (0..nr).map(|i| Word::in_arena((i * APART) as u64, 4));
                return words
                    .inspect(|&word| cell(word).store(0, Ordering::SeqCst))
                    .collect();
            }
            Self::Private | Self::Anonymous => Mapping::private(len),
            Self::Shared => {
                let file = tempfile::tempfile().expect("a file in /tmp, which is a tmpfs");
                file.set_len(len as u64).expect("the length of a file");
                Mapping::shared_file(&file, len)
            }
        };
        let mapping = Box::leak(Box::new(mapping));
        let words = (0..nr).map(|i| {
            let word = mapping.word(i * APART);
            word.store(0);
            match self {
                Self::Private => word.private(),
                Self::Shared | Self::Anonymous | Self::Arena => word,
            }
        });
        words.collect()
    }
}

/// The arena, mapped; nothing if the module has no tables of one's own.
pub fn arena() -> Option<&'static Arena> {
    static ARENA: OnceLock<Option<Arena>> = OnceLock::new();
    let make = || {
        let device = Rfutex::open().expect("/dev/rfutex opens");
        match Table::create(&device, TableOptions::new().arena(PAGE as u64)) {
            Ok(table) => Some(Arena::map(table).expect("the arena is mapped")),
            Err(Error::Unsupported) => None,
            Err(error) => panic!("a table: {error}"),
        }
    };
    ARENA.get_or_init(make).as_ref()
}

/// What `word` is in this process.
pub fn cell(word: Word<'static>) -> &'static AtomicU32 {
    if word.is_in_arena() {
        let cell = arena().and_then(|arena| arena.get(word.addr() as usize));
        cell.expect("it is in the arena")
    } else {
        word.cell()
    }
}
