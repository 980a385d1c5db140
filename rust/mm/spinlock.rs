// SPDX-License-Identifier: GPL-2.0

//! A second spinlock of a class that is held already, which the kernel crate cannot lock.
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

/// Locks `lock` while another lock of its class is held.
///
/// # Context
///
/// Does not sleep. Locks of one class are to be taken in the order of their addresses.
#[inline]
pub(crate) fn lock_nested<T>(lock: &SpinLock<T>) -> SpinLockGuard<'_, T> {
    // A lock begins with its state: see `Lock::from_raw`.
    let raw = ptr::from_ref(lock)
        .cast_mut()
        .cast::<bindings::spinlock_t>();
    // SAFETY: It is an initialised spinlock.
    unsafe { helpers::rfutex_spin_lock_nested(raw) };
    // SAFETY: We just locked it.
    unsafe { SpinLockGuard::new(lock, ()) }
}
