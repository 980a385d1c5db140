// SPDX-License-Identifier: GPL-2.0

//! User memory: words, and structs of the interface.
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

/// Whether the word lies below the end of user space.
#[inline]
pub(crate) fn access_ok(word: Word) -> bool {
    arch::access_ok(word.addr(), word.size().bytes())
}

/// Copies in a struct of which the user has `user_size` bytes: of a shorter one the rest is zero, of
/// a longer one what we do not know has to be zero.
///
/// # Errors
///
/// `EFAULT`: the memory is not readable. `E2BIG`: something is set in the part that we do not know.
///
/// # Context
///
/// Process context, no locks held. May sleep: faults the memory in.
#[inline]
pub(crate) fn copy_struct_from_user<T: FromBytes>(addr: usize, user_size: usize) -> Result<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: `value` has room for a `T`; the function checks the user's addresses.
    to_result(unsafe {
        helpers::rfutex_copy_struct_from_user(
            value.as_mut_ptr().cast(),
            size_of::<T>(),
            addr,
            user_size,
        )
    })?;
    // SAFETY: The function succeeded, so that it has written all bytes of `value`, and any bytes are
    // a `T`.
    Ok(unsafe { value.assume_init() })
}

/// Copies out a struct of which the user has room for `user_size` bytes: as much as there is room
/// for. What only the user knows is zeroed.
///
/// # Errors
///
/// `EFAULT`: the memory is not writable; part of it may have been written.
///
/// # Context
///
/// Process context, no locks held. May sleep: faults the memory in.
pub(crate) fn copy_struct_to_user<T: AsBytes>(addr: usize, user_size: usize, value: &T) -> Result {
    let bytes = value.as_bytes();
    // SAFETY: `bytes` are valid for their length; the function checks the user's addresses.
    to_result(unsafe {
        helpers::rfutex_copy_struct_to_user(addr, user_size, bytes.as_ptr().cast(), bytes.len())
    })
}

/// Reads a word with one load, by the function for its size: it is never seen half changed.
macro_rules! get {
    ($word:expr, $u8:ident, $u16:ident, $u32:ident, $u64:ident) => {{
        let addr = $word.addr();
        macro_rules! get_as {
            ($type:ty, $get:ident) => {{
                let mut value: $type = 0;
                // SAFETY: `value` is valid; `get_user()` checks the address.
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

/// Reads the word without faulting it in.
///
/// # Errors
///
/// `EFAULT`: it is not mapped at the moment; [`fault_in`] tells whether it can be.
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

/// Why a word was not found to be equal to a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// It has another value.
    Changed,
    /// It is not in memory at the moment.
    NotInMemory,
}

impl Mismatch {
    /// Brings `word` into memory if that is what was wrong, so that the caller can begin again: with
    /// the key, since another page may have come.
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

/// Compares the word with `val`, without faulting it in.
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

/// How often a word may change under [`update_inatomic`].
const UPDATE_TRIES: u32 = 64;

/// Replaces the word's value by `new(value)` in one step, without faulting it in. Returns the value
/// that it had.
///
/// # Errors
///
/// - `EFAULT`: it is not mapped for writing at the moment; [`fault_in_writable`] tells whether it
///   can be.
/// - `EAGAIN`: others kept changing it.
/// - `EINVAL`: this architecture cannot do that with a word of this size.
///
/// # Context
///
/// Any, locks held or not. Does not sleep.
pub(crate) fn update_inatomic(word: Word, new: impl Fn(u64) -> u64) -> Result<u64> {
    // SAFETY: May be called in any context, and is undone below.
    unsafe { helpers::rfutex_pagefault_disable() };
    let old = update(word, new);
    // SAFETY: Pairs with the one above.
    unsafe { helpers::rfutex_pagefault_enable() };
    old
}

fn update(word: Word, new: impl Fn(u64) -> u64) -> Result<u64> {
    macro_rules! cmpxchg_as {
        ($type:ty, $cmpxchg:ident, $old:expr) => {{
            let mut value = $old as $type;
            // The new value is cut to the word's size.
            let new = new($old) as $type;
            // SAFETY: `value` is valid. The address is the user's: `get_user()` has just checked it,
            // in `read_inatomic()`.
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
/// `EFAULT`: nothing writable there. `EINTR`: the task was killed. Others as `fixup_user_fault()`
/// gives them.
///
/// # Context
///
/// Process context, no locks held. May sleep: takes mmap_lock.
pub(crate) fn fault_in_writable(word: Word) -> Result {
    let lock = MmapLock::take()?;
    // The page may be long in coming, from a file system or by userfaultfd(2): without this, the
    // fault would sleep with mmap_lock held, and could not be killed, or fail.
    let mut unlocked = false;
    // SAFETY: It is the current task's mm, whose mmap_lock is held. The function may drop that, and
    // sets `unlocked` then, but has it again when it returns.
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
/// `EFAULT`: nothing readable there.
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
