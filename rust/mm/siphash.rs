// SPDX-License-Identifier: GPL-2.0

//! A keyed hash that does not tell its key, however many results are seen.
//!
//! C header: [`include/linux/siphash.h`](srctree/include/linux/siphash.h)

use crate::{
    bindings,
    mm::random, //
};

/// The key of the hash.
pub(crate) struct Key([u64; 2]);

impl Key {
    /// A key that nobody can guess.
    pub(crate) fn random() -> Self {
        Self([random::number(), random::number()])
    }

    /// The hash of `value`.
    pub(crate) fn hash(&self, value: u64) -> u64 {
        // SAFETY: The key is two numbers, as the function reads it.
        unsafe { bindings::rfutex_siphash_1u64(value, self.0.as_ptr()) }
    }
}
