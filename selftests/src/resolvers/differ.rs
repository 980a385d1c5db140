// SPDX-License-Identifier: GPL-2.0
//! Where the resolvers differ: what Documentation/rfutex.rst lists, and nothing else.

use super::{Via, each, meet_a_wait, word_value};
use crate::harness::{PAGE, named_trial};
use crate::keys::KINDS;
use crate::memory::{Mount, Region, file_in, rw};
use libtest_mimic::Trial;
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex::{Clock, Deadline, Error, Key, Resolver, WaitOptions, Word};
use std::any::Any;

/// What is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The address.
    Mm,
    /// The file and the place in it.
    Inode,
    /// No key.
    Nothing,
}

/// A word, and what keeps it.
type Made = (Word<'static>, Box<dyn Any>);

/// What a wait finds that has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// A word.
    Readable,
    /// Nothing that could be read.
    Unreadable,
}

/// A difference: its name, a word that shows it and whether that can be read, and what is found by
/// way of the page, locked or not, and by way of the VMA.
type Difference = (&'static str, fn() -> Made, Memory, Found, Found);

const DIFFERENCES: &[Difference] = &[
    // The page belongs to the file; the mapping is the process's own.
    (
        "read_only_private_tmpfs",
        || kind("tmpfs_huge_read_only_private"),
        Memory::Readable,
        Found::Inode,
        Found::Mm,
    ),
    (
        "read_only_private_ext4",
        || kind("ext4_read_only_private"),
        Memory::Readable,
        Found::Inode,
        Found::Mm,
    ),
    (
        "read_only_private_xfs",
        || kind("xfs_read_only_private"),
        Memory::Readable,
        Found::Inode,
        Found::Mm,
    ),
    // No page can be had that may not be read.
    (
        "prot_none_anonymous",
        || anonymous(ProtFlags::PROT_NONE),
        Memory::Unreadable,
        Found::Nothing,
        Found::Mm,
    ),
    (
        "prot_none_shared",
        || shared(ProtFlags::PROT_NONE),
        Memory::Unreadable,
        Found::Nothing,
        Found::Inode,
    ),
    (
        "guard_page",
        guard,
        Memory::Unreadable,
        Found::Nothing,
        Found::Mm,
    ),
    // An anonymous page that never changes; whose it is, the mapping knows.
    (
        "read_only_anonymous",
        || anonymous(ProtFlags::PROT_READ),
        Memory::Readable,
        Found::Nothing,
        Found::Mm,
    ),
    (
        "read_only_copy",
        read_only_copy,
        Memory::Readable,
        Found::Nothing,
        Found::Mm,
    ),
    // There is no page.
    (
        "zero_page",
        zero_page,
        Memory::Readable,
        Found::Nothing,
        Found::Mm,
    ),
    (
        "beyond_end_of_file",
        beyond_end_of_file,
        Memory::Unreadable,
        Found::Nothing,
        Found::Inode,
    ),
];

/// One test a difference, as `resolvers::differ::NAME`.
pub fn trials() -> Vec<Trial> {
    DIFFERENCES
        .iter()
        .map(|&(name, make, memory, by_page, by_vma)| {
            named_trial(format!("resolvers::differ::{name}"), move || {
                let (word, _keep) = make();
                shown(word, memory, by_page, by_vma);
            })
        })
        .collect()
}

fn shown(word: Word<'static>, memory: Memory, by_page: Found, by_vma: Found) {
    let vias = each();
    for via in &vias {
        let expected = match via.resolver {
            Resolver::Vma => by_vma,
            _ => by_page,
        };
        let found = match via.key(word) {
            Ok(Key::Mm { .. }) => Found::Mm,
            Ok(Key::Inode { .. }) => Found::Inode,
            Err(Error::Fault) => Found::Nothing,
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{:?}", via.resolver);
        let woken = match expected {
            Found::Nothing => Err(Error::Fault),
            _ => Ok(0),
        };
        assert_eq!(via.fx.wake_all(word), woken, "{:?}", via.resolver);
        assert_eq!(via.fx.wake(word, 1, 1), woken, "{:?}", via.resolver);
        // A wait reads, if there is a key.
        if memory == Memory::Readable && expected != Found::Nothing {
            let alike = vias.iter().filter(|other| other.key(word) == via.key(word));
            can_wait(via, alike, word);
        } else {
            let waited = late(via, word, 0);
            assert_eq!(waited, Err(Error::Fault), "{:?}", via.resolver);
        }
    }
}

/// A wait whose deadline has passed.
fn late(via: &Via, word: Word<'static>, val: u64) -> Result<(), Error> {
    let clock = Clock::Monotonic;
    let options = WaitOptions::default().deadline(Deadline { clock, ns: 0 });
    via.fx.wait_with(word, val, options)
}

/// Through `via` one can wait there, and is woken through those that find the same.
fn can_wait<'a>(via: &Via, alike: impl Iterator<Item = &'a Via>, word: Word<'static>) {
    let val = word_value(word);
    assert_eq!(late(via, word, val), Err(Error::TimedOut));
    assert_eq!(late(via, word, val + 1), Err(Error::Again));
    for waking in alike {
        meet_a_wait(via, waking, [word; 2], val);
    }
}

fn kind(name: &str) -> Made {
    let (_, make) = KINDS
        .iter()
        .find(|(kind, _)| *kind == name)
        .expect("a kind");
    let sample = make();
    (sample.words[0], Box::new(sample))
}

fn anonymous(prot: ProtFlags) -> Made {
    let region = Region::private(PAGE);
    region.touch();
    region.protect(prot);
    (region.word(0), Box::new(region))
}

fn shared(prot: ProtFlags) -> Made {
    let region = Region::anonymous(PAGE, rw(), MapFlags::MAP_SHARED);
    region.touch();
    region.protect(prot);
    (region.word(0), Box::new(region))
}

fn guard() -> Made {
    const MADV_GUARD_INSTALL: i32 = 102;
    let region = Region::private(PAGE);
    region.advise(MADV_GUARD_INSTALL);
    (region.word(0), Box::new(region))
}

fn read_only_copy() -> Made {
    let mount = Mount::tmpfs("");
    let file = file_in(mount.path(), "file", PAGE);
    let region = Region::file(&file, 0, PAGE, rw(), MapFlags::MAP_PRIVATE);
    region.touch();
    region.protect(ProtFlags::PROT_READ);
    (region.word(0), Box::new((region, file, mount)))
}

fn zero_page() -> Made {
    let region = Region::anonymous(PAGE, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE);
    region.read();
    (region.word(0), Box::new(region))
}

fn beyond_end_of_file() -> Made {
    let mount = Mount::tmpfs("");
    let file = file_in(mount.path(), "file", PAGE);
    let region = Region::shared(&file, 0, 2 * PAGE);
    (region.word(PAGE), Box::new((region, file, mount)))
}
