// SPDX-License-Identifier: GPL-2.0
//! A woken task is killed before it returns. Its wake counts as delivered, and goes to nobody else:
//! with a futex, too, who is woken may never act.

use crate::harness::{Child, PAGE, Waiter, fx, nr_waiters, until_queued};
use crate::memory::{Region, RegionWord, memfd};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

trials![after_its_wake];

/// Makes the calling thread one that no ordinary thread interrupts, or an ordinary one again.
#[track_caller]
fn real_time(on: bool) {
    let (policy, sched_priority) = if on {
        (libc::SCHED_FIFO, 1)
    } else {
        (libc::SCHED_OTHER, 0)
    };
    let param = libc::sched_param { sched_priority };
    // SAFETY: The parameters outlive the call.
    let result = unsafe { libc::sched_setscheduler(0, policy, &param) };
    nix::Error::result(result).expect("sched_setscheduler");
}

fn after_its_wake() {
    let region = Region::shared(memfd(PAGE), 0, PAGE);
    let (word, returned) = (region.word(0), region.word(64));
    // All on one processor: what is woken runs when the waker lets it.
    let mut cpus = CpuSet::new();
    cpus.set(0).expect("a processor");
    sched_setaffinity(Pid::from_raw(0), &cpus).expect("sched_setaffinity");

    let child = Child::run(|| {
        fx().wait(word, 0).expect("a wake");
        returned.store(1);
    });
    until_queued(word, 1);
    let second = Waiter::start(word, 0);

    real_time(true);
    let woken = fx().wake_one(word);
    child.kill(Signal::SIGKILL);
    let acted = returned.load();
    real_time(false);

    assert_eq!(woken, Ok(1));
    assert_eq!(acted, 0, "it had not returned when it was killed");
    let pid = child.pid();
    assert_eq!(
        child.status(),
        WaitStatus::Signaled(pid, Signal::SIGKILL, false)
    );
    assert_eq!(returned.load(), 0);
    assert!(!second.is_finished(), "the wake was not for it");
    assert_eq!(nr_waiters(word), 1);
    assert_eq!(fx().wake_one(word), Ok(1));
    second.woken();
}
