// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interface as the header has it. Almost everything here is unsafe.

use crate::{Error, Word};
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
/// The kernel must not write where it may not:
///
/// - `fd` is the device, or a file that does not know a command of this number,
///   or one whose command writes no more than that of the device would.
/// - If the command has an output, then at the address `arg`, for as many bytes as
///   `request` says, there is nothing of Rust's that must not change.
/// - The target of `RFUTEX_WAKE_OP` is an atomic of its size, or nothing that
///   belongs to Rust, as for [`Target::from_word`](crate::Target::from_word).
/// - Where `RFUTEX_WAKEV` writes its results, there is nothing of Rust's that
///   must not change.
///
/// # Errors
///
/// Whatever the kernel answers.
pub unsafe fn ioctl(fd: BorrowedFd<'_>, request: u32, arg: u64) -> Result<u32, Error> {
    // SAFETY: The caller promises that the kernel writes where it may only.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, arg) };
    u32::try_from(result).map_err(|_| std::io::Error::last_os_error().into())
}

/// The first version of the interface whose commands have the numbers and structs
/// of the header. A module of an older one does not know `RFUTEX_WAIT`.
pub const OLDEST_VERSION: u32 = 2;

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

/// Calls the command `request` with a struct of exactly these bytes: the number
/// of the command is changed to carry their length, at most 16383.
///
/// # Safety
///
/// As for [`ioctl`], except that the bytes themselves may be written to.
///
/// # Errors
///
/// Whatever the kernel answers.
pub unsafe fn call_bytes(fd: BorrowedFd<'_>, request: u32, bytes: &mut [u8]) -> Result<u32, Error> {
    // SAFETY: No more of the bytes is written than the size that the number
    // carries, and any byte is a valid u8. The caller answers for the rest.
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
        // SAFETY: The struct has nothing but integers, and fields for its padding.
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
    rfutex_swap,
    rfutex_wakev_entry,
    rfutex_wakev,
    rfutex_table_create,
    rfutex_owner_id,
    rfutex_list,
    rfutex_waiter,
    rfutex_watches_create,
    rfutex_watch_add,
    rfutex_watch_remove,
    rfutex_event
);

impl uapi::rfutex_wait {
    /// The swap that sleeps as this wait does, and wakes one waiter on `wake`.
    pub fn swap(self, wake: uapi::rfutex_word) -> uapi::rfutex_swap {
        uapi::rfutex_swap {
            word: self.word,
            val: self.val,
            mask: self.mask,
            deadline: self.deadline,
            clock: self.clock,
            flags: self.flags,
            cond: self.cond,
            owner: self.owner,
            wake,
            owner_id: self.owner_id,
        }
    }
}

/// The command that wakes the first waiter on `word`, whatever its mask. Its argument is
/// [`Word::addr`].
#[inline]
pub fn wake_one(word: Word<'_>) -> u32 {
    if word.is_private() {
        uapi::RFUTEX_WAKE_ONE_PRIVATE
    } else if word.is_in_arena() {
        uapi::RFUTEX_WAKE_ONE_ARENA
    } else {
        uapi::RFUTEX_WAKE_ONE
    }
}

/// The command that wakes all waiters on `word`, whatever their masks. Its argument is
/// [`Word::addr`].
#[inline]
pub fn wake_all(word: Word<'_>) -> u32 {
    if word.is_private() {
        uapi::RFUTEX_WAKE_ALL_PRIVATE
    } else if word.is_in_arena() {
        uapi::RFUTEX_WAKE_ALL_ARENA
    } else {
        uapi::RFUTEX_WAKE_ALL
    }
}

/// The bytes of a struct.
pub fn bytes_of<T: Struct>(arg: &T) -> &[u8] {
    // SAFETY: By the trait's promise there is no padding: each byte has a value.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(arg).cast(), size_of::<T>()) }
}

/// The bytes of several structs, which may be changed.
pub fn bytes_of_slice_mut<T: Struct>(args: &mut [T]) -> &mut [u8] {
    // SAFETY: By the trait's promise each byte has a value, and any value is valid.
    unsafe { std::slice::from_raw_parts_mut(args.as_mut_ptr().cast(), size_of_val(args)) }
}

/// The bytes of a struct, which may be changed.
pub fn bytes_of_mut<T: Struct>(arg: &mut T) -> &mut [u8] {
    // SAFETY: By the trait's promise each byte has a value, and any value is
    // valid.
    unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(arg).cast(), size_of::<T>()) }
}

/// Calls the command `request`, whose struct must be `T`.
///
/// # Safety
///
/// As for [`ioctl`], except that the struct itself may be written to.
///
/// # Errors
///
/// Whatever the kernel answers.
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
    // SAFETY: No more than the size of `T` is written to the struct, in which
    // every bit pattern is valid. The caller answers for the rest.
    unsafe { ioctl(fd, request, std::ptr::from_mut(arg).addr() as u64) }
}

