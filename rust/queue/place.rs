// SPDX-License-Identifier: GPL-2.0

//! Places for waiters, which are lent to the operations.
//!
//! A waiter names its task, and other tasks follow links to it. So it must have left its queue
//! before its memory or its task goes. What makes a waiter is only lent to a function: it cannot be
//! forgotten, and whatever was made in it is dropped when that function returns.

use super::Waiter;
use crate::{
    key::OwnedKey,
    mm::{
        pinned_vec::{
            self,
            PinnedVec, //
        },
        slot::{
            self,
            Vacant, //
        },
    },
};
use core::pin::Pin;
use kernel::prelude::*;

/// A place for one waiter, on the stack.
pub(crate) struct Place<'m, 't>(Vacant<'m, Waiter<'t>>);

/// Calls `f` with a place for a waiter. A waiter that `f` makes there is dropped when `f` has
/// returned, for which no lock must be held.
#[inline(always)]
pub(crate) fn with_place<'t, R>(f: impl FnOnce(Place<'_, 't>) -> R) -> R {
    slot::with(|vacant| f(Place(vacant)))
}

impl<'m, 't> Place<'m, 't> {
    /// Makes the current task a waiter on `key`, met by wakes whose mask shares a bit with `mask`.
    #[inline(always)]
    pub(crate) fn prepare(self, key: OwnedKey, mask: u64) -> Pin<&'m Waiter<'t>> {
        self.0.fill(Waiter::current(key, mask))
    }
}

/// Places for several waiters, each with something beside it that the operation keeps there.
pub(crate) struct Places<'p, 'm, 't, D>(&'p mut PinnedVec<'m, Waiter<'t>, D>);

/// Calls `f` with places for up to `capacity` waiters; up to `N` of them need no allocation.
///
/// # Errors
///
/// `ENOMEM`: there are more than `N`, and no memory for them.
///
/// # Context
///
/// May sleep.
pub(crate) fn with_places<'t, D, const N: usize, R>(
    capacity: usize,
    f: impl FnOnce(Places<'_, '_, 't, D>) -> R,
) -> Result<R> {
    pinned_vec::with_capacity::<_, _, N, _>(capacity, |waiters| f(Places(waiters)))
}

impl<'t, D> Places<'_, '_, 't, D> {
    /// Makes the current task a waiter, as [`Place::prepare`] does, in the next place.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: there are no more places.
    pub(crate) fn prepare(&mut self, key: OwnedKey, mask: u64, beside: D) -> Result {
        self.0.push(Waiter::current(key, mask), beside)
    }

    /// The waiters, and what is beside each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Pin<&Waiter<'t>>, &D)> {
        self.0.iter()
    }
}
