// SPDX-License-Identifier: GPL-2.0

//! The primitives for all other architectures: functions of the kernel crate, or C helpers.

use crate::mm::version;
use kernel::{
    bindings,
    sync::atomic::{
        Acquire,
        Atomic,
        Release, //
    },
    task::Task, //
};

/// The current task. This is `get_current()` in C.
#[inline]
pub(crate) fn current() -> *mut bindings::task_struct {
    Task::current_raw()
}

/// Whether the byte at `addr` lies in user space. This is `access_ok()` in C.
#[inline]
pub(crate) fn access_ok(addr: usize) -> bool {
    // SAFETY: The function only compares the two numbers with limits. It accesses no memory at the
    // address.
    unsafe { crate::bindings::rfutex_access_ok(addr, 1) }
}

/// A full memory barrier. This is `smp_mb()` in C.
#[inline]
pub(crate) fn smp_mb() {
    version::smp_mb();
}

/// Loads the pointer with acquire ordering. This is `smp_load_acquire()` in C.
#[inline]
pub(crate) fn load_acquire<T>(ptr: &Atomic<*mut T>) -> *mut T {
    ptr.load(Acquire)
}

/// Stores `value` with release ordering. This is `smp_store_release()` in C.
#[inline]
pub(crate) fn store_release<T>(ptr: &Atomic<*mut T>, value: *mut T) {
    ptr.store(value, Release);
}
