// SPDX-License-Identifier: GPL-2.0

//! Spinlocks whose functions are called without a detour, and locked two at a time.
//!
//! The kernel crate's own call helpers, which call what C calls, and look each time whether the lock
//! is held, which only lockdep knows. To lockdep these locks are as any others.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use crate::{
    bindings as helpers,
    mm::arch, //
};
use core::ptr;
use kernel::{
    bindings,
    ffi::c_char,
    sync::lock::{
        spinlock::SpinLockBackend,
        Backend,
        Guard,
        Lock, //
    }, //
};

/// A `spinlock_t`, as [`kernel::sync::SpinLock`] has it.
pub(crate) struct Direct;

/// A spinlock round a value.
pub(crate) type SpinLock<T> = Lock<T, Direct>;

/// The right to the value in a locked [`SpinLock`], which is unlocked when this is dropped.
pub(crate) type SpinLockGuard<'a, T> = Guard<'a, T, Direct>;

// SAFETY: `spin_lock()` ensures mutual exclusion. `relock` is the default one.
unsafe impl Backend for Direct {
    type State = bindings::spinlock_t;
    type GuardState = ();

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: By the function's requirements, which are the same.
        unsafe { SpinLockBackend::init(ptr, name, key) };
    }

    #[inline(always)]
    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: By the function's requirements, it is initialised.
        unsafe { arch::spin_lock(ptr) };
    }

    #[inline(always)]
    unsafe fn unlock(ptr: *mut Self::State, (): &()) {
        // SAFETY: By the function's requirements, the caller has locked it.
        unsafe { arch::spin_unlock(ptr) };
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<()> {
        // SAFETY: By the function's requirements, which are the same.
        unsafe { SpinLockBackend::try_lock(ptr) }
    }

    #[inline(always)]
    unsafe fn assert_is_held(_ptr: *mut Self::State) {
        // SAFETY: By the function's requirements, which are the same.
        #[cfg(CONFIG_LOCKDEP)]
        unsafe {
            SpinLockBackend::assert_is_held(_ptr)
        };
    }
}

/// Locks `lock` while another lock of its class is locked.
#[inline(always)]
pub(crate) fn lock_second<T>(lock: &SpinLock<T>) -> SpinLockGuard<'_, T> {
    // A lock begins with its state: see `Lock::from_raw`.
    let raw = ptr::from_ref(lock)
        .cast_mut()
        .cast::<bindings::spinlock_t>();
    if cfg!(CONFIG_LOCKDEP) {
        // SAFETY: It is an initialised spinlock.
        unsafe { helpers::rfutex_spin_lock_nested(raw) };
    } else {
        // SAFETY: As above. Only lockdep makes a difference.
        unsafe { arch::spin_lock(raw) };
    }
    // SAFETY: We just locked it.
    unsafe { SpinLockGuard::new(lock, ()) }
}
