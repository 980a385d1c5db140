// SPDX-License-Identifier: GPL-2.0

//! A table of boxes that are found by small numbers.
//!
//! The `XArray` of the kernel crate can neither choose a free index nor charge its memory to the
//! memory cgroup of the task that needs it.
//!
//! C header: [`include/linux/xarray.h`](srctree/include/linux/xarray.h)

#[cfg(RFUTEX_KUNIT)]
mod tests;

use crate::{
    bindings as helpers,
    lab, //
};
use core::{
    iter,
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    alloc::{
        allocator::Kmalloc,
        Allocator, //
    },
    bindings,
    error::to_result,
    prelude::*,
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

/// A pinned box, as the index owns it.
type Owned<T, A = Kmalloc> = Pin<Box<T, A>>;

/// Boxes in numbered slots. A new box gets the lowest slot that is free, so that the slots that are
/// in use lie close together, and each costs little more than a pointer.
///
/// All methods may be called at the same time by several tasks. Only one of several calls of
/// [`Self::erase`] for a slot gets the box, and with it the right to free the value. What the
/// methods cannot know is whether somebody else still uses the value. So they hand out pointers,
/// and who dereferences one has to see to it, by a lock of the caller, that the value has not been
/// erased and freed meanwhile.
///
/// # Invariants
///
/// `slots` is an initialised xarray that chooses free indices. Each entry comes from
/// `Owned::<T, A>::into_foreign`, and the index owns it.
#[pin_data(PinnedDrop)]
pub(crate) struct Index<T: 'static, A: Allocator + 'static = Kmalloc> {
    #[pin]
    slots: Opaque<bindings::xarray>,
    /// The last slot that may be used.
    last: u32,
    _boxes: PhantomData<Owned<T, A>>,
}

// SAFETY: The index owns its values, and hands out only boxes of them, and pointers. The xarray
// does not care which task uses it.
unsafe impl<T: Send, A: Allocator> Send for Index<T, A> {}

// SAFETY: The xarray has a lock of its own. A task that shares the index can take boxes out that
// another task has put in, so the values have to be `Send`. It never gets a reference to a value
// that another task can get as well, so that they need not be `Sync`.
unsafe impl<T: Send, A: Allocator> Sync for Index<T, A> {}

impl<T, A: Allocator> Index<T, A> {
    /// An empty index. Its slots are 0 to `last`.
    pub(crate) fn new(last: u32) -> impl PinInit<Self> {
        // The two low bits of an entry tell the xarray whether it is a pointer.
        const { assert!(<Owned<T, A> as ForeignOwnable>::FOREIGN_ALIGN >= 4) };
        // INVARIANT: The xarray is initialised, with flags that make it choose free indices, and it
        // has no entries.
        pin_init!(Self {
            // SAFETY: The closure is called with a pointer to memory for an xarray, which does not
            // move later.
            slots <- Opaque::ffi_init(|slots| unsafe {
                bindings::xa_init_flags(slots, helpers::RFUTEX_XA_FLAGS)
            }),
            last,
            _boxes: PhantomData,
        })
    }

    /// Puts `value` into the lowest free slot. Returns the slot, and a pointer to the value.
    ///
    /// From here on, other tasks can find the value and erase it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory. `ENOSPC`: all slots are in use. The value is dropped then.
    ///
    /// # Context
    ///
    /// Process context, no spinlocks held. May sleep. What is allocated is charged to the memory
    /// cgroup of the current task.
    pub(crate) fn insert(&self, value: Owned<T, A>) -> Result<(u32, NonNull<T>)> {
        if lab::fault(lab::Point::Allocate) {
            return Err(ENOMEM);
        }
        let value = value.into_foreign();
        let mut slot = 0;
        // INVARIANT: If this succeeds, the index owns the entry, which comes from `into_foreign`.
        // SAFETY: By the type invariants, the xarray is initialised, and chooses free indices.
        // `slot` is valid for writes. The entry is a pointer that is aligned as entries have to be,
        // which `new` has asserted.
        let stored = to_result(unsafe {
            helpers::rfutex_xa_alloc(self.slots.get(), &raw mut slot, value, self.last)
        });
        match stored {
            // SAFETY: `into_foreign` does not return null pointers.
            Ok(()) => Ok((slot, unsafe { NonNull::new_unchecked(value.cast()) })),
            Err(error) => {
                // SAFETY: The pointer comes from `into_foreign`. It was not stored, so that nobody
                // else has it.
                drop(unsafe { Owned::<T, A>::from_foreign(value) });
                Err(if error == EBUSY { ENOSPC } else { error })
            }
        }
    }

    /// The value in `slot`; `None` if there is none.
    ///
    /// # Context
    ///
    /// Any context. Does not sleep.
    pub(crate) fn get(&self, slot: u32) -> Option<NonNull<T>> {
        // SAFETY: By the type invariants, the xarray is initialised.
        let value = unsafe { bindings::xa_load(self.slots.get(), slot as usize) };
        NonNull::new(value.cast())
    }

    /// Takes the value out of `slot`, which is free then; `None` if there is none.
    ///
    /// Others may still have pointers to the value, so the caller must not drop it before they
    /// have stopped using it.
    ///
    /// # Context
    ///
    /// Process context. Does not sleep.
    pub(crate) fn erase(&self, slot: u32) -> Option<Owned<T, A>> {
        // SAFETY: By the type invariants, the xarray is initialised.
        let value = unsafe { bindings::xa_erase(self.slots.get(), slot as usize) };
        // SAFETY: By the type invariants, an entry comes from `into_foreign`, and the index has
        // owned it. It no longer does, because the entry was just removed, and no other call can
        // have removed the same one.
        unsafe { Owned::<T, A>::try_from_foreign(value) }
    }

    /// All values and their slots, in the order of the slots.
    ///
    /// No lock is held between two values, so the caller may sleep there. What is inserted or
    /// erased meanwhile may be left out or not.
    ///
    /// # Context
    ///
    /// Any context. Does not sleep.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, NonNull<T>)> + '_ {
        let mut slot = 0;
        let mut first = true;
        iter::from_fn(move || {
            let find = if first {
                bindings::xa_find
            } else {
                bindings::xa_find_after
            };
            first = false;
            let last = self.last as usize;
            // SAFETY: By the type invariants, the xarray is initialised. `slot` is valid for reads
            // and writes.
            let value =
                unsafe { find(self.slots.get(), &raw mut slot, last, bindings::XA_PRESENT) };
            Some((slot as u32, NonNull::new(value.cast())?))
        })
    }

    /// Takes all values out, in the order of their slots.
    ///
    /// What [`Self::erase`] and [`Self::iter`] say holds here as well. Values that are not reached
    /// stay in the index.
    pub(crate) fn drain(&self) -> impl Iterator<Item = Owned<T, A>> + '_ {
        self.iter().filter_map(|(slot, _)| self.erase(slot))
    }
}

#[pinned_drop]
impl<T, A: Allocator> PinnedDrop for Index<T, A> {
    /// Drops all values.
    fn drop(self: Pin<&mut Self>) {
        self.drain().for_each(drop);
        // SAFETY: By the type invariants, the xarray is initialised. It is empty, so that this only
        // frees its own memory, and it is not used again.
        unsafe { bindings::xa_destroy(self.slots.get()) };
    }
}
