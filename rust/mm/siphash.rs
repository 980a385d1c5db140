// SPDX-License-Identifier: GPL-2.0

//! A keyed hash that does not reveal its key, even to somebody who sees many results.
//!
//! C header: [`include/linux/siphash.h`](srctree/include/linux/siphash.h)

use crate::{
    bindings,
    mm::random, //
};

/// A key of the hash.
pub(crate) struct Key([u64; 2]);

impl Key {
    /// A random key, which nobody can guess.
    pub(crate) fn random() -> Self {
        Self([random::number(), random::number()])
    }

    /// The hash of `value` with this key.
    pub(crate) fn hash(&self, value: u64) -> u64 {
        // SAFETY: The pointer is valid for reads of two numbers, which is what the function reads.
        unsafe { bindings::rfutex_siphash_1u64(value, self.0.as_ptr()) }
    }
}
