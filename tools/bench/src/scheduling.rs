// SPDX-License-Identifier: GPL-2.0
//! Who runs when.
//!
//! With one processor this makes a batch the same every time: threads that are
//! woken preempt nobody, and the one who wakes many is not preempted at all.

use nix::errno::Errno;

/// How the calling thread is scheduled.
#[derive(Clone, Copy, Debug)]
pub enum Policy {
    /// As usual, but it preempts nobody when it is woken.
    Batch,
    /// Before all that is as usual.
    Waker,
}

/// Has every task that falls asleep leave its run queue at once. As the kernel
/// does it otherwise, whether it does depends on how long the task has run
/// before, and two threads that wake each other cost some 4 % more in one boot
/// than in another, in futex(2) as in rfutex.
pub fn sleep_at_once() {
    const FEATURES: &str = "/sys/kernel/debug/sched/features";
    std::fs::write(FEATURES, "NO_DELAY_DEQUEUE").expect(FEATURES);
}

/// Schedules the calling thread like this from now on.
pub fn set(policy: Policy) {
    let (policy, priority) = match policy {
        Policy::Batch => (libc::SCHED_BATCH, 0),
        Policy::Waker => (libc::SCHED_FIFO, 1),
    };
    let param = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: `param` is valid.
    let result = unsafe { libc::sched_setscheduler(0, policy, &param) };
    Errno::result(result).expect("sched_setscheduler");
}
