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
/// The timer was armed once, for the current task, and does not move.
pub(crate) struct Timer(Opaque<bindings::hrtimer_sleeper>);

/// Calls `f` with a timer that is armed for `deadline`, and cancels it afterwards.
///
/// The timer is only lent, so that it cannot outlive the stack that it lies on.
///
/// # Context
///
/// Process context. Does not sleep by itself.
#[inline(never)]
pub(crate) fn with<R>(deadline: Deadline, f: impl FnOnce(&Timer) -> R) -> R {
    let timer = Timer(Opaque::uninit());
    let sleeper = timer.0.get();
    // SAFETY: `current` is valid; the field is read by other tasks and written by this one, or by
    // another with permission, and any value of it will do. It is 0 for real-time tasks.
    let slack = unsafe { (&raw const (*arch::current()).timer_slack_ns).read_volatile() };
    let mode = bindings::hrtimer_mode_HRTIMER_MODE_ABS;
    // SAFETY: `sleeper` is memory for a sleeper on our stack, which stays where it is until `timer`
    // is dropped: `f` gets no more than a reference. The functions are called in the order that
    // they demand.
    unsafe {
        bindings::hrtimer_setup_sleeper_on_stack(sleeper, deadline.clock(), mode);
        helpers::rfutex_hrtimer_set_expires_range_ns(
            &raw mut (*sleeper).timer,
            deadline.expires(),
            slack,
        );
        bindings::hrtimer_sleeper_start_expires(sleeper, mode);
    }
    // INVARIANT: It was just armed, and is dropped where it is.
    f(&timer)
}

impl Timer {
    /// Whether the deadline has passed.
    ///
    /// The timer says so before it wakes the task: if this is asked after
    /// [`prepare_to_sleep`](super::task::prepare_to_sleep), the answer is not missed.
    #[inline]
    pub(crate) fn expired(&self) -> bool {
        // SAFETY: By the type invariants, the sleeper is initialised. The timer's function clears
        // the field at any time, hence the volatile read.
        unsafe { (&raw const (*self.0.get()).task).read_volatile() }.is_null()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the timer was set up on this stack; after this nobody
        // uses it.
        unsafe {
            let timer = &raw mut (*self.0.get()).timer;
            bindings::hrtimer_cancel(timer);
            helpers::rfutex_destroy_hrtimer_on_stack(timer);
        }
    }
}
