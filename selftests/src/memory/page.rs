// SPDX-License-Identifier: GPL-2.0
//! What the kernel has behind an address: `/proc/self/pagemap` and `/proc/kpageflags`.

use super::{HUGE, RegionWord};
use crate::harness::PAGE;
use procfs::PhysicalPageFlags;
use procfs::process::{MemoryPageFlags, PageInfo};
use rfutex::{Folio, Word};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Frames in a huge page.
const FRAMES: u64 = (HUGE / PAGE) as u64;

/// A page frame, and its flags at the time of the look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Page frame number.
    pub pfn: u64,
    /// From `/proc/kpageflags`.
    pub flags: PhysicalPageFlags,
}

/// What a page table has for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// A swap entry: the page is out of the page table, in swap or on its way there.
    Swapped,
    /// The page with this frame number.
    Present(u64),
}

/// Reads `count` 64-bit entries of `path` from entry `first`.
#[track_caller]
fn entries(path: &str, first: u64, count: u64) -> Vec<u64> {
    let mut bytes = vec![0; count as usize * 8];
    File::open(path)
        .and_then(|file| file.read_exact_at(&mut bytes, first * 8))
        .unwrap_or_else(|error| panic!("{path}, {count} entries from {first:#x}: {error}"));
    bytes
        .chunks_exact(8)
        .map(|entry| u64::from_ne_bytes(entry.try_into().expect("8 bytes")))
        .collect()
}

fn flags_of(pfn: u64, count: u64) -> Vec<PhysicalPageFlags> {
    entries("/proc/kpageflags", pfn, count)
        .into_iter()
        .map(PhysicalPageFlags::from_bits_retain)
        .collect()
}

/// What the page table of this process has for each of `count` pages from that of `word`.
#[track_caller]
pub fn states_from(word: Word<'static>, count: usize) -> Vec<State> {
    entries("/proc/self/pagemap", word.page(), count as u64)
        .into_iter()
        .map(|entry| match PageInfo::parse_info(entry) {
            PageInfo::SwapPage(_) => State::Swapped,
            PageInfo::MemoryPage(page) if page.contains(MemoryPageFlags::PRESENT) => {
                let pfn = page.get_page_frame_number().0;
                assert_ne!(pfn, 0, "root sees page frame numbers");
                State::Present(pfn)
            }
            PageInfo::MemoryPage(_) => State::Absent,
        })
        .collect()
}

/// What the page table of this process has for the page of `word`.
#[track_caller]
pub fn state_of(word: Word<'static>) -> State {
    states_from(word, 1)[0]
}

fn page_at(pfn: u64) -> Page {
    Page {
        pfn,
        flags: flags_of(pfn, 1)[0],
    }
}

/// The page of `word`, which must be in the page table.
#[track_caller]
pub fn page_of(word: Word<'static>) -> Page {
    match state_of(word) {
        State::Present(pfn) => page_at(pfn),
        other => panic!("no page at {:#x}: {other:?}", word.addr()),
    }
}

/// The folio on which `word` lies, and its page's place there, as `/proc/kpageflags` shows the
/// heads and tails. The page must be in the page table.
#[track_caller]
pub fn folio_of(word: Word<'static>) -> Folio {
    folio_at(page_of(word).pfn)
}

/// The page and the folio of `word`, if the page is in the page table. Where the kernel may collapse
/// huge pages, it takes small ones out of there whenever it likes.
#[track_caller]
pub fn folio_if_present(word: Word<'static>) -> Option<(Page, Folio)> {
    match state_of(word) {
        State::Present(pfn) => Some((page_at(pfn), folio_at(pfn))),
        _ => None,
    }
}

#[track_caller]
fn folio_at(pfn: u64) -> Folio {
    // No folio is larger than a huge page, and each is aligned to its size.
    let flags = flags_of(pfn - pfn % FRAMES, FRAMES);
    let here = (pfn % FRAMES) as usize;
    let is_tail = |at: &usize| flags[*at].contains(PhysicalPageFlags::COMPOUND_TAIL);
    let head = (0..=here)
        .rev()
        .find(|at| !is_tail(at))
        .expect("tails have a head");
    let tails = (head + 1..FRAMES as usize).take_while(is_tail).count();
    assert!(
        (tails + 1).is_power_of_two(),
        "a folio of {} pages",
        tails + 1
    );
    Folio {
        order: (tails + 1).ilog2(),
        index: (here - head) as u64,
    }
}

/// Whether the folio of which frame `pfn` is the head is locked now.
#[track_caller]
pub fn is_locked(pfn: u64) -> bool {
    flags_of(pfn, 1)[0].contains(PhysicalPageFlags::LOCKED)
}

/// How many of `count` frames from `pfn` have content of anonymous or shared memory, and are mapped
/// by nobody. When what was there has been unmapped and deleted, somebody has kept a reference.
#[track_caller]
pub fn nr_abandoned(pfn: u64, count: u64) -> usize {
    let content = PhysicalPageFlags::ANON | PhysicalPageFlags::SWAPBACKED;
    flags_of(pfn, count)
        .into_iter()
        .filter(|flags| flags.intersects(content) && !flags.contains(PhysicalPageFlags::MMAP))
        .count()
}
