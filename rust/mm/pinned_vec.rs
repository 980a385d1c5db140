// SPDX-License-Identifier: GPL-2.0

//! A vector of pinned values: on the stack where they are few.

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

/// A pinned value, and what the caller keeps beside it.
struct Slot<T, D> {
    value: T,
    beside: D,
}

/// Values that are initialised in place and never move, in memory that was made for them, each with
/// a note beside it.
///
/// # Invariants
///
/// The first `len` slots are initialised, their values pinned, and dropped when this is.
pub(crate) struct PinnedVec<'m, T, D> {
    slots: &'m mut [MaybeUninit<Slot<T, D>>],
    len: usize,
}

/// Calls `f` with a vector for up to `capacity` values; up to `N` of them need no allocation.
///
/// The vector is only lent: nobody can forget it, and so leave pinned values behind undropped.
///
/// # Errors
///
/// `ENOMEM`: there are more than `N`, and no memory for them.
///
/// # Context
///
/// May sleep.
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
        // INVARIANT: Nothing is initialised yet.
        Self { slots, len: 0 }
    }

    /// Adds a value.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: it is full. Or the initialiser's.
    pub(crate) fn push<E>(&mut self, init: impl PinInit<T, E>, beside: D) -> Result
    where
        Error: From<E>,
    {
        let slot = self.slots.get_mut(self.len).ok_or(ENOSPC)?.as_mut_ptr();
        // SAFETY: The slot is free memory for a `T`. It stays where it is, and what is in it is
        // dropped before the memory is used for anything else: nobody but us has the slots, and
        // our destructor runs before `with_capacity` returns.
        unsafe { init.__init(&raw mut (*slot).value)? };
        // SAFETY: The slot has free memory for a `D` as well.
        unsafe { (&raw mut (*slot).beside).write(beside) };
        // INVARIANT: The slot was just initialised.
        self.len += 1;
        Ok(())
    }

    /// The values, and what is beside each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Pin<&T>, &D)> {
        self.slots[..self.len].iter().map(|slot| {
            // SAFETY: By the type invariants, it is initialised.
            let slot = unsafe { slot.assume_init_ref() };
            // SAFETY: By the type invariants, it is pinned.
            (unsafe { Pin::new_unchecked(&slot.value) }, &slot.beside)
        })
    }
}

impl<T, D> Drop for PinnedVec<'_, T, D> {
    fn drop(&mut self) {
        for slot in &mut self.slots[..self.len] {
            // SAFETY: By the type invariants, it is initialised; it is not used after this.
            unsafe { ptr::drop_in_place(slot.as_mut_ptr()) };
            #[cfg(RFUTEX_LAB)]
            // SAFETY: The slot is ours, and what was in it has been dropped.
            unsafe {
                crate::lab::poison(slot.as_mut_ptr())
            };
        }
    }
}
