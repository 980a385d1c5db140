// SPDX-License-Identifier: GPL-2.0
//! What `/proc/self/maps` says of an address.

use crate::harness::PAGE;
use procfs::process::{MMapPath, MemoryMap, Process};
use rfutex::Word;

/// The file, and the page in it, that is mapped at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMapping {
    /// Device number, major and minor.
    pub dev: (u32, u32),
    /// Inode number.
    pub ino: u64,
    /// Index of the page in the file.
    pub index: u64,
}

#[track_caller]
fn find(wanted: impl Fn(&MemoryMap) -> bool) -> Option<MemoryMap> {
    let maps = Process::myself().and_then(|process| process.maps());
    maps.expect("/proc/self/maps").into_iter().find(wanted)
}

/// What file is mapped at `word`.
#[track_caller]
pub fn mapping_of(word: Word<'static>) -> FileMapping {
    let addr = word.addr();
    let map = find(|map| (map.address.0..map.address.1).contains(&addr))
        .unwrap_or_else(|| panic!("nothing is mapped at {addr:#x}"));
    FileMapping {
        dev: (map.dev.0 as u32, map.dev.1 as u32),
        ino: map.inode,
        index: (map.offset + (addr - map.address.0)) / PAGE as u64,
    }
}

/// The first word of a mapping that the kernel makes, if there is one: `[vdso]`, `[vvar]`.
#[track_caller]
pub fn named_mapping(name: MMapPath) -> Option<Word<'static>> {
    find(|map| map.pathname == name).map(|map| Word::at(map.address.0, 4))
}
