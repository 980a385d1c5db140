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
pub(crate) enum Clock {
    Monotonic,
    Realtime,
    Boottime,
}

/// A point in time, as the timer code wants it.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    clock: i32,
    expires: i64,
}

impl Deadline {
    /// The time `ns` (nanoseconds) on `clock`, as the current task's time namespace has it.
    pub(crate) fn new(clock: Clock, ns: i64) -> Self {
        let clock = match clock {
            Clock::Monotonic => bindings::CLOCK_MONOTONIC,
            Clock::Realtime => bindings::CLOCK_REALTIME,
            Clock::Boottime => bindings::CLOCK_BOOTTIME,
        } as i32;
        // SAFETY: Reads the current task's namespace, which it alone replaces.
        let expires = unsafe { helpers::rfutex_timens_to_host(clock, ns) };
        Self { clock, expires }
    }

    /// The clock's number.
    pub(crate) fn clock(&self) -> i32 {
        self.clock
    }

    /// Nanoseconds on that clock, outside of any time namespace.
    pub(crate) fn expires(&self) -> i64 {
        self.expires
    }
}
