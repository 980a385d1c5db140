// SPDX-License-Identifier: GPL-2.0
//! What the caller's pointers point to, read as the kernel reads it: a bad
//! pointer is an error and not a crash.

use crate::kernel;
use core::ffi::c_long;

/// The smallest page size, in bytes.
const PAGE: usize = 4096;

/// The size of the kernel's signal set, in bytes.
const PROBE: usize = 8;

/// Data of which every bit pattern is valid.
///
/// # Safety
///
/// The type must be just that, of at least [`PROBE`] bytes.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: Two integers.
unsafe impl Plain for libc::timespec {}

/// Reads the value at `addr`, aligned or not; `None` if the memory is not
/// readable.
///
/// # Safety
///
/// `addr` is an argument of the system call that is being made: the caller has
/// given it away for reading, and does not unmap it meanwhile.
pub(crate) unsafe fn read<T: Plain>(addr: u64) -> Option<T> {
    // SAFETY: The caller's promise.
    unsafe { read_array(addr, 1) }?.next()
}

/// Reads `nr` values, at most a page, that lie at `addr` one after the other.
///
/// # Safety
///
/// That of [`read`], for as long as the iterator is used.
pub(crate) unsafe fn read_array<T: Plain>(addr: u64, nr: usize) -> Option<impl Iterator<Item = T>> {
    let ptr = addr as *const T;
    readable(addr as usize, nr * size_of::<T>()).then(|| {
        (0..nr).map(move |index| {
            // SAFETY: The kernel just read it; the caller keeps it there. Any
            // bits will do.
            unsafe { ptr.wrapping_add(index).read_unaligned() }
        })
    })
}

/// True if `len` bytes at `addr` can be read; `len` is at least [`PROBE`] and
/// at most a page, so that the bytes lie on two pages at most.
pub(crate) fn readable(addr: usize, len: usize) -> bool {
    debug_assert!((PROBE..=PAGE).contains(&len));
    let Some(last) = addr.checked_add(len - PROBE) else {
        return false;
    };
    if last.checked_add(PROBE).is_none() {
        return false;
    }
    // What is readable of a page is all of it.
    probe(addr) && ((addr / PAGE == (last + PROBE - 1) / PAGE) || probe(last))
}

/// True if [`PROBE`] bytes at `addr` can be read. The kernel finds out, with a
/// system call that reads them, changes nothing, and is allowed everywhere:
/// rt_sigprocmask(2) looks at what it shall do only after it has copied the set.
fn probe(addr: usize) -> bool {
    const NOTHING: c_long = -1;
    if addr == 0 {
        // To that call it means that there is no set.
        return false;
    }
    // SAFETY: Reads through the address, and fails in any case.
    let result = unsafe {
        kernel::call(
            libc::SYS_rt_sigprocmask,
            &[NOTHING, addr as c_long, 0, PROBE as c_long, 0, 0],
        )
    };
    kernel::error(result) != Some(libc::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pages, of which the second cannot be read.
    fn pages() -> usize {
        // SAFETY: New memory, and a change to it alone.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let at = libc::mmap(
                std::ptr::null_mut(),
                2 * PAGE,
                libc::PROT_READ,
                flags,
                -1,
                0,
            );
            assert_ne!(at, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(at.byte_add(PAGE), PAGE, libc::PROT_NONE), 0);
            at.addr()
        }
    }

    #[test]
    fn the_last_bytes_of_a_page() {
        let end = pages() + PAGE;
        for len in [8, 16, 24, PAGE] {
            assert!(readable(end - len, len));
            for over in [1, 7, 8, len - 1, len] {
                assert!(!readable(end - len + over, len), "{len} bytes, {over} over");
            }
        }
    }

    #[test]
    fn no_memory_at_all() {
        for addr in [0, 1, usize::MAX, usize::MAX - 15, usize::MAX / 2, 1 << 63] {
            assert!(!readable(addr, 16), "{addr:#x}");
            // SAFETY: Nothing is there to unmap.
            assert!(unsafe { read::<libc::timespec>(addr as u64) }.is_none());
        }
    }

    #[test]
    fn misaligned_values() {
        let bytes: Vec<u8> = (0..64).collect();
        for offset in 0..16 {
            // SAFETY: `bytes` stays.
            let value: libc::timespec = unsafe { read(bytes[offset..].as_ptr() as u64) }.unwrap();
            let expected = i64::from_le_bytes(bytes[offset + 8..offset + 16].try_into().unwrap());
            assert_eq!(value.tv_nsec, expected);
        }
    }

    #[test]
    fn the_signal_mask_stays() {
        let mask = || {
            let mut set = 0_u64;
            let at = (&raw mut set).addr() as c_long;
            // SAFETY: The kernel writes eight bytes to `set`.
            let result = unsafe { kernel::call(libc::SYS_rt_sigprocmask, &[0, 0, at, 8, 0, 0]) };
            assert_eq!(result, 0);
            set
        };
        let before = mask();
        let all = [u64::MAX; 4];
        assert!(readable(all.as_ptr().addr(), 32));
        assert_eq!(mask(), before);
    }
}
