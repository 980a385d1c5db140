// SPDX-License-Identifier: GPL-2.0

//! What the kernel crate or a C helper does, for all other architectures.

use kernel::{
    bindings,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        barrier, //
    },
    task::Task, //
};

/// `get_current()`
#[inline]
pub(crate) fn current() -> *mut bindings::task_struct {
    Task::current_raw()
}

/// `access_ok()` for an address that is a multiple of the size.
#[inline]
pub(crate) fn access_ok(addr: usize, size: usize) -> bool {
    // SAFETY: Compares numbers.
    unsafe { crate::bindings::rfutex_access_ok(addr, size) }
}

/// `smp_mb()`
#[inline]
pub(crate) fn smp_mb() {
    barrier::smp_mb(barrier::Full);
}

/// `smp_load_acquire()`
#[inline]
pub(crate) fn load_acquire<T>(ptr: &Atomic<*mut T>) -> *mut T {
    ptr.load(Acquire)
}

/// `smp_store_release()`
#[inline]
pub(crate) fn store_release<T>(ptr: &Atomic<*mut T>, value: *mut T) {
    ptr.store(value, Release);
}
