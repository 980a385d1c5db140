// SPDX-License-Identifier: GPL-2.0

//! A vector of pinned values, which lies on the stack if it is small.

use super::version;
use core::{
    mem::MaybeUninit,
    pin::Pin,
    ptr, //
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    prelude::*, //
};
use pin_init::PinInit;

/// A pinned value, and the data that the caller keeps beside it.
struct Slot<T, D> {
    value: T,
    beside: D,
}

/// Values that are initialised in place and never move, each with data of the caller beside it.
///
/// # Invariants
///
/// The first `len` slots are initialised. Their values are pinned, and are dropped when this is
/// dropped.
pub(crate) struct PinnedVec<'m, T, D> {
    slots: &'m mut [MaybeUninit<Slot<T, D>>],
    len: usize,
}

/// Calls `f` with an empty vector for up to `capacity` values. If `capacity` is at most `N`, the
/// vector lies on the stack, and nothing is allocated.
///
/// The vector is only lent to `f`, so that `f` cannot leak it with `mem::forget()`, which would
/// leave pinned values behind that are never dropped.
///
/// # Errors
///
/// `ENOMEM`: `capacity` is more than `N`, and there is no memory.
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn with_capacity<T, D, const N: usize, R>(
    capacity: usize,
    f: impl FnOnce(&mut PinnedVec<'_, T, D>) -> R,
) -> Result<R> {
    if capacity <= N {
        let mut slots = [const { MaybeUninit::uninit() }; N];
        return Ok(f(&mut PinnedVec::new(&mut slots)));
    }
    if crate::lab::fault(crate::lab::Point::Allocate) {
        return Err(ENOMEM);
    }
    let mut memory = KVVec::with_capacity(capacity, GFP_KERNEL_ACCOUNT)?;
    let result = f(&mut PinnedVec::new(memory.spare_capacity_mut()));
    Ok(result)
}

impl<'m, T, D> PinnedVec<'m, T, D> {
    fn new(slots: &'m mut [MaybeUninit<Slot<T, D>>]) -> Self {
        // INVARIANT: `len` is 0, so no slot has to be initialised.
        Self { slots, len: 0 }
    }

    /// Adds a value, which `init` makes, and keeps `beside` beside it.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the vector is full. Otherwise the error of the initialiser.
    pub(crate) fn push<E>(&mut self, init: impl PinInit<T, E>, beside: D) -> Result
    where
        Error: From<E>,
    {
        let slot = self.slots.get_mut(self.len).ok_or(ENOSPC)?.as_mut_ptr();
        // SAFETY: The slot is not yet in use, so its `value` is free memory for a `T`. The value is
        // not moved after this, and is dropped before the memory is reused: only this vector has
        // access to the slots, and its destructor runs before `with_capacity` returns.
        unsafe { version::init_at(init, &raw mut (*slot).value)? };
        // SAFETY: The slot is not yet in use, so its `beside` is free memory for a `D`.
        unsafe { (&raw mut (*slot).beside).write(beside) };
        // INVARIANT: Both fields of the slot were just initialised.
        self.len += 1;
        Ok(())
    }

    /// The values, and the data beside each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Pin<&T>, &D)> {
        self.slots[..self.len].iter().map(|slot| {
            // SAFETY: By the type invariants, the first `len` slots are initialised.
            let slot = unsafe { slot.assume_init_ref() };
            // SAFETY: By the type invariants, the values are pinned.
            (unsafe { Pin::new_unchecked(&slot.value) }, &slot.beside)
        })
    }
}

impl<T, D> Drop for PinnedVec<'_, T, D> {
    fn drop(&mut self) {
        for slot in &mut self.slots[..self.len] {
            // SAFETY: By the type invariants, the first `len` slots are initialised. The vector is
            // being dropped, so this one is not used again.
            unsafe { ptr::drop_in_place(slot.as_mut_ptr()) };
            #[cfg(RFUTEX_LAB)]
            // SAFETY: The vector has exclusive access to the slot, and what was in it has been
            // dropped, so that it is not read again.
            unsafe {
                crate::lab::poison(slot.as_mut_ptr())
            };
        }
    }
}
