// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interface as the header has it, without a net.

use crate::Error;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Constants and structs of `include/uapi/linux/rfutex.h`.
#[expect(
    missing_docs,
    non_camel_case_types,
    reason = "generated from the C header, which has the documentation"
)]
pub mod uapi {
    include!(concat!(env!("OUT_DIR"), "/uapi.rs"));
}

/// Calls the command `request`, as ioctl(2) does, with any argument: a number,
/// or the address of a struct. Returns what the command returns.
///
/// # Safety
///
/// `fd` and `arg` must be what `request` wants as far as the kernel writes:
///
/// - `fd` is the device, or a file that takes no command of this number, or
///   one whose command writes no more than that of the device would.
/// - If the command has an output, `arg` is an address at which nothing of
///   Rust lies that must not change, for as many bytes as `request` says.
/// - The target of `RFUTEX_WAKE_OP` is an atomic of its size, or nothing that
///   belongs to Rust, as for [`Target::from_word`](crate::Target::from_word).
///
/// # Errors
///
/// Whatever the kernel says.
pub unsafe fn ioctl(fd: BorrowedFd<'_>, request: u32, arg: u64) -> Result<u32, Error> {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, arg) };
    u32::try_from(result).map_err(|_| std::io::Error::last_os_error().into())
}

/// The direction bits of a command that writes to its struct.
const READ: u32 = 2 << 30;

/// The size of the struct of the command `request`, in bytes.
pub const fn size(request: u32) -> usize {
    (request >> 16 & 0x3fff) as usize
}

/// The command `request` with a struct of `size` bytes, at most 16383.
pub const fn with_size(request: u32, size: usize) -> u32 {
    assert!(size <= 0x3fff, "14 bits");
    request & !(0x3fff << 16) | (size as u32) << 16
}

/// Calls the command `request` with a struct that is exactly these bytes:
/// its number is changed to carry their length, at most 16383.
///
/// # Safety
///
/// That of [`ioctl`], but for the bytes themselves.
///
/// # Errors
///
/// Whatever the kernel says.
pub unsafe fn call_bytes(fd: BorrowedFd<'_>, request: u32, bytes: &mut [u8]) -> Result<u32, Error> {
    // SAFETY: To the bytes at most the size that the number carries is written,
    // and any byte is a valid u8. The caller answers for the rest.
    unsafe {
        ioctl(
            fd,
            with_size(request, bytes.len()),
            bytes.as_mut_ptr().addr() as u64,
        )
    }
}

/// The structs of the header: plain data without padding, in which every bit
/// pattern is valid.
///
/// # Safety
///
/// The type must be just that.
pub unsafe trait Struct {}

macro_rules! structs {
    ($($name:ident),*) => {$(
        // SAFETY: It has integers only, and names its padding.
        unsafe impl Struct for uapi::$name {}
    )*};
}

structs!(
    rfutex_query,
    rfutex_wait,
    rfutex_wake,
    rfutex_key_info,
    rfutex_requeue,
    rfutex_wake_op,
    rfutex_waitv_entry,
    rfutex_waitv,
    rfutex_swap
);

/// The bytes of a struct.
pub fn bytes_of<T: Struct>(arg: &T) -> &[u8] {
    // SAFETY: By the trait's promise each byte has a value.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(arg).cast(), size_of::<T>()) }
}

/// The bytes of a struct, to change.
pub fn bytes_of_mut<T: Struct>(arg: &mut T) -> &mut [u8] {
    // SAFETY: By the trait's promise each byte has a value, and may have any.
    unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(arg).cast(), size_of::<T>()) }
}

/// Calls the command `request`, which must be of the size of `T`.
///
/// # Safety
///
/// That of [`ioctl`], but for the struct itself.
///
/// # Errors
///
/// Whatever the kernel says.
///
/// # Panics
///
/// If the sizes differ.
pub unsafe fn call<T: Struct>(fd: BorrowedFd<'_>, request: u32, arg: &mut T) -> Result<u32, Error> {
    assert_eq!(
        size(request),
        size_of::<T>(),
        "{request:#x} takes another struct"
    );
    // SAFETY: To the struct at most the size of `T` is written, of which every
    // bit pattern is valid. The caller answers for the rest.
    unsafe { ioctl(fd, request, std::ptr::from_mut(arg).addr() as u64) }
}

/// Calls a command without a struct on the word at `addr`.
///
/// # Safety
///
/// `fd` is the device, which writes nothing then, or another file that takes
/// no such command, or writes nothing either.
///
/// # Errors
///
/// Whatever the kernel says.
///
/// # Panics
///
/// If the command takes a struct.
pub unsafe fn call_addr(fd: BorrowedFd<'_>, request: u32, addr: u64) -> Result<u32, Error> {
    assert!(
        size(request) == 0 && request & READ == 0,
        "{request:#x} takes a struct"
    );
    // SAFETY: The caller's promise: nothing is written.
    unsafe { ioctl(fd, request, addr) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::{request_code_none, request_code_read, request_code_readwrite, request_code_write};

    /// clang's numbers against those of a second implementation of the macros.
    #[test]
    fn numbers() {
        const MAGIC: u32 = uapi::RFUTEX_IOC_MAGIC;
        let expected = [
            (
                uapi::RFUTEX_QUERY,
                request_code_read!(MAGIC, 0, size_of::<uapi::rfutex_query>()),
            ),
            (
                uapi::RFUTEX_WAIT,
                request_code_write!(MAGIC, 1, size_of::<uapi::rfutex_wait>()),
            ),
            (
                uapi::RFUTEX_WAKE,
                request_code_write!(MAGIC, 2, size_of::<uapi::rfutex_wake>()),
            ),
            (
                uapi::RFUTEX_KEY_INFO,
                request_code_readwrite!(MAGIC, 3, size_of::<uapi::rfutex_key_info>()),
            ),
            (
                uapi::RFUTEX_REQUEUE,
                request_code_write!(MAGIC, 4, size_of::<uapi::rfutex_requeue>()),
            ),
            (
                uapi::RFUTEX_WAKE_OP,
                request_code_write!(MAGIC, 5, size_of::<uapi::rfutex_wake_op>()),
            ),
            (
                uapi::RFUTEX_WAITV,
                request_code_write!(MAGIC, 6, size_of::<uapi::rfutex_waitv>()),
            ),
            (
                uapi::RFUTEX_SWAP,
                request_code_write!(MAGIC, 7, size_of::<uapi::rfutex_swap>()),
            ),
            (uapi::RFUTEX_WAKE_ONE, request_code_none!(MAGIC, 0x10)),
            (uapi::RFUTEX_WAKE_ALL, request_code_none!(MAGIC, 0x11)),
            (
                uapi::RFUTEX_WAKE_ONE_PRIVATE,
                request_code_none!(MAGIC, 0x12),
            ),
            (
                uapi::RFUTEX_WAKE_ALL_PRIVATE,
                request_code_none!(MAGIC, 0x13),
            ),
            (uapi::RFUTEX_SET_RESOLVER, request_code_none!(MAGIC, 0x14)),
        ];
        for (clang, nix) in expected {
            assert_eq!(u64::from(clang), nix);
        }
    }

    #[test]
    fn sizes_in_numbers() {
        assert_eq!(size(uapi::RFUTEX_WAIT), size_of::<uapi::rfutex_wait>());
        assert_eq!(size(with_size(uapi::RFUTEX_WAIT, 16383)), 16383);
        assert_eq!(
            with_size(with_size(uapi::RFUTEX_WAIT, 0), 48),
            uapi::RFUTEX_WAIT
        );
    }
}
