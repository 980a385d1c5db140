// SPDX-License-Identifier: GPL-2.0

//! A word in user memory.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use crate::{
    bindings as helpers, lab,
    request::{
        Size,
        Word, //
    },
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// Whether a word at `addr` lies in user space, as futex(2) sees it: on x86 the first word behind
/// the last page does.
#[inline]
pub(crate) fn is_user_addr(addr: usize) -> bool {
    // SAFETY: Compares numbers.
    unsafe { helpers::rfutex_is_user_addr(addr) }
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

#[inline]
fn get(word: &Word) -> Result<u64> {
    // Each as one load: a word is never seen half changed.
    macro_rules! get_as {
        ($type:ty, $get:ident) => {{
            let mut value: $type = 0;
            // SAFETY: `value` is valid; `get_user()` checks the address.
            to_result(unsafe { helpers::$get(&raw mut value, word.addr()) })?;
            Ok(u64::from(value))
        }};
    }
    match word.size() {
        Size::U8 => get_as!(u8, rfutex_get_user_u8),
        Size::U16 => get_as!(u16, rfutex_get_user_u16),
        Size::U32 => get_as!(u32, rfutex_get_user_u32),
        Size::U64 => get_as!(u64, rfutex_get_user_u64),
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
    // SAFETY: Undone below.
    unsafe { helpers::rfutex_pagefault_disable() };
    let value = get(word);
    // SAFETY: Pairs with the one above.
    unsafe { helpers::rfutex_pagefault_enable() };
    value
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
    if lab::fault(lab::Point::ReadWord) {
        return Err(EFAULT);
    }
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
    let mut old = get(word)?;
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
    get(word).map(|_| ())
}
