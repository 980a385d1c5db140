// SPDX-License-Identifier: GPL-2.0

//! The primitives for x86-64, as the instructions that the C compiler generates for them.

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

/// The current task. This is `get_current()` in C.
#[inline(always)]
pub(crate) fn current() -> *mut bindings::task_struct {
    let task;
    // SAFETY: The instruction only reads a per-CPU variable. On whichever processor this task runs,
    // that variable points to this task. As far as the task can tell, its value never changes, so
    // the compiler may merge several reads into one (`pure`, `nomem`).
    unsafe {
        asm!(
            "movq %gs:const_current_task(%rip), {}",
            out(reg) task,
            options(att_syntax, pure, nomem, nostack, preserves_flags),
        )
    };
    task
}

/// Whether the byte at `addr` lies in user space. This is `access_ok()` in C.
#[inline(always)]
pub(crate) fn access_ok(addr: usize) -> bool {
    // The limit itself is accepted as well, as by the C function. Nothing is ever mapped there. It
    // is at the end of a page, so an aligned word that begins below it also ends below it.
    // SAFETY: The variable is only written while the kernel boots.
    addr <= unsafe { bindings::USER_PTR_MAX }
}

/// A full memory barrier. This is `smp_mb()` in C.
#[inline(always)]
pub(crate) fn smp_mb() {
    // A locked instruction is a full barrier. Because `nomem` is not given, this is also a barrier
    // for the compiler.
    // SAFETY: The instruction adds zero to the word just below the stack pointer. That is mapped
    // memory of the stack, and its value does not change.
    unsafe { asm!("lock addl $0, -4(%rsp)", options(att_syntax, nostack)) };
}

/// Loads the pointer with acquire ordering. This is `smp_load_acquire()` in C.
#[inline(always)]
pub(crate) fn load_acquire<T>(ptr: &Atomic<*mut T>) -> *mut T {
    // SAFETY: The pointer comes from a reference to the atomic, so it is valid and aligned. An
    // aligned volatile read of one machine word is atomic in the kernel's memory model.
    let value = unsafe { ptr.as_ptr().read_volatile() };
    // The processor does not reorder a load with what follows it. This keeps the compiler from
    // doing so.
    compiler_fence(Ordering::SeqCst);
    value
}

/// Stores `value` with release ordering. This is `smp_store_release()` in C.
#[inline(always)]
pub(crate) fn store_release<T>(ptr: &Atomic<*mut T>, value: *mut T) {
    // The processor does not reorder a store with earlier loads and stores. This keeps the compiler
    // from doing so.
    compiler_fence(Ordering::SeqCst);
    // SAFETY: The pointer comes from a reference to the atomic, so it is valid and aligned. An
    // aligned volatile write of one machine word is atomic in the kernel's memory model.
    unsafe { ptr.as_ptr().write_volatile(value) };
}
