// SPDX-License-Identifier: GPL-2.0
//! A task is killed as it is woken. The wake counts as delivered, and goes to nobody else: with a
//! futex, too, who is woken may never act.

use crate::harness::{Child, PAGE, Waiter, fx, nr_waiters, set_priority, stay_on, until_queued};
use crate::memory::{Region, RegionWord, memfd};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use rfutex::{Error, Word};

trials![after_its_wake, before_its_wake];

/// It is woken first, and did not get to return.
fn after_its_wake() {
    check(|child, word| {
        let woken = fx().wake_one(word);
        child.kill(Signal::SIGKILL);
        woken
    });
}

/// It is killed first, and did not get to leave the queue.
fn before_its_wake() {
    check(|child, word| {
        child.kill(Signal::SIGKILL);
        fx().wake_one(word)
    });
}

/// Has a child wait, and a thread behind it; `kill_and_wake` does both to the child, which does not
/// run meanwhile.
fn check(kill_and_wake: impl Fn(&Child, Word<'static>) -> Result<u32, Error>) {
    let region = Region::shared(memfd(PAGE), 0, PAGE);
    let (word, returned) = (region.word(0), region.word(64));
    // All on one processor, where no ordinary thread interrupts a real-time one: what is woken runs
    // when the waker lets it.
    stay_on(0);

    let child = Child::run(|| {
        fx().wait(word, 0).expect("a wake");
        returned.store(1);
    });
    until_queued(word, 1);
    let second = Waiter::start(word, 0);

    set_priority(1);
    let woken = kill_and_wake(&child, word);
    let acted = returned.load();
    set_priority(0);

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
