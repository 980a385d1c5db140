// SPDX-License-Identifier: GPL-2.0
//! Ranges of addresses that a test maps, cuts, moves and maps over.

use super::HUGE;
use crate::harness::{Feature, PAGE};
use nix::sys::mman::{
    MRemapFlags, MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, mremap, munmap,
};
use rfutex::Word;
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// A word's place in its page, and its content.
pub trait RegionWord {
    /// Byte offset in its page.
    fn offset(self) -> u32;
    /// Number of its page in the address space.
    fn page(self) -> u64;
    /// The 32-bit word itself.
    ///
    /// Where nothing is mapped, an access ends the test's process, as that of any program.
    fn cell(self) -> &'static AtomicU32;
    /// Reads the word.
    fn load(self) -> u32;
    /// Writes the word.
    fn store(self, value: u32);
}

impl RegionWord for Word<'static> {
    fn offset(self) -> u32 {
        (self.addr() % PAGE as u64) as u32
    }

    fn page(self) -> u64 {
        self.addr() / PAGE as u64
    }

    fn cell(self) -> &'static AtomicU32 {
        // SAFETY: The tests make words of addresses that they mapped themselves, apart from all
        // Rust objects, at multiples of four. Where the mapping is gone by now, the access faults
        // and ends the process.
        unsafe { AtomicU32::from_ptr(self.addr() as *mut u32) }
    }

    fn load(self) -> u32 {
        self.cell().load(Ordering::SeqCst)
    }

    fn store(self, value: u32) {
        self.cell().store(value, Ordering::SeqCst);
    }
}

/// Read and write.
pub fn rw() -> ProtFlags {
    ProtFlags::PROT_READ | ProtFlags::PROT_WRITE
}

/// A range of `len` bytes that can have huge pages is put where it can.
fn alignment(len: usize) -> usize {
    if len >= HUGE { HUGE } else { PAGE }
}

const TO_FIXED: MRemapFlags = MRemapFlags::MREMAP_MAYMOVE.union(MRemapFlags::MREMAP_FIXED);

/// A mapped range of addresses, unmapped on drop. It can be cut and moved, as a
/// [`Mapping`](crate::harness::Mapping) cannot.
///
/// # Invariants
///
/// `base..base + len` are whole pages that this type mapped, no other `Region` has a byte of it,
/// and no Rust object but words is in it.
#[derive(Debug)]
pub struct Region {
    base: usize,
    len: usize,
}

impl Region {
    /// Maps `len` bytes of `file` from byte `offset`.
    #[track_caller]
    pub fn file(
        file: impl AsFd,
        offset: usize,
        len: usize,
        prot: ProtFlags,
        flags: MapFlags,
    ) -> Self {
        let region = Self::reserve(len, PAGE);
        region.map_over(0, len, file, offset, prot, flags);
        region
    }

    /// Maps `len` bytes of `file` from byte `offset`, shared and writable, at a multiple of a huge
    /// page if it is as long as one.
    #[track_caller]
    pub fn shared(file: impl AsFd, offset: usize, len: usize) -> Self {
        let region = Self::reserve(len, alignment(len));
        region.map_over(0, len, file, offset, rw(), MapFlags::MAP_SHARED);
        region
    }

    /// Maps `len` bytes of anonymous memory, private or shared by `flags`. Nothing is there yet.
    #[track_caller]
    pub fn anonymous(len: usize, prot: ProtFlags, flags: MapFlags) -> Self {
        let length = NonZeroUsize::new(len).expect("a length");
        // SAFETY: Without MAP_FIXED, the kernel chooses a free place.
        let base = unsafe { mmap_anonymous(None, length, prot, flags) }
            .unwrap_or_else(|error| panic!("mmap of {len} bytes, {flags:?}: {error}"));
        // INVARIANT: Mapped just now.
        Self {
            base: base.as_ptr().addr(),
            len,
        }
    }

