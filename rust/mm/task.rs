// SPDX-License-Identifier: GPL-2.0

//! The current task: its state, its signals, its priority, its address space.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use crate::{
    bindings as helpers,
    mm::{
        arch,
        number::Number, //
    },
};
#[cfg(RFUTEX_LAB)]
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    sync::atomic::Atomic,
    task::{
        TASK_FREEZABLE,
        TASK_INTERRUPTIBLE, //
    },
};

/// The priority of a task that is not a real-time one. Smaller numbers are more urgent.
pub(crate) const NORMAL_PRIORITY: i32 = bindings::MAX_RT_PRIO as i32;

/// How urgent the current task is: -1 if it has deadlines, 0 to 99 if it is another real-time one,
/// else [`NORMAL_PRIORITY`].
#[inline]
pub(crate) fn current_priority() -> i32 {
    // SAFETY: `current` is valid. Another task may change the field; any value of it will do.
    let priority = unsafe { (&raw const (*arch::current()).normal_prio).read_volatile() };
    priority.min(NORMAL_PRIORITY)
}

/// The address of the current task's mm; 0 for a kernel thread that has none.
#[inline]
pub(crate) fn current_mm() -> usize {
    current_mm_raw().addr()
}

/// The number of the current task's mm; `None` for a kernel thread that has no mm.
#[inline]
pub(crate) fn current_mm_number() -> Option<Number> {
    let mm = current_mm_raw();
    if mm.is_null() {
        return None;
    }
    // SAFETY: It is the current task's mm, which the task keeps. The field is only ever accessed
    // atomically, and an `atomic64_t` is one `i64`.
    let field = unsafe { Atomic::from_ptr(helpers::rfutex_mm_unique_id(mm).cast::<i64>()) };
    Some(Number::read_or_give(field))
}

/// The current task's mm, which it keeps; null for a kernel thread that has none.
#[inline]
pub(super) fn current_mm_raw() -> *mut bindings::mm_struct {
    // SAFETY: `current` is valid, and a task's mm changes only by what the task does itself.
    unsafe { (*arch::current()).mm }
}

/// An address where the current task has something mapped: the top of its stack.
///
/// # Errors
///
/// `EFAULT`: it has no mm.
#[cfg(RFUTEX_LAB)]
pub(crate) fn some_address() -> Result<usize> {
    let mm = NonNull::new(current_mm_raw()).ok_or(EFAULT)?;
    // SAFETY: It is the current task's mm, which it keeps. The field was set as the program began.
    Ok(unsafe { helpers::rfutex_mm_start_stack(mm.as_ptr()) })
}

/// Announces that the current task is about to sleep until it is woken or has a signal.
///
/// Implies a full barrier: what is read after this was not yet so when a waker looked for sleepers.
/// The caller goes on to [`schedule`] or [`stay_awake`].
#[inline]
pub(crate) fn prepare_to_sleep() {
    // SAFETY: Any task may change its own state.
    unsafe {
        helpers::rfutex_set_current_state((TASK_INTERRUPTIBLE | TASK_FREEZABLE) as u32);
    }
}

/// Takes [`prepare_to_sleep`] back.
#[inline]
pub(crate) fn stay_awake() {
    // SAFETY: Any task may change its own state.
    unsafe { helpers::rfutex_set_current_running() };
}

/// Sleeps until something wakes the task, which may be for no reason: look, and sleep again.
///
/// # Context
///
/// Process context, no locks held, after [`prepare_to_sleep`].
#[inline]
pub(crate) fn schedule() {
    // SAFETY: By the context that is asked for, the task may sleep.
    unsafe { bindings::schedule() };
}

/// Whether a signal waits for the current task.
#[inline]
pub(crate) fn signal_pending() -> bool {
    kernel::current!().signal_pending()
}

/// Lets others run before something is tried again, for as long as the task is not to die.
///
/// # Errors
///
/// `EINTR`: the task was killed.
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn before_retry() -> Result {
    // SAFETY: Looks at the current task only.
    if unsafe { helpers::rfutex_fatal_signal_pending() } {
        return Err(EINTR);
    }
    // SAFETY: By the context that is asked for, the task may sleep.
    unsafe { helpers::rfutex_cond_resched() };
    Ok(())
}

/// Whether the current task has a capability of the system administrator (`CAP_SYS_ADMIN` in the
/// initial user namespace).
pub(crate) fn is_admin() -> bool {
    // SAFETY: Looks at the current task only.
    unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as i32) }
}

/// Whether the current task holds any lock that lockdep knows. False where lockdep is off.
#[inline]
pub(crate) fn holds_a_lock() -> bool {
    // SAFETY: Looks at the current task only.
    cfg!(CONFIG_LOCKDEP) && unsafe { helpers::rfutex_holds_a_lock() }
}
