// SPDX-License-Identifier: GPL-2.0

//! Deadlines: absolute times on one of three clocks.
//!
//! Being absolute, a deadline needs no restart block: an interrupted wait is restarted with the
//! same arguments. A restart block would hold a pointer to a function of this module, and might
//! outlive it.

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

/// A point in time, as the timer code wants it. Like an `Option` of one, it fits into two registers.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    clock: Clock,
    expires: i64,
}

impl Deadline {
    /// The time `ns` (nanoseconds) on `clock`, as the current task's time namespace has it.
    pub(crate) fn new(clock: Clock, ns: i64) -> Self {
        // SAFETY: Reads the current task's namespace, which it alone replaces.
        let expires = unsafe { helpers::rfutex_timens_to_host(clock as i32, ns) };
        Self { clock, expires }
    }

    /// The clock's number.
    pub(crate) fn clock(&self) -> i32 {
        self.clock as i32
    }

    /// Nanoseconds on that clock, outside of any time namespace.
    pub(crate) fn expires(&self) -> i64 {
        self.expires
    }
}
