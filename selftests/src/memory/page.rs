// SPDX-License-Identifier: GPL-2.0
//! What the kernel has behind an address: `/proc/self/pagemap` and `/proc/kpageflags`.

use super::region::{PAGE, Word};
use anyhow::{Context, Result, bail, ensure};
pub use procfs::PhysicalPageFlags;
use procfs::process::{MemoryPageFlags, PageInfo};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A page frame, and its flags at the time of the look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Page frame number.
    pub pfn: u64,
    /// From `/proc/kpageflags`.
    pub flags: PhysicalPageFlags,
    /// Mapped by this process alone.
    pub exclusive: bool,
}

/// What a page table has for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// A swap entry: the page is not in the page table, its content is in swap or on the way.
    Swapped,
    /// A page.
    Present(Page),
}

/// A folio, as far as `/proc/kpageflags` shows it, and a page's place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folio {
    /// Page frame number of its head.
    pub head: u64,
    /// It has 2^order pages.
    pub order: u32,
    /// Index of the page in question.
    pub index: u64,
}

/// Reads `count` 64-bit entries of `path` from entry `first` on.
fn entries(path: &str, first: u64, count: usize) -> Result<Vec<u64>> {
    let mut bytes = vec![0; count * 8];
    File::open(path)
        .and_then(|file| file.read_exact_at(&mut bytes, first * 8))
        .with_context(|| format!("{path}, {count} entries from {first}"))?;
    Ok(bytes.chunks_exact(8).map(|b| u64::from_ne_bytes(b.try_into().expect("8 bytes"))).collect())
}

fn flags_of(pfn: u64, count: usize) -> Result<Vec<PhysicalPageFlags>> {
    let raw = entries("/proc/kpageflags", pfn, count)?;
    Ok(raw.into_iter().map(PhysicalPageFlags::from_bits_retain).collect())
}

/// What the page table of this process has for the page of `word`.
pub fn state_of(word: Word) -> Result<State> {
    let raw = entries("/proc/self/pagemap", word.page() as u64, 1)?[0];
    Ok(match PageInfo::parse_info(raw) {
        PageInfo::SwapPage(_) => State::Swapped,
        PageInfo::MemoryPage(page) if page.contains(MemoryPageFlags::PRESENT) => {
            let pfn = page.get_page_frame_number().0;
            ensure!(pfn != 0, "pagemap hides page frame numbers: not root?");
            State::Present(Page {
                pfn,
                flags: flags_of(pfn, 1)?[0],
                exclusive: page.contains(MemoryPageFlags::MMAP_EXCLUSIVE),
            })
        }
        PageInfo::MemoryPage(_) => State::Absent,
    })
}

/// The page of `word`, which must be in the page table.
pub fn page_of(word: Word) -> Result<Page> {
    match state_of(word)? {
        State::Present(page) => Ok(page),
        other => bail!("no page at {:#x}: {other:?}", word.addr()),
    }
}

/// The folio of the page of `word`, which must be in the page table.
///
/// A folio of at most 2 MiB lies inside one aligned 2 MiB of frames; there are no larger ones here.
pub fn folio_of(word: Word) -> Result<Folio> {
    const FRAMES: usize = super::HUGE / PAGE;
    let pfn = page_of(word)?.pfn;
    let start = pfn - pfn % FRAMES as u64;
    let flags = flags_of(start, FRAMES)?;
    let here = (pfn - start) as usize;
    let tail = |at: usize| flags[at].contains(PhysicalPageFlags::COMPOUND_TAIL);
    let head = (0..=here).rev().find(|&at| !tail(at)).context("tails without a head")?;
    let end = (head + 1..FRAMES).find(|&at| !tail(at)).unwrap_or(FRAMES);
    let pages = (end - head) as u64;
    ensure!(pages.is_power_of_two(), "a folio of {pages} pages at frame {start:#x}+{head:#x}");
    Ok(Folio {
        head: start + head as u64,
        order: pages.trailing_zeros(),
        index: (here - head) as u64,
    })
}

/// Whether the folio with the frame `pfn` is locked now.
pub fn is_locked(pfn: u64) -> Result<bool> {
    Ok(flags_of(pfn, 1)?[0].contains(PhysicalPageFlags::LOCKED))
}
