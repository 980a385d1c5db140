// SPDX-License-Identifier: GPL-2.0

//! The instructions of x86-64.

use core::{
    arch::asm,
    sync::atomic::{
        compiler_fence,
        Ordering, //
    }, //
};
use kernel::{
    bindings,
    sync::atomic::Atomic, //
};

/// `get_current()`
#[inline(always)]
pub(crate) fn current() -> *mut bindings::task_struct {
    let task;
    // SAFETY: Reads a variable of this processor. Whichever processor this task runs on, the
    // variable names this task: nothing that the compiler can see ever changes it, and one reading
    // does for many.
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
    // As futex(2) sees it, the first address above user memory still passes. Nothing is ever mapped
    // there.
    // SAFETY: The limit is written once, as the kernel boots. It is the end of a page, so a word
    // that begins before it ends before it.
    addr <= unsafe { bindings::USER_PTR_MAX }
}

/// `smp_mb()`
#[inline(always)]
pub(crate) fn smp_mb() {
    // SAFETY: Adds nothing to what is below the stack, where the kernel keeps nothing. A locked
    // instruction is a full barrier; without `nomem`, it is one for the compiler too.
    unsafe { asm!("lock addl $0, -4(%rsp)", options(att_syntax, nostack)) };
}

/// `smp_load_acquire()`
#[inline(always)]
pub(crate) fn load_acquire<T>(ptr: &Atomic<*mut T>) -> *mut T {
    // SAFETY: A reference to an atomic is a valid pointer to its value.
    let value = unsafe { ptr.as_ptr().read_volatile() };
    // The processor keeps loads in order; this makes the compiler do the same.
    compiler_fence(Ordering::SeqCst);
    value
}

/// `smp_store_release()`
#[inline(always)]
pub(crate) fn store_release<T>(ptr: &Atomic<*mut T>, value: *mut T) {
    // The processor keeps stores in order, and behind earlier loads; this is for the compiler.
    compiler_fence(Ordering::SeqCst);
    // SAFETY: A reference to an atomic is a valid pointer to its value.
    unsafe { ptr.as_ptr().write_volatile(value) };
}