    /// Maps `len` bytes of private anonymous memory, and writes a zero to each page.
    #[track_caller]
    pub fn private(len: usize) -> Self {
        let region = Self::anonymous(len, rw(), MapFlags::MAP_PRIVATE);
        region.touch();
        region
    }

    /// Reserves `len` bytes at a multiple of `align`; nothing there can be accessed.
    #[track_caller]
    pub fn reserve(len: usize, align: usize) -> Self {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        let mut front = Self::anonymous(len + align, ProtFlags::PROT_NONE, flags);
        let mut region = front.split_off(front.base.next_multiple_of(align) - front.base);
        drop(region.split_off(len));
        region
    }

    /// Takes over what something else mapped.
    ///
    /// # Safety
    ///
    /// `len` bytes at `base` are whole mapped pages, nobody else unmaps them, and no Rust object is
    /// in them.
    pub unsafe fn from_raw(base: usize, len: usize) -> Self {
        // INVARIANT: By the caller's promise.
        Self { base, len }
    }

    /// First address.
    pub fn base(&self) -> usize {
        self.base
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The word at byte `offset`.
    #[track_caller]
    pub fn word(&self, offset: usize) -> Word<'static> {
        assert!(offset + 4 <= self.len, "no word at {offset:#x}");
        Word::at((self.base + offset) as u64, 4)
    }

    /// Writes a zero to each page, so that each is there.
    pub fn touch(&self) {
        for offset in (0..self.len).step_by(PAGE) {
            self.word(offset).store(0);
        }
    }

    /// Reads each page.
    pub fn read(&self) {
        for offset in (0..self.len).step_by(PAGE) {
            self.word(offset).load();
        }
    }

    /// Gives the memory from `at` on to a region of its own.
    #[track_caller]
    pub fn split_off(&mut self, at: usize) -> Self {
        assert!(
            at.is_multiple_of(PAGE) && at <= self.len,
            "no page begins at {at:#x}"
        );
        // INVARIANT: The two halves do not overlap.
        let rest = Self {
            base: self.base + at,
            len: self.len - at,
        };
        self.len = at;
        rest
    }

    /// Moves the memory to other addresses, as mremap(2) does. A reservation stays behind, so that
    /// nothing else gets there.
    #[track_caller]
    pub fn relocate(&mut self) -> Self {
        let place = Self::reserve(self.len, alignment(self.len));
        self.move_to(place)
    }

    /// Moves the memory to where `place` is, of the same length.
    #[track_caller]
    pub fn move_to(&mut self, place: Self) -> Self {
        assert_eq!(self.len, place.len);
        // SAFETY: Both ranges are regions of ours; the new place is only a reservation.
        unsafe {
            mremap(
                self.pointer(0),
                self.len,
                self.len,
                TO_FIXED,
                Some(place.pointer(0)),
            )
        }
        .expect("mremap");
        self.map_nothing_over();
        place
    }

    /// Maps the same shared memory once more: what mremap(2) does with nothing to move.
    #[track_caller]
    pub fn duplicate(&self) -> Self {
        let place = Self::reserve(self.len, alignment(self.len));
        // SAFETY: The old mapping stays as it is; the new place is only a reservation.
        unsafe {
            mremap(
                self.pointer(0),
                0,
                self.len,
                TO_FIXED,
                Some(place.pointer(0)),
            )
        }
        .expect("mremap");
        place
    }

    /// Maps `len` bytes of `file` over what is at `at`, with `MAP_FIXED`.
    #[track_caller]
    pub fn map_over(
        &self,
        at: usize,
        len: usize,
        file: impl AsFd,
        offset: usize,
        prot: ProtFlags,
        flags: MapFlags,
    ) {
        assert!(
            at + len <= self.len,
            "{at:#x}+{len:#x} is not in the region"
        );
        let length = NonZeroUsize::new(len).expect("a length");
        let place = NonZeroUsize::new(self.base + at);
        let flags = flags | MapFlags::MAP_FIXED;
        // SAFETY: The range is inside this region.
        unsafe { mmap(place, length, prot, flags, file, offset as i64) }
            .unwrap_or_else(|error| panic!("mmap of {len} bytes, {flags:?}: {error}"));
    }

