// SPDX-License-Identifier: GPL-2.0
//! A clock that a test sets.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
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
    pub fn new() -> Self {
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
