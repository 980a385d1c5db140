// SPDX-License-Identifier: GPL-2.0
//! Memory to put words in.

use super::futex;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};
use rfutex::Word;
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

/// The size of a page in bytes.
pub const PAGE: usize = 4096;

/// A mapping of one's own, unmapped when it goes.
///
/// # Invariants
///
/// `len` bytes at `addr` were mapped by this object, and nothing but words is
/// made of them. What is mapped there may have been changed by a test through
/// the address; a word that is no longer there is only given to the kernel.
#[derive(Debug)]
pub struct Mapping {
    addr: NonNull<c_void>,
    len: usize,
}

// SAFETY: It is an address; access goes through atomics.
unsafe impl Send for Mapping {}
// SAFETY: As above.
unsafe impl Sync for Mapping {}

/// A word's atomic type.
///
/// # Safety
///
/// Every bit pattern must be valid.
pub unsafe trait AnyAtomic: rfutex::Atomic {}
// SAFETY: So it is for integers.
unsafe impl AnyAtomic for AtomicU8 {}
// SAFETY: As above.
unsafe impl AnyAtomic for AtomicU16 {}
// SAFETY: As above.
unsafe impl AnyAtomic for AtomicU32 {}
// SAFETY: As above.
unsafe impl AnyAtomic for AtomicU64 {}

const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

impl Mapping {
    /// `len` bytes of anonymous memory with these flags and this protection.
    pub fn anonymous(len: usize, prot: ProtFlags, flags: MapFlags) -> Self {
        let length = NonZeroUsize::new(len).expect("not empty");
        // SAFETY: Without MAP_FIXED, nothing that is there is replaced.
        let addr = unsafe { mmap_anonymous(None, length, prot, flags - MapFlags::MAP_FIXED) };
        Self {
            addr: addr.expect("mmap"),
            len,
        }
    }

    /// `len` bytes of private anonymous memory.
    pub fn private(len: usize) -> Self {
        Self::anonymous(len, READ_WRITE, MapFlags::MAP_PRIVATE)
    }

    /// `len` bytes of shared anonymous memory.
    pub fn shared(len: usize) -> Self {
        Self::anonymous(len, READ_WRITE, MapFlags::MAP_SHARED)
    }

    /// `len` bytes where nothing can be accessed, and nothing else is mapped either.
    pub fn nothing(len: usize) -> Self {
        Self::anonymous(len, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE)
    }

    /// `len` bytes of a file from byte `offset`.
    pub fn file(fd: impl AsFd, offset: i64, len: usize, prot: ProtFlags, flags: MapFlags) -> Self {
        let length = NonZeroUsize::new(len).expect("not empty");
        // SAFETY: Without MAP_FIXED, nothing that is there is replaced.
        let addr = unsafe { mmap(None, length, prot, flags - MapFlags::MAP_FIXED, fd, offset) };
        Self {
            addr: addr.expect("mmap"),
            len,
        }
    }

    /// The first `len` bytes of a file, shared and writable.
    pub fn shared_file(fd: impl AsFd, len: usize) -> Self {
        Self::file(fd, 0, len, READ_WRITE, MapFlags::MAP_SHARED)
    }

    /// `len` bytes of anonymous memory at `addr`, where nothing may be.
    ///
    /// # Errors
    ///
    /// `EEXIST`, or `ENOMEM` where user space does not reach.
    pub fn at(addr: u64, len: usize, flags: MapFlags) -> Result<Self, Errno> {
        let addr = NonZeroUsize::new(addr as usize);
        let length = NonZeroUsize::new(len).expect("not empty");
        let flags = flags | MapFlags::MAP_FIXED_NOREPLACE;
        // SAFETY: Nothing that is there is replaced.
        let addr = unsafe { mmap_anonymous(addr, length, READ_WRITE, flags) }?;
        Ok(Self { addr, len })
    }

    /// The first address behind all that a process can map.
    pub fn end_of_user_space() -> u64 {
        let page = PAGE as u64;
        // x86-64 with five levels of page tables, arm64 with addresses of 52 and of 48 bits, and
        // x86-64 with four levels.
        let ends = [(1 << 56) - page, 1 << 52, 1 << 48, (1 << 47) - page];
        let has = |end: &u64| {
            let last = Self::at(end - page, PAGE, MapFlags::MAP_PRIVATE);
            !matches!(last, Err(Errno::ENOMEM))
        };
        let end = ends.into_iter().find(has);
        end.expect("user space ends where it does on a known machine")
    }

    /// The first multiple of 8 that the kernel's own check does not take for an address of user
    /// space, as futex(2) says. On x86-64 that check takes one word too many. On arm64 it goes by
    /// the longest addresses that the kernel knows, which the processor need not have.
    pub fn beyond_user_space() -> u64 {
        let end = Self::end_of_user_space();
        [end, end + 8, 1 << 52]
            .into_iter()
            .find(|&addr| futex::wake(addr, 1, true) == Err(Errno::EFAULT))
            .expect("user space ends where it does on a known machine")
    }

    /// Where it begins.
    pub fn addr(&self) -> u64 {
        self.addr.as_ptr().addr() as u64
    }

    /// The atomic at byte `offset`. To touch it where no memory is kills the
    /// process, and nothing worse.
    pub fn atomic<T: AnyAtomic>(&self, offset: usize) -> &T {
        assert!(offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= self.len);
        // SAFETY: It is aligned and inside of the mapping, which lives as long
        // as `self`; any bytes are a valid atomic.
        unsafe { self.addr.byte_add(offset).cast().as_ref() }
    }

    /// Writes bytes at byte `offset`. No thread may use them meanwhile.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len);
        // SAFETY: It is inside of the mapping; there are no references to it
        // but to atomics, which no other thread uses now.
        unsafe {
            let to = self.addr.byte_add(offset).cast::<u8>();
            to.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        }
    }

    /// Reads `len` bytes at byte `offset`. No thread may change them
    /// meanwhile.
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.len);
        // SAFETY: As in `write`.
        unsafe { std::slice::from_raw_parts(self.addr.byte_add(offset).cast().as_ptr(), len) }
            .to_vec()
    }

    /// The 32-bit word at byte `offset`.
    pub fn word(&self, offset: usize) -> Word<'static> {
        self.sized_word(offset, 4)
    }

    /// The word of `size` bytes at byte `offset`; nothing is checked.
    pub fn sized_word(&self, offset: usize, size: u32) -> Word<'static> {
        Word::at(self.addr() + offset as u64, size)
    }

    /// Changes the protection of the whole mapping.
    pub fn protect(&self, prot: ProtFlags) {
        self.protect_part(0, self.len, prot);
    }

    /// Changes the protection of `len` bytes at byte `offset`.
    pub fn protect_part(&self, offset: usize, len: usize, prot: ProtFlags) {
        assert!(offset + len <= self.len);
        // SAFETY: It is our mapping, of which there are no plain references.
        unsafe { mprotect(self.addr.byte_add(offset), len, prot) }.expect("mprotect");
    }

    /// Unmaps `len` bytes at byte `offset`.
    pub fn unmap_part(&self, offset: usize, len: usize) {
        assert!(offset + len <= self.len);
        // SAFETY: It is a part of our mapping, of which there are no plain
        // references.
        unsafe { munmap(self.addr.byte_add(offset), len) }.expect("munmap");
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: It is our mapping, and no borrow of it is left.
        unsafe { munmap(self.addr, self.len) }.expect("munmap");
    }
}
