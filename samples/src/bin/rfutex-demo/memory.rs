// SPDX-License-Identifier: GPL-2.0
//! Memory to wait on: mappings that are used as atomic words.

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

/// The size of a page, in bytes.
pub const PAGE: usize = 4096;
/// The size of a huge page that one entry of a page table maps, in bytes.
pub const HUGE: usize = 512 * PAGE;

const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

/// A mapping that can be read and written.
///
/// # Invariants
///
/// The `len` bytes at `base` are mapped until this is dropped, and are used as
/// atomic words only.
pub struct Mapping {
    base: NonNull<c_void>,
    len: usize,
}

// SAFETY: The memory is used as atomic words only.
unsafe impl Send for Mapping {}
// SAFETY: Likewise.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of anonymous private memory.
    pub fn anonymous(len: usize) -> Result<Self> {
        let size = NonZeroUsize::new(len).context("a mapping has a size")?;
        // SAFETY: The kernel chooses an address where nothing is mapped.
        let base = unsafe { mmap_anonymous(None, size, READ_WRITE, MapFlags::MAP_PRIVATE) }?;
        // INVARIANT: Just mapped, and not handed out yet.
        Ok(Self { base, len })
    }

    /// Maps `len` bytes of `file` from `offset` on, shared, at an address that
    /// is a multiple of `align`. All three are multiples of [`PAGE`].
    pub fn of_file(file: impl AsFd, offset: usize, len: usize, align: usize) -> Result<Self> {
        ensure!(
            [offset, len, align].iter().all(|n| n % PAGE == 0) && len > 0,
            "mappings are made of pages"
        );
        let size = NonZeroUsize::new(len).context("a mapping has a size")?;
        let whole = size.checked_add(align).context("too large")?;
        // SAFETY: The kernel chooses an address where nothing is mapped.
        let base =
            unsafe { mmap_anonymous(None, whole, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE) }?;
        // INVARIANT: Mapped, if not accessible yet; `this` now owns it.
        let mut this = Self {
            base,
            len: whole.get(),
        };
        let before = base.addr().get().next_multiple_of(align) - base.addr().get();
        let at = base.addr().checked_add(before).context("too large")?;
        // SAFETY: This replaces a part of our own mapping, which nobody uses.
        let start = unsafe {
            mmap(
                Some(at),
                size,
                READ_WRITE,
                MapFlags::MAP_SHARED | MapFlags::MAP_FIXED,
                file,
                libc::off_t::try_from(offset)?,
            )
        }?;
        let after = whole.get() - before - len;
        // INVARIANT: `start` and `len` are the part that was just replaced.
        this.base = start;
        this.len = len;
        for (offset, len) in [
            (-isize::try_from(before)?, before),
            (isize::try_from(len)?, after),
        ] {
            if len > 0 {
                // SAFETY: The parts of our mapping before and after the file,
                // which nobody uses.
                unsafe { munmap(start.byte_offset(offset), len) }?;
            }
        }
        Ok(this)
    }

    /// The address of the first byte.
    pub fn addr(&self) -> u64 {
        self.base.addr().get() as u64
    }

    /// The word at `offset` bytes, a multiple of 4.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(
            offset.is_multiple_of(4) && offset + 4 <= self.len,
            "a word inside"
        );
        // SAFETY: By the invariant the word is mapped for as long as `self` is
        // borrowed and used as an atomic only; it is aligned, since mappings
        // are aligned to pages.
        unsafe { AtomicU32::from_ptr(self.base.byte_add(offset).cast().as_ptr()) }
    }

    /// Makes a huge page of each aligned [`HUGE`] bytes, or fails.
    pub fn collapse(&self) -> Result<()> {
        // SAFETY: It changes how the memory is laid out, not what is in it.
        let result = unsafe { libc::madvise(self.base.as_ptr(), self.len, libc::MADV_COLLAPSE) };
        ensure!(
            result == 0,
            "madvise(MADV_COLLAPSE): {}",
            std::io::Error::last_os_error()
        );
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: Ours, and not borrowed any more.
        let unmapped = unsafe { munmap(self.base, self.len) };
        assert!(unmapped.is_ok(), "munmap: {unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn two_windows_on_one_page() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(HUGE as u64).unwrap();
        let whole = Mapping::of_file(&file, 0, HUGE, HUGE).unwrap();
        let part = Mapping::of_file(&file, 5 * PAGE, PAGE, PAGE).unwrap();
        assert_eq!(whole.addr() % HUGE as u64, 0);
        whole.word(5 * PAGE + 64).store(7, Ordering::Relaxed);
        assert_eq!(part.word(64).load(Ordering::Relaxed), 7);
    }

    #[test]
    #[should_panic(expected = "a word inside")]
    fn beyond_the_end() {
        Mapping::anonymous(PAGE).unwrap().word(PAGE);
    }
}
