// SPDX-License-Identifier: GPL-2.0

//! A place on the stack for a pinned value, which is made there later, or not at all.

use super::version;
use core::{
    convert::Infallible,
    mem::MaybeUninit,
    pin::Pin, //
};
use pin_init::PinInit;

/// A place, and whether there is a value in it.
///
/// # Invariants
///
/// If `filled` is true, there is a value in the place. It is pinned, and is dropped when this is
/// dropped.
struct Slot<T> {
    place: MaybeUninit<T>,
    filled: bool,
}

/// An empty place, in which a value can be made once.
///
/// # Invariants
///
/// The slot is empty, and is dropped without being moved.
pub(crate) struct Vacant<'m, T>(&'m mut Slot<T>);

/// Calls `f` with an empty place. If `f` makes a value there, it is dropped when `f` has returned.
///
/// The place is only lent to `f`, so that `f` cannot leak the value with `mem::forget()`, which
/// would leave a pinned value behind that is never dropped.
#[inline(always)]
pub(crate) fn with<T, R>(f: impl FnOnce(Vacant<'_, T>) -> R) -> R {
    // INVARIANT: `filled` is false.
    let mut slot = Slot {
        place: MaybeUninit::uninit(),
        filled: false,
    };
    // INVARIANT: The slot is empty, and is a local variable that is not moved out of this function.
    f(Vacant(&mut slot))
}

impl<'m, T> Vacant<'m, T> {
    /// Makes a value in the place, by means of `init`.
    #[inline(always)]
    pub(crate) fn fill(self, init: impl PinInit<T, Infallible>) -> Pin<&'m T> {
        let slot = self.0;
        let place = slot.place.as_mut_ptr();
        // SAFETY: By the type invariants, the slot is empty, so the place is free memory for a `T`,
        // and the slot is dropped without being moved. Its destructor drops the value before the
        // memory is reused.
        let Ok(()) = unsafe { version::init_at(init, place) };
        // INVARIANT: The value was just made. It is pinned, because the slot does not move.
        slot.filled = true;
        // SAFETY: The value was just made. It is not moved until the slot's destructor drops it in
        // place.
        unsafe { Pin::new_unchecked(&*place) }
    }
}

impl<T> Drop for Slot<T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.filled {
            // SAFETY: By the type invariants, there is a value. The slot is being dropped, so the
            // value is not used again.
            unsafe { self.place.assume_init_drop() };
            #[cfg(RFUTEX_LAB)]
            // SAFETY: The slot has exclusive access to the place, and what was in it has been
            // dropped, so that it is not read again.
            unsafe {
                crate::lab::poison(self.place.as_mut_ptr())
            };
        }
    }
}
