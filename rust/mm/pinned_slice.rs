// SPDX-License-Identifier: GPL-2.0

//! A slice of pinned values, of a length known only at run time.

use core::ops::Deref;
use kernel::{
    alloc::Flags,
    prelude::*, //
};
use pin_init::PinInit;

/// A slice whose elements are initialised in place and never move.
///
/// # Invariants
///
/// The vector is never given out mutably and never grows.
pub(crate) struct PinnedSlice<T> {
    elements: KVVec<T>,
}

impl<T> PinnedSlice<T> {
    /// Makes `len` elements, each from an initialiser that `init` gives, in memory allocated with
    /// `flags`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. Or the initialiser's.
    pub(crate) fn new<I, E>(len: usize, flags: Flags, init: impl Fn() -> I) -> Result<Self>
    where
        I: PinInit<T, E>,
        Error: From<E>,
    {
        let mut elements = KVVec::with_capacity(len, flags)?;
        for i in 0..len {
            let slot = elements.spare_capacity_mut()[0].as_mut_ptr();
            // SAFETY: The slot is free memory for a `T`, which stays where it is: the capacity is
            // there, so the vector does not grow, and by the type invariants it is never moved out
            // of. When the initialiser fails, the slot stays outside of the vector's length.
            unsafe { init().__init(slot)? };
            // SAFETY: The element was just initialised, and `i < len <= capacity`.
            unsafe { elements.inc_len(1) };
            debug_assert!(elements.len() == i + 1);
        }
        // INVARIANT: `elements` stays private from here on.
        Ok(Self { elements })
    }
}

impl<T> Deref for PinnedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.elements
    }
}
