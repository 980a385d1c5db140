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

/// Whether `size` bytes at `addr` lie below the end of user space.
#[inline]
pub(crate) fn access_ok(addr: usize, size: usize) -> bool {
    // SAFETY: Compares numbers.
    unsafe { helpers::rfutex_access_ok(addr, size) }
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
