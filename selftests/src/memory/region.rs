// SPDX-License-Identifier: GPL-2.0
//! Mapped ranges of addresses, and words in them.

use anyhow::{Context, Result, ensure};
use nix::sys::mman::{MRemapFlags, MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, mremap, munmap};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes in a page.
pub const PAGE: usize = 4096;

/// The address of a 32-bit word.
///
/// It may be an address where nothing is mapped. Reading or writing there ends the test's process,
/// as it would any other program; it never touches memory that belongs to a Rust object, because a
/// [`Region`] is mapped apart from all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Word(usize);

impl Word {
    /// The word at `addr`, which need not be mapped.
    pub const fn at(addr: usize) -> Self {
        Self(addr)
    }

    /// Its address.
    pub const fn addr(self) -> usize {
        self.0
    }

    /// Byte offset in its page.
    pub const fn offset(self) -> usize {
        self.0 % PAGE
    }

    /// Number of its page in the address space.
    pub const fn page(self) -> usize {
        self.0 / PAGE
    }

    /// The word itself.
    pub fn cell(self) -> &'static AtomicU32 {
        // SAFETY: The address is aligned and outside of every Rust object (see the type). Where
        // nothing is mapped there is no undefined behaviour left to have: the access faults and
        // ends the process.
        unsafe { AtomicU32::from_ptr(self.0 as *mut u32) }
    }

    /// Reads the word.
    pub fn load(self) -> u32 {
        self.cell().load(Ordering::SeqCst)
    }

    /// Writes the word.
    pub fn store(self, value: u32) {
        self.cell().store(value, Ordering::SeqCst);
    }
}

/// A mapped range of addresses, unmapped on drop.
///
/// # Invariants
///
/// `base..base + len` is a multiple of pages, was mapped by this type, and no other `Region` has a
/// byte of it.
#[derive(Debug)]
pub struct Region {
    base: usize,
    len: usize,
}

impl Region {
    /// Maps `len` bytes of `file` from byte `offset` on.
    ///
    /// # Errors
    ///
    /// As mmap(2).
    pub fn file(
        file: impl AsFd,
        offset: usize,
        len: usize,
        prot: ProtFlags,
        flags: MapFlags,
    ) -> Result<Self> {
        let length = NonZeroUsize::new(len).context("empty region")?;
        // SAFETY: The kernel chooses the place; no existing mapping changes.
        let base = unsafe { mmap(None, length, prot, flags, file, offset as i64) }
            .with_context(|| format!("mmap of {len} bytes, {flags:?}"))?;
        // INVARIANT: Mapped just now.
        Ok(Self { base: base.as_ptr() as usize, len })
    }

    /// Maps `file` shared and writable.
    pub fn shared(file: impl AsFd, offset: usize, len: usize) -> Result<Self> {
        Self::file(file, offset, len, rw(), MapFlags::MAP_SHARED)
    }

    /// Maps `len` bytes of anonymous memory, private or shared by `flags`.
    pub fn anonymous(len: usize, prot: ProtFlags, flags: MapFlags) -> Result<Self> {
        let length = NonZeroUsize::new(len).context("empty region")?;
        // SAFETY: The kernel chooses the place; no existing mapping changes.
        let base = unsafe { mmap_anonymous(None, length, prot, flags) }
            .with_context(|| format!("mmap of {len} anonymous bytes, {flags:?}"))?;
        // INVARIANT: Mapped just now.
        Ok(Self { base: base.as_ptr() as usize, len })
    }

    /// Maps `len` bytes of private anonymous memory, and writes a zero to each page.
    pub fn private(len: usize) -> Result<Self> {
        let region = Self::anonymous(len, rw(), MapFlags::MAP_PRIVATE)?;
        region.touch();
        Ok(region)
    }

    /// Reserves `len` bytes at a multiple of `align`; nothing there can be accessed.
    pub fn reserve(len: usize, align: usize) -> Result<Self> {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        let mut all = Self::anonymous(len + align, ProtFlags::PROT_NONE, flags)?;
        let start = all.base.next_multiple_of(align) - all.base;
        if start != 0 {
            let aligned = all.split_off(start);
            all = aligned;
        }
        drop(all.split_off(len));
        Ok(all)
    }

    /// Maps `file` shared and writable at a multiple of `align`.
    pub fn shared_aligned(file: impl AsFd, offset: usize, len: usize, align: usize) -> Result<Self> {
        let region = Self::reserve(len, align)?;
        region.replace_by_file(0, len, file, offset, rw(), MapFlags::MAP_SHARED)?;
        Ok(region)
    }

    /// Takes over a mapping that something else made.
    ///
    /// # Safety
    ///
    /// `base..base + len` is mapped, in whole pages, and nobody else unmaps or uses it.
    pub unsafe fn from_raw(base: usize, len: usize) -> Self {
        // INVARIANT: By the caller's promise.
        Self { base, len }
    }

    /// First address.
    pub const fn base(&self) -> usize {
        self.base
    }

