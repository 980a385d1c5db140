// SPDX-License-Identifier: GPL-2.0

//! The instructions of x86-64.

use super::*;
use core::{
    arch::asm,
    sync::atomic::{
        compiler_fence,
        Ordering, //
    }, //
};

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
    // SAFETY: The pointer is valid.
    unsafe { xadd(count.as_ptr(), nr) }
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

/// `xadd` with the `lock` prefix: the value that `*ptr` had. Fully ordered.
///
/// # Safety
///
/// `ptr` must be valid, and accessed atomically only.
#[inline(always)]
unsafe fn xadd(ptr: *mut i32, nr: i32) -> i32 {
    let mut value = nr;
    // SAFETY: By the function's requirements. A locked instruction is a full barrier, as above.
    unsafe {
        asm!(
            "lock xaddl {:e}, ({})",
            inout(reg) value,
            in(reg) ptr,
            options(att_syntax, nostack),
        )
    };
    value
}

/// `cmpxchg` with the `lock` prefix: the value that `*ptr` had. Fully ordered, whatever it was.
///
/// # Safety
///
/// As [`xadd`].
#[inline(always)]
unsafe fn cmpxchg(ptr: *mut i32, old: i32, new: i32) -> i32 {
    let value;
    // SAFETY: As in `xadd`.
    unsafe {
        asm!(
            "lock cmpxchgl {:e}, ({})",
            in(reg) new,
            in(reg) ptr,
            inout("eax") old => value,
            options(att_syntax, nostack),
        )
    };
    value
}

/// `smp_mb()`, then `cmpxchg()`. True if `*ptr` was `old`, and is `new` now. Where it was not,
/// the barrier is there as well: a locked instruction is one in either case.
///
/// # Safety
///
/// `ptr` must be valid, and accessed atomically only by who does not own what it is for.
#[inline(always)]
pub(crate) unsafe fn mb_cmpxchg<T>(ptr: *mut *mut T, old: *mut T, new: *mut T) -> bool {
    let value: *mut T;
    // SAFETY: By the function's requirements.
    unsafe {
        asm!(
            "lock cmpxchgq {}, ({})",
            in(reg) new,
            in(reg) ptr,
            inout("rax") old => value,
            options(att_syntax, nostack),
        )
    };
    value == old
}

/// `atomic_inc_not_zero()`
///
/// # Safety
///
/// `count` must be valid.
#[inline(always)]
pub(crate) unsafe fn inc_not_zero(count: *mut bindings::atomic_t) -> bool {
    // SAFETY: By the function's requirements.
    unsafe { add_unless(&raw mut (*count).counter, 1, 0) }
}

/// `atomic_add_unless(count, -1, 1)`
///
/// # Safety
///
/// `count` must be valid.
#[inline(always)]
pub(crate) unsafe fn dec_unless_last(count: *mut bindings::atomic_t) -> bool {
    // SAFETY: By the function's requirements.
    unsafe { add_unless(&raw mut (*count).counter, -1, 1) }
}

/// `atomic_add_unless()`
///
/// # Safety
///
/// As [`xadd`].
#[inline(always)]
unsafe fn add_unless(count: *mut i32, nr: i32, unless: i32) -> bool {
    // SAFETY: By the function's requirements.
    let mut old = unsafe { count.read_volatile() };
    loop {
        if old == unless {
            return false;
        }
        // SAFETY: As above.
        let there = unsafe { cmpxchg(count, old, old.wrapping_add(nr)) };
        if there == old {
            return true;
        }
        old = there;
    }
}

/// `get_task_struct()`
///
/// # Safety
///
/// The task must have a reference.
#[inline(always)]
pub(crate) unsafe fn get_task(task: *mut bindings::task_struct) {
    // SAFETY: By the function's requirements, the task is valid.
    let usage = unsafe { &raw mut (*task).usage };
    // SAFETY: As above.
    let old = unsafe { xadd((&raw mut (*usage).refs.counter).cast(), 1) };
    if old.wrapping_add(1) <= 1 {
        saturate(usage, old);
    }
}

