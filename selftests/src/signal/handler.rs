// SPDX-License-Identifier: GPL-2.0
//! Signal handlers, with and without `SA_RESTART`.

use crate::harness::{
    Handler, Mapping, PAGE, Task, Waiter, futex, fx, nr_waiters, signal_thread, try_signal_thread,
    until, until_in_syscall, until_queued,
};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, Signal};
use rfutex::{Clock, Deadline, Error, WaitOptions, Word};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

trials![
    without_restart,
    restarted_and_woken,
    restarted_and_timed_out,
    restarted_at_the_end_of_the_line,
    not_queued_in_the_handler,
    change_in_the_handler,
    as_futex,
];

const SIGNAL: Signal = Signal::SIGUSR1;

fn words(map: &Mapping) -> [Word<'static>; 2] {
    [map.word(0), map.word(0).private()]
}

fn options() -> [WaitOptions; 2] {
    let options = WaitOptions::default();
    [options, options.within(Duration::from_secs(3600))]
}

fn without_restart() {
    let map = Mapping::shared(PAGE);
    let handler = Handler::counting(SIGNAL, SaFlags::empty());
    for (nr, (word, options)) in (1..).zip(words(&map).into_iter().zip(options())) {
        let waiter = Waiter::start_with(word, 0, options);
        signal_thread(waiter.tid(), SIGNAL);
        assert_eq!(waiter.join(), Err(Error::Interrupted));
        assert_eq!(handler.count(), nr);
        assert_eq!(nr_waiters(word), 0);
    }
}

fn restarted_and_woken() {
    let map = Mapping::shared(PAGE);
    for word in words(&map) {
        for options in options() {
            let handler = Handler::counting(SIGNAL, SaFlags::SA_RESTART);
            let waiter = Waiter::start_with(word, 0, options);
            for nr in 1..=5 {
                signal_thread(waiter.tid(), SIGNAL);
                until("the handler runs", || handler.count() == nr);
                until_queued(word, 1);
            }
            assert_eq!(fx().wake_one(word), Ok(1));
            waiter.woken();
        }
    }
}

/// The time is the first one's, however often it is restarted: signals come
/// for as long as it waits, so if each put it off, it would never end.
fn restarted_and_timed_out() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    for clock in Clock::ALL {
        let handler = Handler::counting(SIGNAL, SaFlags::SA_RESTART);
        // Again, where the machine was so slow that no signal came in time.
        until("a signal interrupts the wait", || {
            let deadline = Deadline::after(clock, Duration::from_millis(200));
            let task = Task::spawn(move || {
                let options = WaitOptions::default().deadline(deadline);
                (fx().wait_with(word, 0, options), clock.now())
            });
            let (before, mut sent) = (handler.count(), 0);
            until("the deadline passes", || {
                // It may end at any time.
                if handler.count() == before + sent
                    && nr_waiters(word) == 1
                    && try_signal_thread(task.tid(), SIGNAL).is_ok()
                {
                    sent += 1;
                }
                task.is_finished()
            });
            let (result, now) = task.join();
            assert_eq!(result, Err(Error::TimedOut));
            assert!(now >= deadline.ns, "{} ns too early", deadline.ns - now);
            handler.count() > before
        });
    }
}

/// Who was interrupted queues again, behind those that came meanwhile.
fn restarted_at_the_end_of_the_line() {
    let map = Mapping::private(PAGE);
    let word = map.word(0);
    let handler = Handler::counting(SIGNAL, SaFlags::SA_RESTART);
    let (first, second) = (Waiter::start(word, 0), Waiter::start(word, 0));
    // It shows that it was queued anew by the order.
    signal_thread(first.tid(), SIGNAL);
    until("the handler runs", || handler.count() == 1);
    until_queued(word, 2);
    assert_eq!(fx().wake_one(word), Ok(1));
    second.woken();
    assert!(!first.is_finished());
    assert_eq!(fx().wake_one(word), Ok(1));
    first.woken();
}

static IN_HANDLER: AtomicBool = AtomicBool::new(false);
static LEAVE_HANDLER: AtomicBool = AtomicBool::new(false);

/// Stays in the handler until it is told to leave.
extern "C" fn stay(_signal: i32) {
    IN_HANDLER.store(true, Ordering::SeqCst);
    while !LEAVE_HANDLER.load(Ordering::SeqCst) {
        // SAFETY: It takes nothing and may be called in a handler.
        unsafe { libc::sched_yield() };
    }
}

/// Brings a waiter into the handler, does `f`, and lets it go on.
fn with_waiter_in_handler(word: Word<'static>, f: impl FnOnce()) -> Waiter {
    IN_HANDLER.store(false, Ordering::SeqCst);
    LEAVE_HANDLER.store(false, Ordering::SeqCst);
    let waiter = Waiter::start(word, 0);
    signal_thread(waiter.tid(), SIGNAL);
    until("the handler runs", || IN_HANDLER.load(Ordering::SeqCst));
    f();
    LEAVE_HANDLER.store(true, Ordering::SeqCst);
    waiter
}

/// A wake then goes to somebody else, and is not lost.
fn not_queued_in_the_handler() {
    let map = Mapping::private(PAGE);
    let _handler = Handler::new(SIGNAL, stay, SaFlags::SA_RESTART);
    for word in words(&map) {
        let waiter = with_waiter_in_handler(word, || {
            assert_eq!(nr_waiters(word), 0);
            assert_eq!(fx().wake_one(word), Ok(0));
            let other = Waiter::start(word, 0);
            assert_eq!(fx().wake_one(word), Ok(1));
            other.woken();
        });
        until_queued(word, 1);
        assert_eq!(fx().wake_one(word), Ok(1));
        waiter.woken();
    }
}

/// The word is compared again: the change is not missed.
fn change_in_the_handler() {
    let map = Mapping::private(PAGE);
    let _handler = Handler::new(SIGNAL, stay, SaFlags::SA_RESTART);
    for word in words(&map) {
        let atomic = map.atomic::<AtomicU32>(0);
        let waiter = with_waiter_in_handler(word, || {
            atomic.store(1, Ordering::SeqCst);
            assert_eq!(fx().wake_one(word), Ok(0));
        });
        assert_eq!(waiter.join(), Err(Error::Again));
        atomic.store(0, Ordering::SeqCst);
    }
}

/// futex(2) without a timeout does the same.
fn as_futex() {
    let map = Mapping::private(PAGE);
    let addr = map.addr();
    for flags in [SaFlags::empty(), SaFlags::SA_RESTART] {
        let handler = Handler::counting(SIGNAL, flags);
        let theirs = Task::spawn(move || futex::wait(addr, 0, true));
        until_in_syscall(nix::unistd::getpid(), theirs.tid(), libc::SYS_futex);
        let ours = Waiter::start(map.word(0).private(), 0);
        signal_thread(theirs.tid(), SIGNAL);
        signal_thread(ours.tid(), SIGNAL);
        until("the handlers run", || handler.count() == 2);
        if flags.contains(SaFlags::SA_RESTART) {
            until("futex(2) waits again", || {
                futex::wake(addr, 1, true) == Ok(1)
            });
            assert_eq!(theirs.join(), Ok(()));
            until_queued(map.word(0).private(), 1);
            assert_eq!(fx().wake_one(map.word(0).private()), Ok(1));
            ours.woken();
        } else {
            assert_eq!(theirs.join(), Err(Errno::EINTR));
            assert_eq!(ours.join(), Err(Error::Interrupted));
        }
    }
}
