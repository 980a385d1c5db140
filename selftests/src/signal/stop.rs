// SPDX-License-Identifier: GPL-2.0
//! Stop and continue, a tracer, and a kill.

use crate::harness::{
    Child, Mapping, PAGE, Realtime, Waiter, fx, nr_waiters, stop_and_go, until_queued,
};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rfutex::{Clock, Deadline, Error, WaitOptions};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

trials![
    stop_and_continue,
    change_while_stopped,
    deadline_while_stopped,
    tracer,
    ignored_signals,
    killed,
    killed_with_many_threads,
    killed_between_others,
];

/// A child that waits on the first word of `map`, and what it must get.
fn waiting_child(map: &Mapping, options: WaitOptions, expected: Result<(), Error>) -> Child {
    let child = Child::run(|| assert_eq!(fx().wait_with(map.word(0), 0, options), expected));
    until_queued(map.word(0), 1);
    child
}

fn stop_and_continue() {
    let map = Mapping::shared(PAGE);
    let timed = WaitOptions::default().within(Duration::from_secs(3600));
    for options in [WaitOptions::default(), timed] {
        let child = waiting_child(&map, options, Ok(()));
        for _ in 0..3 {
            child.stop();
            child.go_on();
            until_queued(map.word(0), 1);
        }
        assert_eq!(fx().wake_one(map.word(0)), Ok(1));
        child.join();
    }
}

fn change_while_stopped() {
    let map = Mapping::shared(PAGE);
    let child = waiting_child(&map, WaitOptions::default(), Err(Error::Again));
    child.stop();
    map.atomic::<AtomicU32>(0).store(1, Ordering::SeqCst);
    child.go_on();
    child.join();
}

fn deadline_while_stopped() {
    let map = Mapping::shared(PAGE);
    let deadline = Deadline::after(Clock::Realtime, Duration::from_secs(3600));
    let options = WaitOptions::default().deadline(deadline);
    let child = waiting_child(&map, options, Err(Error::TimedOut));
    child.stop();
    let clock = Realtime::new();
    clock.set(Duration::from_secs(7200));
    assert!(!child.is_finished());
    child.go_on();
    child.join();
}

fn tracer() {
    let map = Mapping::shared(PAGE);
    let child = waiting_child(&map, WaitOptions::default(), Ok(()));
    for _ in 0..3 {
        stop_and_go(child.pid());
        until_queued(map.word(0), 1);
    }
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    child.join();
}

/// A signal that does nothing: without a tracer, who waits would not even wake up for it.
fn ignored_signals() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let timed = WaitOptions::default().within(Duration::from_secs(3600));
    for options in [WaitOptions::default(), timed] {
        let child = waiting_child(&map, options, Ok(()));
        ptrace::seize(child.pid(), ptrace::Options::empty()).expect("seize");
        for signal in [Signal::SIGCHLD, Signal::SIGURG, Signal::SIGWINCH] {
            let other = Waiter::start(word, 0);
            child.kill(signal);
            let status = waitpid(child.pid(), Some(WaitPidFlag::__WALL)).expect("waitpid");
            assert_eq!(status, WaitStatus::Stopped(child.pid(), signal));
            assert_eq!(nr_waiters(word), 1, "{signal}");
            ptrace::cont(child.pid(), signal).expect("cont");
            // It waits again, behind the other one.
            until_queued(word, 2);
            assert_eq!(fx().wake_one(word), Ok(1));
            other.woken();
            assert_eq!(nr_waiters(word), 1, "{signal}");
        }
        assert_eq!(fx().wake_one(word), Ok(1));
        child.join();
    }
}

/// Ends the child, and nothing of it stays in the queue.
fn kill(child: Child) {
    let pid = child.pid();
    child.kill(Signal::SIGKILL);
    assert_eq!(
        child.status(),
        WaitStatus::Signaled(pid, Signal::SIGKILL, false)
    );
}

fn killed() {
    let map = Mapping::shared(PAGE);
    let timed = WaitOptions::default().within(Duration::from_secs(3600));
    for options in [WaitOptions::default(), timed] {
        kill(waiting_child(&map, options, Ok(())));
        assert_eq!(nr_waiters(map.word(0)), 0);
        assert_eq!(fx().wake_all(map.word(0)), Ok(0));
    }
}

fn killed_with_many_threads() {
    const THREADS: u32 = 20;
    let map = Mapping::shared(PAGE);
    let child = Child::run(|| {
        let waiters: Vec<_> = (0..THREADS)
            .map(|_| Waiter::start(map.word(0), 0))
            .collect();
        waiters.into_iter().for_each(Waiter::woken);
    });
    until_queued(map.word(0), THREADS);
    kill(child);
    assert_eq!(nr_waiters(map.word(0)), 0);
}

/// The first and the third are killed; wakes go to the second and the fourth.
fn killed_between_others() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let first = waiting_child(&map, WaitOptions::default(), Ok(()));
    let second = Waiter::start(word, 0);
    let third = Child::run(|| fx().wait(word, 0).expect("never woken"));
    until_queued(word, 3);
    let fourth = Waiter::start(word, 0);
    kill(first);
    kill(third);
    assert_eq!(nr_waiters(word), 2);
    assert_eq!(fx().wake_one(word), Ok(1));
    second.woken();
    assert_eq!(fx().wake_one(word), Ok(1));
    fourth.woken();
}
