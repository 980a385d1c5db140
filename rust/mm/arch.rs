// SPDX-License-Identifier: GPL-2.0

//! What C inlines and Rust can only call: the few primitives that every operation needs.
//!
//! A call costs more than what is called: registers to save and restore, in the caller as well. On
//! x86-64 these are the instructions that C has in their place, each named. Elsewhere they are calls.

use kernel::{
    bindings,
    sync::atomic::Atomic, //
};

#[cfg(CONFIG_SMP)]
#[cfg(CONFIG_X86_64)]
mod x86 {
    use super::*;
    use core::arch::asm;

    /// `get_current()`
    #[inline(always)]
    pub(crate) fn current() -> *mut bindings::task_struct {
        let task;
        // SAFETY: Reads a variable of this processor. Wherever this task runs, it is this task: so
        // nothing that the compiler can see ever changes it, and one reading does for many.
        unsafe {
            asm!(
                "movq %gs:const_current_task(%rip), {}",
                out(reg) task,
                options(att_syntax, pure, nomem, nostack, preserves_flags),
            )
        };
        task
    }

    /// `access_ok()` for an address that is a multiple of the size.
    #[inline(always)]
    pub(crate) fn access_ok(addr: usize, _size: usize) -> bool {
        // As futex(2) sees it: the very first address above is the user's, too. Nothing is ever
        // mapped there.
        // SAFETY: Written once, as the kernel boots. It is the end of a page, so that what begins
        // before it ends before it.
        addr <= unsafe { bindings::USER_PTR_MAX }
    }

    /// `smp_mb()`
    #[inline(always)]
    pub(crate) fn smp_mb() {
        // SAFETY: Adds nothing to what is below the stack, where the kernel keeps nothing. A locked
        // instruction is a full barrier; without `nomem`, it is one for the compiler too.
        unsafe { asm!("lock addl $0, -4(%rsp)", options(att_syntax, nostack)) };
    }

    /// `atomic_fetch_add()`: fully ordered.
    #[inline(always)]
    pub(crate) fn fetch_add(count: &Atomic<i32>, nr: i32) -> i32 {
        let mut value = nr;
        // SAFETY: The pointer is valid. A locked instruction is a full barrier, as above.
        unsafe {
            asm!(
                "lock xaddl {:e}, ({})",
                inout(reg) value,
                in(reg) count.as_ptr(),
                options(att_syntax, nostack),
            )
        };
        value
    }

    /// `atomic_sub()`: not ordered.
    #[inline(always)]
    pub(crate) fn sub(count: &Atomic<i32>, nr: i32) {
        // SAFETY: The pointer is valid.
        unsafe {
            asm!(
                "lock subl {:e}, ({})",
                in(reg) nr,
                in(reg) count.as_ptr(),
                options(att_syntax, nostack),
            )
        };
    }
}

#[cfg(CONFIG_SMP)]
#[cfg(CONFIG_X86_64)]
pub(crate) use x86::*;

#[cfg(not(all(CONFIG_SMP, CONFIG_X86_64)))]
mod generic {
    use super::*;
    use kernel::{
        sync::{
            atomic::{
                Full,
                Relaxed, //
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
}

#[cfg(not(all(CONFIG_SMP, CONFIG_X86_64)))]
pub(crate) use generic::*;

/// `atomic_read()`: not ordered. On every architecture it is one plain load.
#[inline(always)]
pub(crate) fn read(count: &Atomic<i32>) -> i32 {
    // SAFETY: The pointer is valid. Volatile accesses are what `READ_ONCE()` is made of.
    unsafe { count.as_ptr().read_volatile() }
}
