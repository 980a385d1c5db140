// SPDX-License-Identifier: GPL-2.0

//! The current task: its state, its signals, its priority and its address space.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use crate::{
    bindings as helpers,
    mm::{
        arch,
        number::Number,
        version, //
    },
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    task::{
        TASK_FREEZABLE,
        TASK_INTERRUPTIBLE, //
    },
};

/// The priority of every task that is not a real-time task. Smaller numbers are more urgent.
pub(crate) const NORMAL_PRIORITY: i32 = bindings::MAX_RT_PRIO as i32;

/// The priority of the current task: -1 for SCHED_DEADLINE, 0 to 99 for any other real-time task,
/// and [`NORMAL_PRIORITY`] for all others.
#[inline]
pub(crate) fn current_priority() -> i32 {
    // SAFETY: The current task is valid. Another task may change the field at the same time, hence
    // the volatile read, and any value that the field has had will do.
    let priority = unsafe { (&raw const (*arch::current()).normal_prio).read_volatile() };
    priority.min(NORMAL_PRIORITY)
}

/// The number of the current task's mm, which is given one if it has none yet; `None` for a kernel
/// thread that has no mm.
#[inline]
pub(crate) fn current_mm_number() -> Option<Number> {
    let mm = NonNull::new(current_mm_raw())?;
    // SAFETY: The current task has a reference on its mm.
    Some(unsafe { version::mm_number_or_give(mm) })
}

/// The number of the current task's mm; `None` if it has none yet, or if there is no mm.
#[inline]
pub(crate) fn current_mm_number_if_given() -> Option<Number> {
    let mm = NonNull::new(current_mm_raw())?;
    // SAFETY: The current task has a reference on its mm.
    unsafe { version::mm_number(mm) }
}

/// The current task's mm, on which the task has a reference; null for a kernel thread that has
/// none.
#[inline]
pub(super) fn current_mm_raw() -> *mut bindings::mm_struct {
    // SAFETY: The current task is valid, and only the task itself ever changes its mm.
    unsafe { (*arch::current()).mm }
}

/// An address at which the current process has something mapped: the top of its stack.
///
/// # Errors
///
/// `EFAULT`: the task has no mm.
#[cfg(RFUTEX_LAB)]
pub(crate) fn some_address() -> Result<usize> {
    let mm = NonNull::new(current_mm_raw()).ok_or(EFAULT)?;
    // SAFETY: This is the current task's mm, on which the task has a reference. The field is set
    // while a program is started, and not changed later by anybody whom this use in tests could
    // race with.
    Ok(unsafe { helpers::rfutex_mm_start_stack(mm.as_ptr()) })
}

/// Sets the state of the current task to sleeping, so that a wake or a signal from here on keeps
/// the following [`schedule`] from sleeping.
///
/// Implies a full barrier. A caller that checks its condition after this cannot miss a wake: either
/// it sees that the condition is true, or the waker sees that the task is sleeping. The caller has
/// to call [`schedule`] or [`stay_awake`] next.
#[inline]
pub(crate) fn prepare_to_sleep() {
    // SAFETY: A task may always change its own state, and this one goes back to running when it is
    // woken or calls `stay_awake`.
    unsafe {
        helpers::rfutex_set_current_state((TASK_INTERRUPTIBLE | TASK_FREEZABLE) as u32);
    }
}

/// Sets the state of the current task back to running, after [`prepare_to_sleep`].
#[inline]
pub(crate) fn stay_awake() {
    // SAFETY: A task that runs may always set its own state to running.
    unsafe { helpers::rfutex_set_current_running() };
}

/// Sleeps until something wakes the task. Because that may happen for any reason, the caller has to
/// check its condition afterwards, and may have to sleep again.
///
/// # Context
///
/// Process context, no locks held, after [`prepare_to_sleep`].
#[inline]
pub(crate) fn schedule() {
    // SAFETY: `schedule()` may be called wherever a task may sleep, which this function requires of
    // its caller.
    unsafe { bindings::schedule() };
}

/// Sleeps as [`schedule`] does, but not for much longer than a second.
///
/// # Context
///
/// As [`schedule`].
pub(crate) fn schedule_for_a_second() {
    // SAFETY: As for `schedule()`. A second is a valid time.
    unsafe { bindings::schedule_timeout(kernel::time::msecs_to_jiffies(1000) as c_long) };
}

/// Whether a signal is pending for the current task.
#[inline]
pub(crate) fn signal_pending() -> bool {
    kernel::current!().signal_pending()
}

/// Lets other tasks run before the caller tries something again, unless the task was killed.
///
/// # Errors
///
/// `EINTR`: the task was killed.
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn before_retry() -> Result {
    // SAFETY: The function only reads the signal state of the current task.
    if unsafe { helpers::rfutex_fatal_signal_pending() } {
        return Err(EINTR);
    }
    cond_resched();
    Ok(())
}

/// Lets other tasks run, if it is time to.
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn cond_resched() {
    // SAFETY: `cond_resched()` may be called wherever a task may sleep, which this function
    // requires of its caller.
    unsafe { helpers::rfutex_cond_resched() };
}

/// Whether the current task has `CAP_SYS_ADMIN` in the initial user namespace.
///
/// # Context
///
/// Process context.
pub(crate) fn is_admin() -> bool {
    // SAFETY: The function checks the credentials of the current task, which it may do in process
    // context, and the capability is a valid one.
    unsafe { helpers::rfutex_capable(bindings::CAP_SYS_ADMIN as i32) }
}

/// Whether the current task has `CAP_SYS_RESOURCE` in the initial user namespace.
///
/// # Context
///
/// Process context.
pub(crate) fn may_exceed_limits() -> bool {
    // SAFETY: The function checks the credentials of the current task, which it may do in process
    // context, and the capability is a valid one.
    unsafe { helpers::rfutex_capable(bindings::CAP_SYS_RESOURCE as i32) }
}

/// Whether the current task holds any lock that lockdep knows of. False if lockdep is off.
#[inline]
pub(crate) fn holds_a_lock() -> bool {
    // SAFETY: The function only reads lockdep's data of the current task.
    cfg!(CONFIG_LOCKDEP) && unsafe { helpers::rfutex_holds_a_lock() }
}
