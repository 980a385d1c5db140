// SPDX-License-Identifier: GPL-2.0

//! The current task: its state, its signals, its priority.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use crate::{
    bindings as helpers,
    mm::arch,
    time::Deadline, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    sync::aref::ARef,
    task::{
        Task,
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

/// The current task's mm, which it keeps; null for a kernel thread that has none.
#[inline]
pub(super) fn current_mm_raw() -> *mut bindings::mm_struct {
    // SAFETY: `current` is valid, and a task's mm changes only by what it does itself.
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
    Ok(unsafe { (*mm.as_ptr()).__bindgen_anon_1.start_stack })
}

/// Announces that the current task is about to sleep, until it is woken or has a signal.
///
/// Implies a full barrier: what is read after this was not yet so when a waker looked for sleepers.
#[inline]
pub(crate) fn prepare_to_sleep() {
    // The caller goes on to `sleep()` or `stay_awake()`.
    arch::set_current_state((TASK_INTERRUPTIBLE | TASK_FREEZABLE) as u32);
}

/// Takes [`prepare_to_sleep`] back.
#[inline]
pub(crate) fn stay_awake() {
    // SAFETY: Any task may change its own state.
    unsafe { helpers::rfutex_set_current_running() };
}

/// Sleeps until something wakes the task, or the deadline passes.
///
/// Returns whether the deadline passed. Waking up for no reason is possible: look, and sleep again.
///
/// # Context
///
/// Process context, after [`prepare_to_sleep`]. Sleeps.
#[inline(always)]
pub(crate) fn sleep(deadline: Option<Deadline>) -> bool {
    match deadline {
        None => {
            // SAFETY: We may sleep.
            unsafe { bindings::schedule() };
            false
        }
        Some(deadline) => sleep_until(deadline),
    }
}

#[inline(never)]
fn sleep_until(deadline: Deadline) -> bool {
    let mut expires = deadline.expires();
    // SAFETY: `current` is valid; the field is read by other tasks and written by this one, or by
    // another with permission; any value of it will do.
    let slack = unsafe { (&raw const (*arch::current()).timer_slack_ns).read_volatile() };
    // SAFETY: We may sleep, and `expires` is valid for the time of the call.
    let left = unsafe {
        bindings::schedule_hrtimeout_range_clock(
            &raw mut expires,
            slack,
            bindings::hrtimer_mode_HRTIMER_MODE_ABS,
            deadline.clock(),
        )
    };
    left == 0
}

/// A reference on a task.
///
/// # Safety
///
/// `task` must be valid.
#[inline(always)]
pub(crate) unsafe fn get(task: *mut bindings::task_struct) -> ARef<Task> {
    // SAFETY: By the function's requirements.
    unsafe { arch::get_task(task) };
    // SAFETY: We just took the reference. `Task` is a transparent wrapper of `task_struct`.
    unsafe { ARef::from_raw(NonNull::new_unchecked(task.cast())) }
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
/// Process context. May sleep.
pub(crate) fn before_retry() -> Result {
    // SAFETY: Looks at the current task only.
    if unsafe { helpers::rfutex_fatal_signal_pending() } {
        return Err(EINTR);
    }
    // SAFETY: We may sleep.
    unsafe { helpers::rfutex_cond_resched() };
    Ok(())
}

/// Whether the current task holds any lock that lockdep knows. False where lockdep is off.
#[inline]
pub(crate) fn holds_a_lock() -> bool {
    // SAFETY: Looks at the current task only.
    cfg!(CONFIG_LOCKDEP) && unsafe { helpers::rfutex_holds_a_lock() }
}
