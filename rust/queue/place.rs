// SPDX-License-Identifier: GPL-2.0

//! Places for waiters, which are lent to the operations.
//!
//! A waiter has a pointer to its task, and other tasks follow links to the waiter. So it must have
//! left its queue before its memory is reused or its task ends. To ensure that, waiters can only be
//! made in a place that is lent to a function. The function cannot leak a waiter with
//! `mem::forget()`: what was made in the place is dropped when the function returns.

use super::{
    About,
    Waiter, //
};
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
    owner::Owner,
};
use core::pin::Pin;
use kernel::prelude::*;

/// A place for one waiter, on the stack.
pub(crate) struct Place<'m, 't>(Vacant<'m, Waiter<'t>>);

/// Calls `f` with a place for one waiter. If `f` makes a waiter there, it is dropped when `f` has
/// returned.
///
/// # Context
///
/// Process context, no locks held. May sleep, when the waiter is dropped.
#[inline(always)]
pub(crate) fn with_place<'t, R>(f: impl FnOnce(Place<'_, 't>) -> R) -> R {
    slot::with(|vacant| f(Place(vacant)))
}

impl<'m, 't> Place<'m, 't> {
    /// Makes the current task a waiter on `key`, to be woken by wakes whose mask has a bit in
    /// common with `mask`. A listing shows what is in `about`, and the `owner`. The waiter is in
    /// no queue yet.
    #[inline(always)]
    pub(crate) fn prepare(
        self,
        key: OwnedKey,
        mask: u64,
        about: About,
        owner: Option<Owner>,
    ) -> Pin<&'m Waiter<'t>> {
        self.0.fill(Waiter::current(key, mask, about, owner))
    }
}

/// Places for several waiters.
pub(crate) struct Places<'p, 'm, 't>(&'p mut PinnedVec<'m, Waiter<'t>, ()>);

/// Calls `f` with places for up to `capacity` waiters. The waiters that `f` makes there are dropped
/// when `f` has returned. If `capacity` is at most `N`, they lie on the stack, and nothing is
/// allocated.
///
/// # Errors
///
/// `ENOMEM`: `capacity` is more than `N`, and there is no memory.
///
/// # Context
///
/// Process context, no locks held. May sleep, when it allocates, and when the waiters are dropped.
pub(crate) fn with_places<'t, const N: usize, R>(
    capacity: usize,
    f: impl FnOnce(Places<'_, '_, 't>) -> R,
) -> Result<R> {
    pinned_vec::with_capacity::<_, _, N, _>(capacity, |waiters| f(Places(waiters)))
}

impl<'t> Places<'_, '_, 't> {
    /// Makes the current task a waiter in the next place, as [`Place::prepare`] does.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: all places are in use.
    pub(crate) fn prepare(
        &mut self,
        key: OwnedKey,
        mask: u64,
        about: About,
        owner: Option<Owner>,
    ) -> Result {
        self.0.push(Waiter::current(key, mask, about, owner), ())
    }

    /// The waiters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Pin<&Waiter<'t>>> {
        self.0.iter().map(|(waiter, ())| waiter)
    }
}
