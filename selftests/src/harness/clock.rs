// SPDX-License-Identifier: GPL-2.0
//! A clock that a test sets.

use super::until;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_getres, clock_settime};
use rfutex::Clock;
use std::time::Duration;

const NS: i64 = 1_000_000_000;

/// `CLOCK_REALTIME`, which is set right again when this goes.
#[derive(Debug)]
pub struct Realtime {
    /// What it is ahead of `CLOCK_BOOTTIME`, in nanoseconds.
    ahead: i64,
}

impl Realtime {
    /// Leaves it as it is, for now.
    ///
    /// For some seconds after the machine was started, the kernel's timers are coarse. As long as
    /// they are, they learn at the next tick only that a clock was set, and a wait that begins
    /// before that may find its deadline long past. So this waits until they are fine.
    pub fn new() -> Self {
        until("the timers are fine", || {
            let resolution = clock_getres(ClockId::CLOCK_MONOTONIC).expect("clock_getres");
            resolution == TimeSpec::new(0, 1)
        });
        Self {
            ahead: Clock::Realtime.now() - Clock::Boottime.now(),
        }
    }

    /// Sets it so far ahead of what is right.
    pub fn set(&self, ahead: Duration) {
        self.shift(ahead.as_nanos() as i64);
    }

    /// Sets it so far back from what is right.
    pub fn set_back(&self, back: Duration) {
        self.shift(-(back.as_nanos() as i64));
    }

    fn shift(&self, ns: i64) {
        let now = Clock::Boottime.now() + self.ahead + ns;
        let now = TimeSpec::new(now / NS, now % NS);
        clock_settime(ClockId::CLOCK_REALTIME, now).expect("clock_settime");
    }
}

impl Drop for Realtime {
    fn drop(&mut self) {
        self.shift(0);
    }
}
