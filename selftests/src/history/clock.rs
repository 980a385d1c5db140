// SPDX-License-Identifier: GPL-2.0
//! Deadlines that pass when the test says so.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use rfutex::{Clock, Deadline, WaitOptions};
use std::cell::Cell;
use std::time::Duration;

/// A leap of `CLOCK_REALTIME` over a deadline. The clock is put back on drop.
#[derive(Debug)]
pub struct Leap {
    deadline: Deadline,
    leapt: Cell<bool>,
}

/// How far the clock is set forward.
const FAR: Duration = Duration::from_secs(3600);

impl Leap {
    /// A deadline that does not pass before the leap.
    pub fn new() -> Self {
        Self {
            deadline: Deadline::after(Clock::Realtime, FAR),
            leapt: Cell::new(false),
        }
    }

    /// To wait until then.
    pub fn options(&self) -> WaitOptions {
        WaitOptions::default().deadline(self.deadline)
    }

    /// The deadline passes.
    #[track_caller]
    pub fn now(&self) {
        assert!(!self.leapt.replace(true), "one leap is enough");
        set(|now| now + TimeSpec::from_duration(FAR));
    }
}

#[track_caller]
fn set(to: impl FnOnce(TimeSpec) -> TimeSpec) {
    let clock = ClockId::CLOCK_REALTIME;
    let now = clock_gettime(clock).expect("clock_gettime");
    clock_settime(clock, to(now)).expect("clock_settime");
}

impl Drop for Leap {
    fn drop(&mut self) {
        if self.leapt.get() {
            set(|now| now - TimeSpec::from_duration(FAR));
        }
    }
}