/// `put_task_struct()`
///
/// # Safety
///
/// The caller must give a reference.
#[inline(always)]
pub(crate) unsafe fn put_task(task: *mut bindings::task_struct) {
    // SAFETY: By the function's requirements, the task is valid.
    let usage = unsafe { &raw mut (*task).usage };
    // SAFETY: As above.
    let old = unsafe { xadd((&raw mut (*usage).refs.counter).cast(), -1) };
    if old <= 1 {
        last_of_task(task, old);
    }
}

/// What `put_task_struct()` does with the last reference.
#[cold]
#[inline(never)]
fn last_of_task(task: *mut bindings::task_struct, old: i32) {
    if old == 1 {
        // SAFETY: Nobody has the task any more: it is ours to free, as C frees it.
        unsafe {
            bindings::call_rcu(
                &raw mut (*task).rcu,
                Some(bindings::__put_task_struct_rcu_cb),
            )
        };
    } else {
        let what = bindings::refcount_saturation_type_REFCOUNT_SUB_UAF;
        // SAFETY: Whatever became of the task, C would count there, too.
        unsafe { bindings::refcount_warn_saturate(&raw mut (*task).usage, what) };
    }
}

/// What `refcount_inc()` does with a count that was 0, or is about to overflow.
#[cold]
#[inline(never)]
fn saturate(usage: *mut bindings::refcount_t, old: i32) {
    let what = match old {
        0 => bindings::refcount_saturation_type_REFCOUNT_ADD_UAF,
        _ => bindings::refcount_saturation_type_REFCOUNT_ADD_OVF,
    };
    // SAFETY: It is one that `get_task()` was called for.
    unsafe { bindings::refcount_warn_saturate(usage, what) };
}

/// `set_current_state()`
#[inline(always)]
pub(crate) fn set_current_state(state: u32) {
    if cfg!(CONFIG_DEBUG_ATOMIC_SLEEP) {
        // It also notes where.
        // SAFETY: Any task may change its own state.
        unsafe { crate::bindings::rfutex_set_current_state(state) };
        return;
    }
    // SAFETY: As above. `xchg` is locked without a prefix: a full barrier, as above.
    unsafe {
        asm!(
            "xchgl {:e}, ({})",
            inout(reg) state => _,
            in(reg) &raw mut (*current()).__state,
            options(att_syntax, nostack, preserves_flags),
        )
    };
}

/// `spin_lock()`, which is a function.
///
/// # Safety
///
/// `lock` must be initialised.
#[inline(always)]
pub(crate) unsafe fn spin_lock(lock: *mut bindings::spinlock_t) {
    if cfg!(CONFIG_PREEMPT_RT) {
        // SAFETY: By the function's requirements.
        return unsafe { bindings::spin_lock(lock) };
    }
    // SAFETY: As above. A `spinlock_t` is a `raw_spinlock_t`.
    unsafe { bindings::_raw_spin_lock(lock.cast()) };
}

/// `spin_unlock()`, where it is a function.
///
/// # Safety
///
/// The caller must have locked `lock`.
#[inline(always)]
pub(crate) unsafe fn spin_unlock(lock: *mut bindings::spinlock_t) {
    #[cfg(any(CONFIG_PREEMPT_RT, not(CONFIG_UNINLINE_SPIN_UNLOCK)))]
    // SAFETY: By the function's requirements.
    unsafe {
        bindings::spin_unlock(lock)
    };
    #[cfg(not(any(CONFIG_PREEMPT_RT, not(CONFIG_UNINLINE_SPIN_UNLOCK))))]
    // SAFETY: As above. A `spinlock_t` is a `raw_spinlock_t`.
    unsafe {
        bindings::_raw_spin_unlock(lock.cast())
    };
}

/// `smp_load_acquire()`
#[inline(always)]
pub(crate) fn load_acquire<T>(ptr: &Atomic<*mut T>) -> *mut T {
    // SAFETY: The pointer is valid.
    let value = unsafe { ptr.as_ptr().read_volatile() };
    // The processor keeps loads in order; this has the compiler do so.
    compiler_fence(Ordering::SeqCst);
    value
}

/// `smp_store_release()`
#[inline(always)]
pub(crate) fn store_release<T>(ptr: &Atomic<*mut T>, value: *mut T) {
    // The processor keeps stores in order, and behind earlier loads.
    compiler_fence(Ordering::SeqCst);
    // SAFETY: The pointer is valid.
    unsafe { ptr.as_ptr().write_volatile(value) };
}
