// SPDX-License-Identifier: GPL-2.0

//! Lists of sets whose pollers are to be woken after a lock was released.

use super::set::Set;
use core::ptr;
use kernel::sync::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    Arc,
    ArcBorrow, //
};

/// Marks the end of a list. It is not null, because null means that a set is in no list.
const TAIL: *mut Set = ptr::without_provenance_mut(8);

/// The link from a set to the next one in a list; null while the set is in no list.
pub(super) struct Link(Atomic<*mut Set>);

impl Link {
    /// The link of a set that is in no list.
    pub(super) const fn new() -> Self {
        Self(Atomic::new(ptr::null_mut()))
    }
}

/// Sets whose pollers are woken when this is dropped. There can be any number of them, and nothing
/// is allocated. A set can be in only one list at a time. If it is already in another one, its
/// pollers are woken by that one.
///
/// This must not be leaked with `mem::forget()`.
///
/// # Invariants
///
/// `first`, and the links that follow it, lead to [`TAIL`] through sets. This owns a reference on
/// each of them, and their links.
pub(crate) struct Sets {
    first: *mut Set,
}

impl Sets {
    /// An empty list.
    #[inline]
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no set in front of `TAIL`.
        Self { first: TAIL }
    }

    /// Adds a set, which is locked and has a new event.
    ///
    /// If the set is in another list, its pollers are left to that one. They do not miss the event:
    /// they look for events under the set's lock. If they do so before the caller took that lock,
    /// and because of a wake that came from the other list, the caller sees that the set is in no
    /// list any more.
    pub(crate) fn add(&mut self, set: ArcBorrow<'_, Set>) {
        let link = &set.link.0;
        if link.cmpxchg(ptr::null_mut(), self.first, Relaxed).is_ok() {
            // INVARIANT: The set's link leads to what was the first set, and the reference on the
            // set is owned by this list from here on.
            self.first = Arc::into_raw(set.into()).cast_mut();
        }
    }

    /// Wakes the pollers of all sets.
    #[cold]
    #[inline(never)]
    fn wake(&mut self) {
        while self.first != TAIL {
            // SAFETY: By the type invariants, this owns a reference on the set, which came from
            // `into_raw`.
            let set = unsafe { Arc::from_raw(self.first) };
            // This comes before the pollers are woken: see `add`.
            // INVARIANT: The set is taken out of the list. The link led to the next one.
            self.first = set.link.0.xchg(ptr::null_mut(), Relaxed);
            set.pollers.wake();
        }
    }
}

impl Drop for Sets {
    #[inline]
    fn drop(&mut self) {
        if self.first != TAIL {
            self.wake();
        }
    }
}
