// SPDX-License-Identifier: GPL-2.0

//! A place on the stack for a pinned value that may be made later.

use core::{
    convert::Infallible,
    mem::MaybeUninit,
    pin::Pin, //
};
use pin_init::PinInit;

/// A place for a value that never moves.
///
/// # Invariants
///
/// If `filled`, the place has a value, which is pinned, and dropped when this is.
pub(crate) struct Slot<'m, T> {
    place: &'m mut MaybeUninit<T>,
    filled: bool,
}

/// Calls `f` with an empty place.
///
/// The place is only lent: nobody can forget it, and so leave a pinned value behind undropped.
#[inline(always)]
pub(crate) fn with<T, R>(f: impl FnOnce(&mut Slot<'_, T>) -> R) -> R {
    let mut place = MaybeUninit::uninit();
    // INVARIANT: It is empty.
    let mut slot = Slot {
        place: &mut place,
        filled: false,
    };
    f(&mut slot)
}

impl<T> Slot<'_, T> {
    /// Makes the value. One that is there already is dropped.
    #[inline(always)]
    pub(crate) fn fill(&mut self, init: impl PinInit<T, Infallible>) -> Pin<&T> {
        if self.filled {
            self.empty();
        }
        let place = self.place.as_mut_ptr();
        // SAFETY: The place is free memory for a `T`. It stays where it is, and what is in it is
        // dropped before the memory is used for anything else: our destructor runs before `with`
        // returns.
        let Ok(()) = unsafe { init.__init(place) };
        // INVARIANT: It was just made.
        self.filled = true;
        // SAFETY: As above.
        unsafe { Pin::new_unchecked(&*place) }
    }

    /// The value, if there is one.
    #[inline]
    pub(crate) fn get(&self) -> Option<Pin<&T>> {
        // SAFETY: By the type invariants, it is there and pinned.
        self.filled
            .then(|| unsafe { Pin::new_unchecked(self.place.assume_init_ref()) })
    }

    #[cold]
    #[inline(never)]
    fn empty(&mut self) {
        self.drop_value();
    }

    #[inline(always)]
    fn drop_value(&mut self) {
        if core::mem::take(&mut self.filled) {
            // SAFETY: By the type invariants, there was a value; nobody uses it after this.
            unsafe { self.place.assume_init_drop() };
        }
    }
}

impl<T> Drop for Slot<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.drop_value();
    }
}
