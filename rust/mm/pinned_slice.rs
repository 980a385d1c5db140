// SPDX-License-Identifier: GPL-2.0

//! A slice of pinned values whose length is known only at run time.

use super::version;
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
/// No mutable reference to the vector is given out, and the vector never grows.
pub(crate) struct PinnedSlice<T> {
    elements: KVVec<T>,
}

impl<T> PinnedSlice<T> {
    /// Makes a slice of `len` elements in memory that is allocated with `flags`. Calls `init` for
    /// the initialiser of each element.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory. Otherwise the error of the initialiser.
    ///
    /// # Context
    ///
    /// May sleep, if `flags` allow it.
    pub(crate) fn new<I, E>(len: usize, flags: Flags, init: impl Fn() -> I) -> Result<Self>
    where
        I: PinInit<T, E>,
        Error: From<E>,
    {
        let mut elements = KVVec::with_capacity(len, flags)?;
        for i in 0..len {
            let slot = elements.spare_capacity_mut()[0].as_mut_ptr();
            // SAFETY: The slot is memory of the vector that is not yet in use, and large enough and
            // aligned for a `T`. The element is not moved after this: the vector does not grow,
            // because it has the capacity, and by the type invariants nothing is moved out of it.
            // If the initialiser fails, the vector's length does not include the slot, so it is not
            // used.
            unsafe { version::init_at(init(), slot)? };
            // SAFETY: The next element was just initialised, and `i < len <= capacity`.
            unsafe { elements.inc_len(1) };
            debug_assert!(elements.len() == i + 1);
        }
        // INVARIANT: The field is private, and only `deref` gives out a reference to the elements,
        // which is a shared one.
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
