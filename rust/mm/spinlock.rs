// SPDX-License-Identifier: GPL-2.0

//! Locking a second spinlock of a lockdep class of which one is already held, which the kernel
//! crate cannot do.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use crate::bindings as helpers;
use core::ptr;
use kernel::{
    bindings,
    sync::{
        lock::spinlock::SpinLockGuard,
        SpinLock, //
    },
};

/// Locks `lock` while another lock of the same lockdep class is held.
///
/// # Context
///
/// Does not sleep. All callers must take two locks of the class in the order of their addresses.
#[inline]
pub(crate) fn lock_nested<T>(lock: &SpinLock<T>) -> SpinLockGuard<'_, T> {
    // A `Lock` begins with its raw lock, as `Lock::from_raw` relies on too.
    let raw = ptr::from_ref(lock)
        .cast_mut()
        .cast::<bindings::spinlock_t>();
    // SAFETY: The pointer is to the spinlock in `lock`, which is initialised, because a `SpinLock`
    // always is.
    unsafe { helpers::rfutex_spin_lock_nested(raw) };
    // SAFETY: The lock was just taken, and the new guard is the only one that owns it.
    unsafe { SpinLockGuard::new(lock, ()) }
}
