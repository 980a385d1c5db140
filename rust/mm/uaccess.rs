// SPDX-License-Identifier: GPL-2.0

//! Access to user memory: to words, and to the structs of the interface.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use crate::{
    bindings as helpers,
    lab,
    mm::{
        arch,
        task,
        vma::MmapLock, //
    },
    word::{
        Size,
        Word, //
    }, //
};
use core::mem::MaybeUninit;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
};

/// Whether the address lies below the end of user space. If so, a word that begins there lies below
/// it as a whole, because it is aligned, and the end is that of a page.
#[inline]
pub(crate) fn access_ok(addr: usize) -> bool {
    arch::access_ok(addr)
}

/// Copies a struct from the address `addr`, where user space has a version of it that is
/// `user_size` bytes long. If that is shorter than `T`, the rest of the result is zero. If it is
/// longer, the part that `T` does not have must be zero.
///
/// # Errors
///
/// `EFAULT`: the memory cannot be read. `E2BIG`: the part that `T` does not have is not zero.
///
/// # Context
///
/// Process context, no locks held. May sleep, to fault the memory in.
#[inline]
pub(crate) fn copy_struct_from_user<T: FromBytes>(addr: usize, user_size: usize) -> Result<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: `value` has room for the `size_of::<T>()` bytes that the function writes. The
    // function checks the address in user memory, which may be any.
    let errno = unsafe {
        helpers::rfutex_copy_struct_from_user(
            value.as_mut_ptr().cast(),
            size_of::<T>(),
            addr,
            user_size,
        )
    };
    if errno != 0 {
        return Err(Error::from_errno(errno));
    }
    // SAFETY: The function has succeeded, so that it has written all bytes of `value`. Any bytes
    // are a valid `T`, because `T` implements `FromBytes`.
    Ok(unsafe { value.assume_init() })
}

/// Copies out a struct of which the user has room for `user_size` bytes: as much as there is room
/// for. What only the user knows is zeroed.
///
/// # Errors
///
/// `EFAULT`: the memory cannot be written to. A part of it may have been written.
///
/// # Context
///
/// Process context, no locks held. May sleep, to fault the memory in.
pub(crate) fn copy_struct_to_user<T: AsBytes + ?Sized>(
    addr: usize,
    user_size: usize,
    value: &T,
) -> Result {
    let bytes = value.as_bytes();
    // SAFETY: `bytes` is valid for reads of its length. The function checks the address in user
    // memory, which may be any.
    to_result(unsafe {
        helpers::rfutex_copy_struct_to_user(addr, user_size, bytes.as_ptr().cast(), bytes.len())
    })
}

/// Reads a word by means of the function for its size. That is a single load, which never sees a
/// value of which only a part was written.
macro_rules! get {
    ($word:expr, $u8:ident, $u16:ident, $u32:ident, $u64:ident) => {{
        let addr = $word.addr();
        macro_rules! get_as {
            ($type:ty, $get:ident) => {{
                let mut value: $type = 0;
                // SAFETY: `value` is valid for a write, and of the type that the function writes.
                // The function uses `get_user()`, which checks the address.
                match unsafe { helpers::$get(&raw mut value, addr) } {
                    0 => Ok(u64::from(value)),
                    _ => Err(EFAULT),
                }
            }};
        }
        match $word.size() {
            Size::U8 => get_as!(u8, $u8),
            Size::U16 => get_as!(u16, $u16),
            Size::U32 => get_as!(u32, $u32),
            Size::U64 => get_as!(u64, $u64),
        }
    }};
}

/// Reads the word, but does not fault it in.
///
/// # Errors
///
/// `EFAULT`: the word is not in memory at the moment. [`fault_in`] brings it there, or tells that
/// this is not possible.
///
/// # Context
///
/// Any, locks held or not. Does not sleep.
#[inline]
pub(crate) fn read_inatomic(word: Word) -> Result<u64> {
    if lab::fault(lab::Point::ReadWord) {
        return Err(EFAULT);
    }
    get!(
        word,
        rfutex_get_user_inatomic_u8,
        rfutex_get_user_inatomic_u16,
        rfutex_get_user_inatomic_u32,
        rfutex_get_user_inatomic_u64
    )
}

