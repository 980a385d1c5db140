// SPDX-License-Identifier: GPL-2.0

//! A timer that wakes the current task.
//!
//! C header: [`include/linux/hrtimer.h`](srctree/include/linux/hrtimer.h)

use crate::{
    bindings as helpers,
    mm::arch,
    time::Deadline, //
};
use kernel::{
    bindings,
    types::Opaque, //
};

/// A timer on the stack of the current task, which wakes the task when the deadline has passed.
///
/// # Invariants
///
/// The timer is initialised and was armed for the current task, and does not move.
pub(crate) struct Timer(Opaque<bindings::hrtimer_sleeper>);

/// Calls `f` with a timer that is armed for `deadline`, and cancels the timer afterwards.
///
/// The timer is only lent to `f`, so that it cannot outlive the stack frame that it lies in.
///
/// # Context
///
/// Process context. Does not sleep, unless `f` does.
#[inline(never)]
pub(crate) fn with<R>(deadline: Deadline, f: impl FnOnce(&Timer) -> R) -> R {
    let timer = Timer(Opaque::uninit());
    let sleeper = timer.0.get();
    // The slack is 0 for real-time tasks.
    // SAFETY: The current task is valid. Another task may change the field at the same time, hence
    // the volatile read, and any value that the field has had will do.
    let slack = unsafe { (&raw const (*arch::current()).timer_slack_ns).read_volatile() };
    let mode = bindings::hrtimer_mode_HRTIMER_MODE_ABS;
    // SAFETY: `sleeper` is memory for a sleeper on the stack, which does not move until `timer` is
    // dropped, because `f` gets only a reference to it. The timer is set up first, then its expiry
    // is set, then it is started, as the functions require.
    unsafe {
        bindings::hrtimer_setup_sleeper_on_stack(sleeper, deadline.clock(), mode);
        helpers::rfutex_hrtimer_set_expires_range_ns(
            &raw mut (*sleeper).timer,
            deadline.expires(),
            slack,
        );
        bindings::hrtimer_sleeper_start_expires(sleeper, mode);
    }
    // INVARIANT: The timer was just initialised and armed, and is dropped without being moved.
    f(&timer)
}

impl Timer {
    /// Whether the timer has expired.
    ///
    /// The timer notes that it has expired before it wakes the task. So a task that calls this
    /// after [`prepare_to_sleep`](super::task::prepare_to_sleep), and sleeps only if the answer is
    /// false, does not miss it.
    #[inline]
    pub(crate) fn expired(&self) -> bool {
        // SAFETY: By the type invariants, the sleeper is initialised. The function of the timer may
        // clear the field at any time, hence the volatile read.
        unsafe { (&raw const (*self.0.get()).task).read_volatile() }.is_null()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the timer was initialised, on the stack. After it is
        // cancelled, its function does not run again, so that its memory may be reused.
        unsafe {
            let timer = &raw mut (*self.0.get()).timer;
            bindings::hrtimer_cancel(timer);
            helpers::rfutex_destroy_hrtimer_on_stack(timer);
        }
    }
}
