// SPDX-License-Identifier: GPL-2.0

//! A place on the stack for a pinned value that is made later, or not at all.

use core::{
    convert::Infallible,
    mem::MaybeUninit,
    pin::Pin, //
};
use pin_init::PinInit;

/// The place, and whether it has a value.
///
/// # Invariants
///
/// If `filled`, the place has a value, which is pinned, and dropped when this is.
struct Slot<T> {
    place: MaybeUninit<T>,
    filled: bool,
}

/// A place without a value, which can be given one, once.
///
/// # Invariants
///
/// The slot is empty, and dropped where it is.
pub(crate) struct Vacant<'m, T>(&'m mut Slot<T>);

/// Calls `f` with an empty place. If `f` puts a value there, it is dropped when `f` has returned.
///
/// The place is only lent: nobody can forget it, and so leave a pinned value behind undropped.
#[inline(always)]
pub(crate) fn with<T, R>(f: impl FnOnce(Vacant<'_, T>) -> R) -> R {
    // INVARIANT: It is empty.
    let mut slot = Slot {
        place: MaybeUninit::uninit(),
        filled: false,
    };
    // INVARIANT: So it is; and it does not leave this function.
    f(Vacant(&mut slot))
}

impl<'m, T> Vacant<'m, T> {
    /// Makes the value.
    #[inline(always)]
    pub(crate) fn fill(self, init: impl PinInit<T, Infallible>) -> Pin<&'m T> {
        let slot = self.0;
        let place = slot.place.as_mut_ptr();
        // SAFETY: The place is free memory for a `T`. It stays where it is, and what is in it is
        // dropped before the memory is used for anything else: the slot's destructor runs before
        // `with` returns.
        let Ok(()) = unsafe { init.__init(place) };
        // INVARIANT: It was just made.
        slot.filled = true;
        // SAFETY: It was just made, and is pinned for the same reasons.
        unsafe { Pin::new_unchecked(&*place) }
    }
}

impl<T> Drop for Slot<T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.filled {
            // SAFETY: By the type invariants, there is a value; nobody uses it after this.
            unsafe { self.place.assume_init_drop() };
            #[cfg(RFUTEX_LAB)]
            // SAFETY: The place is ours, and what was in it has been dropped.
            unsafe {
                crate::lab::poison(self.place.as_mut_ptr())
            };
        }
    }
}
