// SPDX-License-Identifier: GPL-2.0

//! Random numbers.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)

use kernel::bindings;

/// A random number that nobody can guess.
pub(crate) fn number() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: `bytes` is valid for writes of the length that is given.
    unsafe { bindings::get_random_bytes(bytes.as_mut_ptr().cast(), bytes.len()) };
    u64::from_ne_bytes(bytes)
}