/// Why a comparison of a word with a value has failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// The word has another value.
    Changed,
    /// The word is not in memory at the moment.
    NotInMemory,
}

impl Mismatch {
    /// If the word was not in memory, faults it in, so that the caller can try again. The caller
    /// has to resolve the key again as well, because another page may be there now.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: the word has another value. `EFAULT`: it cannot be read. `EINTR`: the task was
    /// killed.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    #[cold]
    #[inline(never)]
    pub(crate) fn overcome(self, word: Word) -> Result {
        match self {
            Mismatch::Changed => Err(EAGAIN),
            Mismatch::NotInMemory => {
                fault_in(word)?;
                task::before_retry()
            }
        }
    }
}

/// Compares the word with `val`, but does not fault it in.
///
/// # Errors
///
/// Tells why the word was not found to be equal to `val`.
///
/// # Context
///
/// Any, locks held or not. Does not sleep.
#[inline]
pub(crate) fn compare_inatomic(word: Word, val: u64) -> Result<(), Mismatch> {
    match read_inatomic(word) {
        Ok(value) if value == val => Ok(()),
        Ok(_) => Err(Mismatch::Changed),
        Err(_) => Err(Mismatch::NotInMemory),
    }
}

/// How many times [`update_inatomic`] tries to change a word that other tasks change too.
const UPDATE_TRIES: u32 = 64;

/// Atomically replaces the value of the word by `new(value)`, but does not fault the word in.
/// Returns the value that the word had.
///
/// # Errors
///
/// - `EFAULT`: the word cannot be written to at the moment. [`fault_in_writable`] makes that
///   possible, or tells that it is not.
/// - `EAGAIN`: other tasks changed the word each time before this one could.
/// - `EINVAL`: this architecture cannot do that with a word of this size.
///
/// # Context
///
/// Any, locks held or not. Does not sleep.
pub(crate) fn update_inatomic(word: Word, new: impl Fn(u64) -> u64) -> Result<u64> {
    // SAFETY: The function increments a counter of the current task, which is decremented again
    // below.
    unsafe { helpers::rfutex_pagefault_disable() };
    let old = update(word, new);
    // SAFETY: This pairs with `rfutex_pagefault_disable()` above.
    unsafe { helpers::rfutex_pagefault_enable() };
    old
}

/// Does what [`update_inatomic`] does, with page faults already disabled.
fn update(word: Word, new: impl Fn(u64) -> u64) -> Result<u64> {
    macro_rules! cmpxchg_as {
        ($type:ty, $cmpxchg:ident, $old:expr) => {{
            let mut value = $old as $type;
            // The new value is truncated to the size of the word.
            let new = new($old) as $type;
            // SAFETY: `value` is valid for reads and writes. The function does not check the
            // address, but it is one of user space: `get_user()`, which `read_inatomic()` uses, has
            // checked it.
            let result = unsafe { helpers::$cmpxchg(&raw mut value, new, word.addr()) };
            (result, u64::from(value))
        }};
    }
    let mut old = read_inatomic(word)?;
    for _ in 0..UPDATE_TRIES {
        let (result, value) = match word.size() {
            Size::U8 => cmpxchg_as!(u8, rfutex_cmpxchg_user_u8, old),
            Size::U16 => cmpxchg_as!(u16, rfutex_cmpxchg_user_u16, old),
            Size::U32 => cmpxchg_as!(u32, rfutex_cmpxchg_user_u32, old),
            Size::U64 => cmpxchg_as!(u64, rfutex_cmpxchg_user_u64, old),
        };
        match result {
            0 => return Ok(old),
            1 => old = value,
            errno => return Err(Error::from_errno(errno)),
        }
    }
    Err(EAGAIN)
}

