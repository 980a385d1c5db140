// SPDX-License-Identifier: GPL-2.0
//! Deadlines that pass when the test says so, however slow the machine is.

use crate::harness::Realtime;
use rfutex::{Clock, Deadline, WaitOptions};
use std::time::Duration;

/// How far the clock is set forward.
const FAR: Duration = Duration::from_secs(3600);

/// A leap of `CLOCK_REALTIME` over a deadline. The clock is put back on drop.
#[derive(Debug)]
pub struct Leap {
    clock: Realtime,
    deadline: Deadline,
}

impl Leap {
    /// A deadline that does not pass before the leap.
    pub fn new() -> Self {
        Self {
            clock: Realtime::new(),
            deadline: Deadline::after(Clock::Realtime, FAR),
        }
    }

    /// The deadline.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// To wait until then.
    pub fn options(&self) -> WaitOptions {
        WaitOptions::default().deadline(self.deadline)
    }

    /// The deadline passes.
    pub fn now(&self) {
        self.clock.set(FAR);
    }
}
