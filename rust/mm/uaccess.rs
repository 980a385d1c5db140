// SPDX-License-Identifier: GPL-2.0

//! A word in user memory.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use crate::{
    bindings as helpers, lab,
    mm::arch,
    request::{
        Size,
        Word, //
    },
};
use core::mem::MaybeUninit;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    transmute::FromBytes,
    uaccess::UserSlice, //
};

/// Whether the `size` bytes at `addr`, a multiple of `size`, lie below the end of user space.
#[inline]
pub(crate) fn access_ok(addr: usize, size: usize) -> bool {
    arch::access_ok(addr, size)
}

/// Checks that `len` bytes of user memory are zero.
///
/// # Errors
///
/// `E2BIG`: one is not. `EFAULT`: one cannot be read.
///
/// # Context
///
/// May sleep: faults the memory in.
pub(crate) fn check_zeroed(ptr: UserPtr, len: usize) -> Result {
    // SAFETY: The function checks the range.
    match unsafe { bindings::check_zeroed_user(ptr.as_const_ptr(), len) } {
        1 => Ok(()),
        0 => Err(E2BIG),
        errno => Err(Error::from_errno(errno)),
    }
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

/// Room for a struct that is copied in, where it is then looked at: moving it costs as much as
/// copying it in.
pub(crate) struct Room<T>(MaybeUninit<T>);

impl<T: FromBytes> Room<T> {
    /// Nothing in it.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// Puts `value` in.
    pub(crate) fn put(&mut self, value: T) -> &T {
        self.0.write(value)
    }

    /// Copies it in from user memory.
    ///
    /// # Errors
    ///
    /// `EFAULT`: it is not readable.
    ///
    /// # Context
    ///
    /// May sleep: faults the memory in.
    #[inline(always)]
    pub(crate) fn copy_in(&mut self, ptr: UserPtr) -> Result<&T> {
        let copy = match size_of::<T>() {
            32 => helpers::rfutex_copy_in_32,
            48 => helpers::rfutex_copy_in_48,
            56 => helpers::rfutex_copy_in_56,
            64 => helpers::rfutex_copy_in_64,
            _ => {
                let value = UserSlice::new(ptr, size_of::<T>()).reader().read()?;
                return Ok(self.put(value));
            }
        };
        // SAFETY: The function of that size writes so many bytes; it checks the address.
        match unsafe { copy(self.0.as_mut_ptr().cast(), ptr.as_const_ptr().addr()) } {
            // SAFETY: All bytes are there, and any bytes are a `T`.
            0 => Ok(unsafe { self.0.assume_init_ref() }),
            _ => Err(EFAULT),
        }
    }
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
pub(crate) fn read_inatomic(word: &Word) -> Result<u64> {
    if lab::fault(lab::Point::ReadWord) {
        return Err(EFAULT);
    }
    // The commonest first.
    if word.size() != Size::U32 {
        return read_other_inatomic(*word).ok_or(EFAULT);
    }
    let mut value = 0;
    // SAFETY: `value` is valid; `get_user()` checks the address.
    match unsafe { helpers::rfutex_get_user_inatomic_u32(&raw mut value, word.addr()) } {
        0 => Ok(u64::from(value)),
        _ => Err(EFAULT),
    }
}

// What fits into registers comes back: not a `Result`.
#[cold]
#[inline(never)]
fn read_other_inatomic(word: Word) -> Option<u64> {
    get!(
        word,
        rfutex_get_user_inatomic_u8,
        rfutex_get_user_inatomic_u16,
        rfutex_get_user_inatomic_u32,
        rfutex_get_user_inatomic_u64
    )
    .ok()
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
pub(crate) fn update_inatomic(word: &Word, new: impl Fn(u64) -> u64) -> Result<u64> {
    // SAFETY: Undone below.
    unsafe { helpers::rfutex_pagefault_disable() };
    let old = update(word, new);
    // SAFETY: Pairs with the one above.
    unsafe { helpers::rfutex_pagefault_enable() };
    old
}

fn update(word: &Word, new: impl Fn(u64) -> u64) -> Result<u64> {
    macro_rules! cmpxchg_as {
        ($type:ty, $cmpxchg:ident, $old:expr) => {{
            let mut value = $old as $type;
            // The new value is cut to the word's size.
            let new = new($old) as $type;
            // SAFETY: `value` is valid; the address was checked when the key was made.
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
/// `EFAULT`: nothing writable there. Others as `fixup_user_fault()` gives them.
///
/// # Context
///
/// May sleep: takes mmap_lock. Must not be called under a lock.
pub(crate) fn fault_in_writable(word: &Word) -> Result {
    let task = kernel::current!();
    let mm = task.mm().ok_or(EFAULT)?;
    let _guard = mm.mmap_read_lock();
    // SAFETY: `mm` is the current task's, and its mmap_lock is held. Without `unlocked`, it stays
    // so.
    to_result(unsafe {
        bindings::fixup_user_fault(
            mm.as_raw(),
            word.addr(),
            bindings::fault_flag_FAULT_FLAG_WRITE,
            core::ptr::null_mut(),
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
/// May sleep. Must not be called under a lock.
pub(crate) fn fault_in(word: &Word) -> Result {
    get!(
        word,
        rfutex_get_user_u8,
        rfutex_get_user_u16,
        rfutex_get_user_u32,
        rfutex_get_user_u64
    )
    .map(|_: u64| ())
}
