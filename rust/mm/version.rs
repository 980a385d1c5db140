// SPDX-License-Identifier: GPL-2.0

//! In what the versions of Linux differ that the module is built for.
//!
//! The rest of the module is written for Linux 7.3. `Kbuild` sets `RFUTEX_LINUX_7_2` for 7.2, which
//! lacks some of what the module uses.

use crate::{
    bindings as helpers,
    mm::number::Number, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    module_param::ModuleParamAccess,
    sync::barrier, //
};
use pin_init::PinInit;

#[cfg(not(RFUTEX_LINUX_7_2))]
use kernel::sync::atomic::Atomic;
#[cfg(RFUTEX_LINUX_7_2)]
use kernel::{
    mm::Mm,
    sync::aref::ARef, //
};

#[cfg(not(RFUTEX_LINUX_7_2))]
pub(crate) use kernel::error::code::{
    EALREADY,
    EDEADLK,
    EOPNOTSUPP,
    EOWNERDEAD, //
};
#[cfg(RFUTEX_LINUX_7_2)]
pub(crate) use linux_7_2::*;

/// Errors that the `kernel` crate of 7.2 has no constants for.
#[allow(dead_code, reason = "not every build returns all of them")]
#[cfg(RFUTEX_LINUX_7_2)]
mod linux_7_2 {
    use kernel::{
        bindings,
        error::Error, //
    };

    pub(crate) const EALREADY: Error = error(bindings::EALREADY);
    pub(crate) const EDEADLK: Error = error(bindings::EDEADLK);
    pub(crate) const EOPNOTSUPP: Error = error(bindings::EOPNOTSUPP);
    pub(crate) const EOWNERDEAD: Error = error(bindings::EOWNERDEAD);

    /// The error with this number. The `kernel` crate has no function that a constant can be made
    /// with.
    const fn error(errno: u32) -> Error {
        assert!(errno > 0 && errno <= bindings::MAX_ERRNO);
        // SAFETY: An `Error` has one field, a `NonZeroI32`. `transmute` checks that it is no larger
        // than an `i32`, so it consists of that field alone. The field has to be the negative of a
        // number from 1 to MAX_ERRNO, and is.
        unsafe { core::mem::transmute::<i32, Error>(-(errno as i32)) }
    }
}

/// A full memory barrier. This is `smp_mb()` in C.
#[cfg_attr(CONFIG_X86, allow(dead_code, reason = "mm/arch/x86.rs has its own"))]
#[inline(always)]
pub(crate) fn smp_mb() {
    #[cfg(not(RFUTEX_LINUX_7_2))]
    barrier::smp_mb(barrier::Full);
    #[cfg(RFUTEX_LINUX_7_2)]
    barrier::smp_mb();
}

/// A barrier between reads. This is `smp_rmb()` in C.
#[inline(always)]
pub(crate) fn smp_rmb() {
    #[cfg(not(RFUTEX_LINUX_7_2))]
    barrier::smp_mb(barrier::Read);
    #[cfg(RFUTEX_LINUX_7_2)]
    barrier::smp_rmb();
}

/// Waits until all RCU read-side critical sections have ended that had begun before.
///
/// # Context
///
/// Sleeps. Not in an RCU read-side critical section.
#[cfg(RFUTEX_LAB)]
pub(crate) fn synchronize_rcu() {
    #[cfg(not(RFUTEX_LINUX_7_2))]
    kernel::sync::rcu::synchronize_rcu();
    // SAFETY: The function has no requirements but those on the context, which lockdep checks.
    #[cfg(RFUTEX_LINUX_7_2)]
    unsafe {
        bindings::synchronize_rcu()
    };
}

/// The value of a module parameter.
pub(crate) fn value_of(parameter: &ModuleParamAccess<u32>) -> u32 {
    #[cfg(not(RFUTEX_LINUX_7_2))]
    return parameter.value();
    #[cfg(RFUTEX_LINUX_7_2)]
    return *parameter.value();
}