    /// Number of bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The word at byte `offset`.
    pub fn word(&self, offset: usize) -> Word {
        assert!(offset + 4 <= self.len && offset % 4 == 0, "no word at {offset:#x}");
        Word(self.base + offset)
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
    pub fn split_off(&mut self, at: usize) -> Self {
        assert!(at % PAGE == 0 && at <= self.len);
        // INVARIANT: The two halves do not overlap.
        let rest = Self { base: self.base + at, len: self.len - at };
        self.len = at;
        rest
    }

    /// Moves the memory to other addresses, as mremap(2) does.
    pub fn relocate(self) -> Result<Self> {
        let place = Self::reserve(self.len, if self.len >= super::HUGE { super::HUGE } else { PAGE })?;
        // SAFETY: Both ranges are regions of ours; what was at the new place is only a reservation.
        unsafe {
            mremap(
                self.pointer(0),
                self.len,
                self.len,
                MRemapFlags::MREMAP_MAYMOVE | MRemapFlags::MREMAP_FIXED,
                Some(place.pointer(0)),
            )
        }
        .context("mremap")?;
        // The old addresses are unmapped by now, and may be another mapping's soon.
        std::mem::forget(self);
        Ok(place)
    }

    /// Maps `len` bytes of `file` over what is at `at` (`MAP_FIXED`).
    pub fn replace_by_file(
        &self,
        at: usize,
        len: usize,
        file: impl AsFd,
        offset: usize,
        prot: ProtFlags,
        flags: MapFlags,
    ) -> Result<()> {
        assert!(at + len <= self.len);
        let length = NonZeroUsize::new(len).context("empty range")?;
        // SAFETY: The range is inside this region.
        unsafe {
            mmap(
                NonZeroUsize::new(self.base + at),
                length,
                prot,
                flags | MapFlags::MAP_FIXED,
                file,
                offset as i64,
            )
        }
        .context("mmap over a region")?;
        Ok(())
    }

    /// Maps anonymous private memory over what is at `at` (`MAP_FIXED`).
    pub fn replace_by_anonymous(&self, at: usize, len: usize) -> Result<()> {
        assert!(at + len <= self.len);
        let length = NonZeroUsize::new(len).context("empty range")?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
        // SAFETY: The range is inside this region.
        unsafe { mmap_anonymous(NonZeroUsize::new(self.base + at), length, rw(), flags) }
            .context("mmap over a region")?;
        Ok(())
    }

    /// Changes what may be done with the memory.
    pub fn protect(&self, prot: ProtFlags) -> Result<()> {
        // SAFETY: The range is this region's, and no Rust object is in it.
        unsafe { mprotect(self.pointer(0), self.len, prot) }.context("mprotect")
    }

    /// madvise(2) with `advice` on `len` bytes at `at`.
    pub fn advise(&self, at: usize, len: usize, advice: i32) -> Result<(), nix::Error> {
        assert!(at + len <= self.len);
        // SAFETY: The range is this region's; what any advice can do is to lose its contents.
        nix::Error::result(unsafe { libc::madvise(self.pointer(at).as_ptr(), len, advice) }).map(drop)
    }

    /// msync(2), waiting for the writes.
    pub fn sync(&self) -> Result<()> {
        // SAFETY: The range is this region's.
        nix::Error::result(unsafe { libc::msync(self.pointer(0).as_ptr(), self.len, libc::MS_SYNC) })
            .context("msync")?;
        Ok(())
    }

    /// For each page whether it is in memory, mapped or not, by mincore(2).
    pub fn resident(&self) -> Result<Vec<bool>> {
        let mut pages = vec![0u8; self.len / PAGE];
        // SAFETY: The vector has a byte for each page of the range.
        nix::Error::result(unsafe {
            libc::mincore(self.pointer(0).as_ptr(), self.len, pages.as_mut_ptr())
        })
        .context("mincore")?;
        Ok(pages.into_iter().map(|page| page & 1 != 0).collect())
    }

    /// Unmaps it now.
    pub fn unmap(self) -> Result<()> {
        let result = self.munmap();
        std::mem::forget(self);
        result
    }

    fn pointer(&self, at: usize) -> NonNull<c_void> {
        NonNull::new((self.base + at) as *mut c_void).expect("a region is not at address 0")
    }

    fn munmap(&self) -> Result<()> {
        // SAFETY: The range is this region's, and the region ends here.
        unsafe { munmap(self.pointer(0), self.len) }.context("munmap")
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.len != 0 {
            self.munmap().expect("a region can be unmapped");
        }
    }
}

/// Read and write.
pub fn rw() -> ProtFlags {
    ProtFlags::PROT_READ | ProtFlags::PROT_WRITE
}

/// Fails unless `region` begins at a multiple of a huge page.
pub fn ensure_aligned(region: &Region) -> Result<()> {
    ensure!(region.base % super::HUGE == 0, "{:#x} is no huge page's address", region.base);
    Ok(())
}
