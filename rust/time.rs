// SPDX-License-Identifier: GPL-2.0

//! Deadlines, which are absolute times on one of three clocks.
//!
//! Because they are absolute, a wait that was interrupted can be restarted with the same arguments,
//! and needs no restart block. A restart block would have a pointer to a function of this module,
//! and might still be used after the module was unloaded.

use crate::bindings as helpers;
use kernel::bindings;

/// The clocks of the interface.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Clock {
    Monotonic = bindings::CLOCK_MONOTONIC as i32,
    Realtime = bindings::CLOCK_REALTIME as i32,
    Boottime = bindings::CLOCK_BOOTTIME as i32,
}

/// A point in time, in the form that timers use. It fits into two registers, and so does an
/// `Option` of it.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    clock: Clock,
    expires: i64,
}

impl Deadline {
    /// The time `ns`, in nanoseconds on `clock`, as seen in the time namespace of the current task.
    pub(crate) fn new(clock: Clock, ns: i64) -> Self {
        // SAFETY: The function reads the offsets in the time namespace of the current task. Only
        // the task itself ever replaces its namespaces, so that this one is valid during the call.
        let expires = unsafe { helpers::rfutex_timens_to_host(clock as i32, ns) };
        Self { clock, expires }
    }

    /// The number of the clock (`CLOCK_*`).
    pub(crate) fn clock(&self) -> i32 {
        self.clock as i32
    }

    /// The time in nanoseconds on that clock, in the initial time namespace.
    pub(crate) fn expires(&self) -> i64 {
        self.expires
    }
}
