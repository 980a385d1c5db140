// SPDX-License-Identifier: GPL-2.0
//! Searches side by side, one on each processor.

use super::conductor::Conductor;
use crate::harness::Child;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

/// One of several searches.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// Which: they count from 0.
    pub number: u64,
    /// How many there are.
    pub of: u64,
}

impl Lane {
    /// How many there can be that set the clock in scenarios with even numbers only: these are all
    /// in the first one.
    pub const MOST: usize = 2;

    /// What it has of this.
    pub fn part(self, all: Range<u64>) -> impl Iterator<Item = u64> {
        all.filter(move |index| index % self.of == self.number)
    }
}

/// Runs `work` in a process for each processor, but no more than so many: in its lane, with a
/// conductor that has the processor to itself. Fails if one of them fails.
pub fn on_processors(most: usize, work: impl Fn(Lane, &mut Conductor)) {
    let this = Pid::from_raw(0);
    let all = sched_getaffinity(this).expect("sched_getaffinity");
    let processors = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu) == Ok(true));
    let processors: Vec<_> = processors.take(most).collect();
    let of = processors.len() as u64;
    let lanes = processors.into_iter().zip(0..).map(|(cpu, number)| {
        Child::run(|| {
            let mut one = CpuSet::new();
            one.set(cpu).expect("a processor");
            sched_setaffinity(this, &one).expect("sched_setaffinity");
            let mut conductor = Conductor::new();
            step_back();
            work(Lane { number, of }, &mut conductor);
        })
    });
    let lanes: Vec<_> = lanes.collect();
    let mut failed = 0;
    for lane in lanes {
        // As long as it takes: the trial has its own limit.
        while !lane.is_finished() {
            sleep(Duration::from_millis(5));
        }
        failed += i32::from(!matches!(lane.status(), WaitStatus::Exited(_, 0)));
    }
    assert_eq!(failed, 0, "lanes that failed");
}

/// Lets the calling thread run when no other has anything to do: when the conductor looks at the
/// actors, they are asleep already.
fn step_back() {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` is valid.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &param) };
    assert_eq!(result, 0, "sched_setscheduler");
}