    /// Maps private anonymous memory over what is at `at`, with `MAP_FIXED`.
    #[track_caller]
    pub fn map_over_anonymous(&self, at: usize, len: usize) {
        assert!(
            at + len <= self.len,
            "{at:#x}+{len:#x} is not in the region"
        );
        let length = NonZeroUsize::new(len).expect("a length");
        let place = NonZeroUsize::new(self.base + at);
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
        // SAFETY: The range is inside this region.
        unsafe { mmap_anonymous(place, length, rw(), flags) }.expect("mmap");
    }

    /// Unmaps all of it, and reserves the addresses: nothing there can be accessed.
    #[track_caller]
    pub fn map_nothing_over(&self) {
        let length = NonZeroUsize::new(self.len).expect("a length");
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED | MapFlags::MAP_NORESERVE;
        // SAFETY: The range is this region's.
        unsafe {
            mmap_anonymous(
                NonZeroUsize::new(self.base),
                length,
                ProtFlags::PROT_NONE,
                flags,
            )
        }
        .expect("mmap");
    }

    /// Changes what may be done with the memory.
    #[track_caller]
    pub fn protect(&self, prot: ProtFlags) {
        // SAFETY: The range is this region's, and only words are in it.
        unsafe { mprotect(self.pointer(0), self.len, prot) }.expect("mprotect");
    }

    /// madvise(2) with `advice`, a `MADV_*`, on `len` bytes at `at`.
    pub fn try_advise(&self, at: usize, len: usize, advice: i32) -> nix::Result<()> {
        assert!(
            at + len <= self.len,
            "{at:#x}+{len:#x} is not in the region"
        );
        // SAFETY: The range is this region's; the worst that advice does is to lose its content.
        let result = unsafe { libc::madvise(self.pointer(at).as_ptr(), len, advice) };
        nix::Error::result(result).map(drop)
    }

    /// madvise(2) with `advice`, a `MADV_*`, on all of it. A test that asks for transparent huge
    /// pages is skipped if the kernel has none; and to keep them away is to do nothing there.
    #[track_caller]
    pub fn advise(&self, advice: i32) {
        match advice {
            libc::MADV_HUGEPAGE => Feature::Thp.need(),
            libc::MADV_NOHUGEPAGE if Feature::Thp.is_lacking() => return,
            _ => (),
        }
        self.try_advise(0, self.len, advice)
            .unwrap_or_else(|error| panic!("madvise {advice}: {error}"));
    }

    /// msync(2), which waits for the writes.
    #[track_caller]
    pub fn sync(&self) {
        // SAFETY: The range is this region's.
        let result = unsafe { libc::msync(self.pointer(0).as_ptr(), self.len, libc::MS_SYNC) };
        nix::Error::result(result).expect("msync");
    }

    /// For each page, by mincore(2), whether it is in memory, in this page table or not.
    #[track_caller]
    pub fn resident(&self) -> Vec<bool> {
        let mut pages = vec![0u8; self.len / PAGE];
        // SAFETY: The vector has a byte for each page of the range.
        let result =
            unsafe { libc::mincore(self.pointer(0).as_ptr(), self.len, pages.as_mut_ptr()) };
        nix::Error::result(result).expect("mincore");
        pages.into_iter().map(|page| page & 1 != 0).collect()
    }

    fn pointer(&self, at: usize) -> NonNull<c_void> {
        NonNull::new((self.base + at) as *mut c_void).expect("a region is not at address 0")
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.len != 0 {
            // SAFETY: The range is this region's, and the region ends here.
            unsafe { munmap(self.pointer(0), self.len) }.expect("munmap");
        }
    }
}
