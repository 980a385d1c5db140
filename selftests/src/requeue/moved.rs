// SPDX-License-Identifier: GPL-2.0
//! How the wait of a moved waiter ends.

use crate::harness::{
    BOTH, Child, Handler, Mapping, PAGE, Realtime, Service, Waiter, fx, nr_waiters, signal_thread,
    until, until_queued,
};
use nix::sys::signal::{SaFlags, Signal};
use rfutex::{Clock, Deadline, Error, WaitOptions, Word};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

trials![timed_out, signalled, restarted, killed, exits];

const SIGNAL: Signal = Signal::SIGUSR1;

/// A word of each kind, and one to move to.
fn pairs(private: &Mapping, shared: &Mapping) -> [[Word<'static>; 2]; 3] {
    [
        [private.word(0), shared.word(64)],
        [shared.word(0), private.word(64).private()],
        [shared.word(0), shared.word(64)],
    ]
}

fn move_one(from: Word<'static>, to: Word<'static>) {
    assert_eq!(fx().requeue(from, to, 0, 1), Ok(1));
    assert_eq!([nr_waiters(from), nr_waiters(to)], [0, 1]);
}

fn timed_out() {
    const HOUR: Duration = Duration::from_secs(3600);
    let (private, shared) = (Mapping::private(PAGE), Mapping::shared(PAGE));
    let clock = Realtime::new();
    for [from, to] in pairs(&private, &shared) {
        clock.set(Duration::ZERO);
        let options = WaitOptions::default().deadline(Deadline::after(Clock::Realtime, HOUR));
        let waiter = Waiter::start_with(from, 0, options);
        move_one(from, to);
        clock.set(2 * HOUR);
        assert_eq!(waiter.join(), Err(Error::TimedOut));
        assert_eq!([nr_waiters(from), nr_waiters(to)], [0, 0]);
    }
}

fn signalled() {
    let (private, shared) = (Mapping::private(PAGE), Mapping::shared(PAGE));
    let _handler = Handler::counting(SIGNAL, SaFlags::empty());
    for [from, to] in pairs(&private, &shared) {
        let waiter = Waiter::start(from, 0);
        move_one(from, to);
        signal_thread(waiter.tid(), SIGNAL);
        assert_eq!(waiter.join(), Err(Error::Interrupted));
        assert_eq!([nr_waiters(from), nr_waiters(to)], [0, 0]);
    }
}

/// Restarted, it waits where it waited first, as with futex(2), if that word still has the value.
fn restarted() {
    let map = Mapping::shared(PAGE);
    let [from, to] = [map.word(0), map.word(64)];
    for service in BOTH {
        let handler = Handler::counting(SIGNAL, SaFlags::SA_RESTART);
        let sleeper = service.sleeper(from, 0);
        assert_eq!(
            service.requeue(from, None, to, [0, 1]),
            Ok(1),
            "{service:?}"
        );
        signal_thread(sleeper.tid(), SIGNAL);
        until("the handler runs", || handler.count() == 1);
        assert_eq!(service.wake(to, 1), Ok(0), "{service:?}");
        until("it waits again", || service.wake(from, 1) == Ok(1));
        sleeper.woken();

        let sleeper = service.sleeper(from, 0);
        assert_eq!(
            service.requeue(from, None, to, [0, 1]),
            Ok(1),
            "{service:?}"
        );
        map.atomic::<AtomicU32>(0).store(1, Ordering::SeqCst);
        signal_thread(sleeper.tid(), SIGNAL);
        assert_eq!(sleeper.join(), libc::EAGAIN, "{service:?}");
        map.atomic::<AtomicU32>(0).store(0, Ordering::SeqCst);
    }
}

/// Who comes behind it is found.
fn killed() {
    let map = Mapping::shared(PAGE);
    let [from, to] = [map.word(0), map.word(64)];
    let child = Child::run(|| panic!("{:?}", fx().wait(from, 0)));
    until_queued(from, 1);
    move_one(from, to);
    let waiter = Waiter::start(to, 0);
    child.kill(Signal::SIGKILL);
    child.status();
    assert_eq!(nr_waiters(to), 1);
    assert_eq!(fx().wake_one(to), Ok(1));
    waiter.woken();
}

/// A process ends with threads that were moved to its own memory, and elsewhere.
fn exits() {
    let shared = Mapping::shared(PAGE);
    let to = shared.word(64);
    let child = Child::run(|| {
        let private = Mapping::private(PAGE);
        for [from, to] in pairs(&private, &shared) {
            std::mem::forget(Service::Ours.sleepers::<3>(from));
            assert_eq!(fx().requeue(from, to, 0, 3), Ok(3));
        }
        std::mem::forget(private);
    });
    child.join();
    assert_eq!(nr_waiters(to), 0);
    assert_eq!(fx().wake_all(to), Ok(0));
}