/// Calls a command without a struct on the word at `addr`.
///
/// # Safety
///
/// `fd` is the device, which writes nothing in such a command, or a file that does
/// not know the command or writes nothing either.
///
/// # Errors
///
/// Whatever the kernel answers.
///
/// # Panics
///
/// If the command takes a struct.
pub unsafe fn call_addr(fd: BorrowedFd<'_>, request: u32, addr: u64) -> Result<u32, Error> {
    assert!(
        size(request) == 0 && request & READ == 0,
        "{request:#x} takes a struct"
    );
    // SAFETY: The caller promises that nothing is written.
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
                uapi::RFUTEX_WAIT,
                request_code_write!(MAGIC, 0x20, size_of::<uapi::rfutex_wait>()),
            ),
            (
                uapi::RFUTEX_SWAP,
                request_code_write!(MAGIC, 0x21, size_of::<uapi::rfutex_swap>()),
            ),
            (
                uapi::RFUTEX_WAITV,
                request_code_write!(MAGIC, 0x22, size_of::<uapi::rfutex_waitv>()),
            ),
            (
                uapi::RFUTEX_WAKEV,
                request_code_write!(MAGIC, 0x23, size_of::<uapi::rfutex_wakev>()),
            ),
            (
                uapi::RFUTEX_WATCHES_CREATE,
                request_code_write!(MAGIC, 0x30, size_of::<uapi::rfutex_watches_create>()),
            ),
            (
                uapi::RFUTEX_WATCH_ADD,
                request_code_readwrite!(MAGIC, 0x31, size_of::<uapi::rfutex_watch_add>()),
            ),
            (
                uapi::RFUTEX_WATCH_REMOVE,
                request_code_write!(MAGIC, 0x32, size_of::<uapi::rfutex_watch_remove>()),
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
            (uapi::RFUTEX_WAKE_ONE_ARENA, request_code_none!(MAGIC, 0x15)),
            (uapi::RFUTEX_WAKE_ALL_ARENA, request_code_none!(MAGIC, 0x16)),
            (
                uapi::RFUTEX_LIST,
                request_code_write!(MAGIC, 0x27, size_of::<uapi::rfutex_list>()),
            ),
            (
                uapi::RFUTEX_TABLE_CREATE,
                request_code_write!(MAGIC, 0x24, size_of::<uapi::rfutex_table_create>()),
            ),
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
            with_size(with_size(uapi::RFUTEX_WAIT, 0), 64),
            uapi::RFUTEX_WAIT
        );
    }

    /// Where the fields are, which never changes; nothing lies between them.
    #[test]
    fn layouts() {
        use std::mem::offset_of;
        macro_rules! check {
            ($name:ident, $size:literal: $($field:ident $at:literal),*) => {
                assert_eq!(size_of::<uapi::$name>(), $size, stringify!($name));
                $(assert_eq!(
                    offset_of!(uapi::$name, $field),
                    $at,
                    "{}.{}",
                    stringify!($name),
                    stringify!($field)
                );)*
            };
        }
        check!(rfutex_word, 16: addr 0, size 8, flags 12);
        check!(rfutex_query, 56: version 0, resolver 4, features 8, sizes 16, nr_buckets 20,
            hold 24, max_watches 28, arena_size 32, max_arena_pages 40, max_tables 48,
            robust_size 52);
        check!(rfutex_table_create, 32: flags 0, resolver 4, hold 8, nr_buckets 12,
            arena_size 16, robust_size 24);
        check!(rfutex_list, 8: flags 0, entry_size 4);
        check!(rfutex_waiter, 136: what 0, kind 4, thread 8, process 12, addr 16, object 24,
            dev_major 32, dev_minor 36, ino 40, index 48, offset 56, size 60, val 64, mask 72,
            age 80, owner 88, owner_number 92, owner_id 96, cookie 104, flags 112, pad 116,
            comm 120);
        check!(rfutex_wait, 64: word 0, val 16, mask 24, deadline 32, clock 40, flags 44, cond 48,
            owner 52, owner_id 56);
        check!(rfutex_swap, 80: word 0, val 16, mask 24, deadline 32, clock 40, flags 44, cond 48,
            owner 52, wake 56, owner_id 72);
        check!(rfutex_waitv_entry, 56: word 0, val 16, mask 24, flags 32, cond 36, owner_id 40,
            owner 48, pad 52);
        check!(rfutex_owner_id, 24: thread_id 0, process_id 8, thread 16, process 20);
        check!(rfutex_waitv, 32: entries 0, nr 8, entry_size 12, deadline 16, clock 24, flags 28);
        check!(rfutex_wake, 32: word 0, mask 16, nr 24, pad 28);
        check!(rfutex_requeue, 56: from 0, to 16, val 32, nr_wake 40, nr_move 44, flags 48, pad 52);
        check!(rfutex_wake_op, 64: word 0, target 16, operand 32, comparand 40, nr 48,
            nr_target 52, op 56, cmp 60);
        check!(rfutex_key_info, 80: word 0, kind 16, resolver 20, dev_major 24, dev_minor 28,
            ino 32, index 40, offset 48, folio_order 52, folio_index 56, nr_waiters 64, pad 68,
            object 72);
        check!(rfutex_wakev_entry, 32: word 0, mask 16, nr 24, flags 28);
        check!(rfutex_wakev, 32: entries 0, results 8, nr 16, entry_size 20, flags 24, pad 28);
        check!(rfutex_watches_create, 8: flags 0, pad 4);
        check!(rfutex_watch_add, 56: word 0, val 16, mask 24, cookie 32, id 40, flags 48, cond 52);
        check!(rfutex_watch_remove, 16: id 0, flags 8, pad 12);
        check!(rfutex_event, 32: cookie 0, id 8, woken 16, moved 24, what 28);
    }
}
