// SPDX-License-Identifier: GPL-2.0

//! Calls, for all other architectures.

use super::*;
use kernel::{
    sync::{
        atomic::{
            self,
            Acquire,
            Full,
            Relaxed,
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

/// `access_ok()`
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

/// `atomic_fetch_add()`: fully ordered.
#[inline]
pub(crate) fn fetch_add(count: &Atomic<i32>, nr: i32) -> i32 {
    count.fetch_add(nr, Full)
}

/// `atomic_sub()`: not ordered.
#[inline]
pub(crate) fn sub(count: &Atomic<i32>, nr: i32) {
    count.fetch_sub(nr, Relaxed);
}

/// `smp_mb()`, then `cmpxchg()`. True if `*ptr` was `old`, and is `new` now. Where it was not,
/// the barrier is there as well.
///
/// # Safety
///
/// `ptr` must be valid, and accessed atomically only by who does not own what it is for.
#[inline]
pub(crate) unsafe fn mb_cmpxchg<T>(ptr: *mut *mut T, old: *mut T, new: *mut T) -> bool {
    smp_mb();
    // SAFETY: By the function's requirements.
    unsafe { atomic::cmpxchg(ptr, old, new, Relaxed) }.is_ok()
}

/// `atomic_inc_not_zero()`
///
/// # Safety
///
/// `count` must be valid.
#[inline]
pub(crate) unsafe fn inc_not_zero(count: *mut bindings::atomic_t) -> bool {
    // SAFETY: By the function's requirements.
    unsafe { bindings::atomic_inc_not_zero(count) }
}

/// `atomic_add_unless(count, -1, 1)`
///
/// # Safety
///
/// `count` must be valid.
#[inline]
pub(crate) unsafe fn dec_unless_last(count: *mut bindings::atomic_t) -> bool {
    // SAFETY: By the function's requirements.
    unsafe { bindings::atomic_add_unless(count, -1, 1) }
}

/// `get_task_struct()`
///
/// # Safety
///
/// The task must have a reference.
#[inline]
pub(crate) unsafe fn get_task(task: *mut bindings::task_struct) {
    // SAFETY: By the function's requirements.
    unsafe { bindings::get_task_struct(task) };
}

/// `put_task_struct()`
///
/// # Safety
///
/// The caller must give a reference.
#[inline]
pub(crate) unsafe fn put_task(task: *mut bindings::task_struct) {
    // SAFETY: By the function's requirements.
    unsafe { bindings::put_task_struct(task) };
}

/// `set_current_state()`
#[inline]
pub(crate) fn set_current_state(state: u32) {
    // SAFETY: Any task may change its own state.
    unsafe { crate::bindings::rfutex_set_current_state(state) };
}

/// `spin_lock()`
///
/// # Safety
///
/// `lock` must be initialised.
#[inline]
pub(crate) unsafe fn spin_lock(lock: *mut bindings::spinlock_t) {
    // SAFETY: By the function's requirements.
    unsafe { bindings::spin_lock(lock) };
}

/// `spin_unlock()`
///
/// # Safety
///
/// The caller must have locked `lock`.
#[inline]
pub(crate) unsafe fn spin_unlock(lock: *mut bindings::spinlock_t) {
    // SAFETY: By the function's requirements.
    unsafe { bindings::spin_unlock(lock) };
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