/// Has `init` make a value at `slot`.
///
/// # Errors
///
/// Those of `init`. There is no value then.
///
/// # Safety
///
/// `slot` is free memory that is valid for a `T`. The value is not moved before it is dropped.
#[inline(always)]
pub(crate) unsafe fn init_at<T, E>(init: impl PinInit<T, E>, slot: *mut T) -> Result<(), E> {
    // SAFETY: The caller promises what the function asks for.
    #[cfg(not(RFUTEX_LINUX_7_2))]
    return unsafe { init.__init(slot) };
    // SAFETY: As above: the function has another name there.
    #[cfg(RFUTEX_LINUX_7_2)]
    return unsafe { init.__pinned_init(slot) };
}

/// The number of an mm; `None` if it has none yet.
///
/// In Linux 7.2 an mm has no field for a number. Its address is used instead, and [`KeptMm`] keeps
/// it from being that of another one.
///
/// # Safety
///
/// The mm is valid.
#[inline]
pub(crate) unsafe fn mm_number(mm: NonNull<bindings::mm_struct>) -> Option<Number> {
    // SAFETY: The caller has promised that the mm is valid. The field is an `atomic64_t`, which
    // consists of one `i64` and is only ever accessed atomically.
    #[cfg(not(RFUTEX_LINUX_7_2))]
    return Number::read(unsafe { Atomic::from_ptr(number_field(mm)) });
    // SAFETY: The caller has promised that the mm is valid.
    #[cfg(RFUTEX_LINUX_7_2)]
    return Number::of_field(unsafe { helpers::rfutex_mm_id(mm.as_ptr()) });
}

/// The number of an mm, which is given one if it has none yet.
///
/// # Safety
///
/// The mm is valid.
#[inline]
pub(crate) unsafe fn mm_number_or_give(mm: NonNull<bindings::mm_struct>) -> Number {
    // SAFETY: As in `mm_number`.
    #[cfg(not(RFUTEX_LINUX_7_2))]
    return Number::read_or_give(unsafe { Atomic::from_ptr(number_field(mm)) });
    // SAFETY: The caller has promised that the mm is valid. It has an address, so it has a number.
    #[cfg(RFUTEX_LINUX_7_2)]
    return unsafe { mm_number(mm) }.unwrap_or_else(Number::new);
}

/// The field for the number in an mm.
///
/// # Safety
///
/// The mm is valid.
#[cfg(not(RFUTEX_LINUX_7_2))]
#[inline]
unsafe fn number_field(mm: NonNull<bindings::mm_struct>) -> *mut i64 {
    // SAFETY: The caller has promised that the mm is valid.
    unsafe { helpers::rfutex_mm_unique_id(mm.as_ptr()).cast() }
}

/// What a waiter on an address of a process holds, so that no other process can have the number
/// that its key has. That is nothing, because numbers are not given out twice; in Linux 7.2, where
/// the number is an address, it is the `mm_struct`, but not the memory that this describes.
///
/// It may be dropped where a [`super::inode::InodeRef`] may be. While there is another one of the
/// same mm, it may be dropped anywhere.
pub(crate) struct KeptMm {
    #[cfg(RFUTEX_LINUX_7_2)]
    _mm: Option<ARef<Mm>>,
}

impl KeptMm {
    /// What a waiter holds whose key does not name a process.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self {
            #[cfg(RFUTEX_LINUX_7_2)]
            _mm: None,
        }
    }

    /// What a waiter on an address of the current process holds.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        Self {
            #[cfg(RFUTEX_LINUX_7_2)]
            _mm: NonNull::new(super::task::current_mm_raw()).map(|mm| {
                // SAFETY: The current task has a reference on its mm. `Mm` is the Rust view of an
                // `mm_struct`.
                ARef::from(unsafe { mm.cast::<Mm>().as_ref() })
            }),
        }
    }

    /// The same once more.
    #[inline(always)]
    pub(crate) fn again(&self) -> Self {
        Self {
            #[cfg(RFUTEX_LINUX_7_2)]
            _mm: self._mm.clone(),
        }
    }
}
