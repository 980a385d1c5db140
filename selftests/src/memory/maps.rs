// SPDX-License-Identifier: GPL-2.0
//! What `/proc/self/maps` says of an address.

use super::region::{PAGE, Region, Word};
use anyhow::{Context, Result};
use procfs::process::{MMapPath, MemoryMap, Process};

/// The file, and the page in it, that is mapped at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMapping {
    /// Device number, major.
    pub major: u32,
    /// Device number, minor.
    pub minor: u32,
    /// Inode number.
    pub ino: u64,
    /// Index of the page in the file, in pages.
    pub index: u64,
}

fn find(wanted: impl Fn(&MemoryMap) -> bool) -> Result<MemoryMap> {
    Process::myself()?
        .maps()?
        .into_iter()
        .find(wanted)
        .context("no such line in /proc/self/maps")
}

/// The file mapping of `word`.
pub fn mapping_of(word: Word) -> Result<FileMapping> {
    let addr = word.addr() as u64;
    let map = find(|map| map.address.0 <= addr && addr < map.address.1)?;
    Ok(FileMapping {
        major: map.dev.0 as u32,
        minor: map.dev.1 as u32,
        ino: map.inode,
        index: (map.offset + (addr - map.address.0)) / PAGE as u64,
    })
}

/// First word of a mapping that the kernel made, `vdso` or `vvar`.
pub fn named_mapping(name: &str) -> Result<Word> {
    let map = find(|map| match &map.pathname {
        MMapPath::Vdso => name == "vdso",
        MMapPath::Vvar => name == "vvar",
        MMapPath::Other(other) => name == other,
        _ => false,
    })?;
    Ok(Word::at(map.address.0 as usize))
}

/// Whether any page of `region` is still mapped in this process, by its line in the table.
pub fn is_mapped(region: &Region) -> Result<bool> {
    let (start, end) = (region.base() as u64, (region.base() + region.len()) as u64);
    Ok(Process::myself()?.maps()?.into_iter().any(|map| map.address.0 < end && start < map.address.1))
}