/// Faults the word in for writing, without changing it.
///
/// # Errors
///
/// - `EFAULT`: nothing is mapped there that can be written to.
/// - `EINTR`: the task was killed.
/// - Others as `fixup_user_fault()`.
///
/// # Context
///
/// Process context, no locks held. May sleep, and takes mmap_lock.
pub(crate) fn fault_in_writable(word: Word) -> Result {
    let lock = MmapLock::take()?;
    // A file system or a handler of userfaultfd(2) may take a long time to provide the page.
    // Without this variable, the fault would either fail, or sleep with mmap_lock held, and could
    // not be killed meanwhile.
    let mut unlocked = false;
    // SAFETY: This is the current task's mm, whose mmap_lock is held. The function may release the
    // lock in between, and sets `unlocked` then, but holds it again when it returns.
    to_result(unsafe {
        bindings::fixup_user_fault(
            lock.mm(),
            word.addr(),
            bindings::fault_flag_FAULT_FLAG_WRITE,
            &raw mut unlocked,
        )
    })
}

/// Faults the word in for reading.
///
/// # Errors
///
/// `EFAULT`: nothing is mapped there that can be read.
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn fault_in(word: Word) -> Result {
    get!(
        word,
        rfutex_get_user_u8,
        rfutex_get_user_u16,
        rfutex_get_user_u32,
        rfutex_get_user_u64
    )
    .map(|_: u64| ())
}

#[cfg(RFUTEX_KUNIT)]
#[kunit_tests(rfutex_uaccess)]
mod tests {
    use super::*;
    use crate::lab::kunit::{
        sized,
        Access::ReadWrite,
        Mapping, //
    };
    use core::cell::Cell;

    /// Updates a word of `size` bytes, between others, to its value plus 1. The first `times` times
    /// that the new value is computed, somebody else changes all of the memory meanwhile, so that
    /// each byte becomes the number of the time.
    ///
    /// Returns the result, how often the new value was computed, and what the memory holds then.
    fn update_disturbed(size: u32, times: u8) -> Result<(Result<u64>, u8, [u8; 16])> {
        let memory = Mapping::anonymous(1, ReadWrite)?;
        memory.write(0, &[0; 16])?;
        let (computed, written) = (Cell::new(0), Cell::new(true));
        let result = update_inatomic(sized(memory.at(8), size)?, |old| {
            computed.set(computed.get() + 1);
            if computed.get() <= times {
                // The page is in memory, so this does not need a page fault.
                let write = memory.write(0, &[computed.get(); 16]);
                written.set(written.get() && write.is_ok());
            }
            old + 1
        });
        let mut bytes = [0; 16];
        memory.read(0, &mut bytes)?;
        if written.get() {
            Ok((result, computed.get(), bytes))
        } else {
            Err(EFAULT)
        }
    }

    /// The sizes in bytes of words that can be updated here.
    fn sizes() -> impl Iterator<Item = u32> {
        let can = |size: &u32| helpers::RFUTEX_CMPXCHG_USER_SIZES & size != 0;
        [1, 2, 4, 8].into_iter().filter(can)
    }

    #[test]
    fn sizes_that_are_told_are_those_that_can_be_updated() -> Result {
        for size in [1, 2, 4, 8] {
            let (result, _, bytes) = update_disturbed(size, 0)?;
            let can = sizes().any(|other| other == size);
            assert!(result == if can { Ok(0) } else { Err(EINVAL) });
            assert_eq!(bytes[8], u8::from(can));
        }
        Ok(())
    }

    #[test]
    fn word_that_others_change_is_updated_all_the_same() -> Result {
        for size in sizes() {
            for times in [0, 1, 2, 5, 63] {
                let (result, computed, bytes) = update_disturbed(size, times)?;
                let old = u64::from_le_bytes([times; 8]) & (u64::MAX >> (64 - 8 * size));
                let mut expected = [times; 16];
                expected[8] += 1;
                assert!(result == Ok(old));
                assert_eq!(computed, times + 1);
                assert!(bytes == expected);
            }
        }
        Ok(())
    }

    #[test]
    fn word_that_others_keep_changing_is_left_alone() -> Result {
        for size in sizes() {
            let (result, computed, bytes) = update_disturbed(size, u8::MAX)?;
            assert!(result == Err(EAGAIN));
            assert_eq!(u32::from(computed), UPDATE_TRIES);
            assert!(bytes == [computed; 16]);
        }
        Ok(())
    }
}
