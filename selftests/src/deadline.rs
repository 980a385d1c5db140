// SPDX-License-Identifier: GPL-2.0
//! Deadlines: on each clock, and where clocks are not what they seem.

pub mod multi;

use crate::harness::{Child, Mapping, PAGE, Realtime, Waiter, errno, futex, fx, nr_waiters, until};
use nix::sched::{CloneFlags, unshare};
use rfutex::{Clock, Deadline, Error, WaitOptions, Word};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

trials![
    past,
    not_before,
    value_before_deadline,
    far_future,
    woken_before,
    realtime_set,
    time_namespace,
];

const DAY: i64 = 86400 * NS;
const NS: i64 = 1_000_000_000;

fn at(clock: Clock, ns: i64) -> WaitOptions {
    WaitOptions::default().deadline(Deadline { clock, ns })
}

fn words(map: &Mapping) -> [Word<'static>; 2] {
    [map.word(0), map.word(0).private()]
}

fn past() {
    let map = Mapping::shared(PAGE);
    for clock in Clock::ALL {
        for word in words(&map) {
            for ns in [0, 1, NS, clock.now() - 1, clock.now()] {
                assert_eq!(
                    fx().wait_with(word, 0, at(clock, ns)),
                    Err(Error::TimedOut),
                    "{clock:?}"
                );
            }
        }
    }
}

/// Waits until a time that is `after` from now, and looks that it was not
/// over before.
fn check_not_before(word: Word<'static>, clock: Clock, after: Duration) {
    let deadline = Deadline::after(clock, after);
    let result = fx().wait_with(word, 0, WaitOptions::default().deadline(deadline));
    let now = clock.now();
    assert_eq!(result, Err(Error::TimedOut), "{clock:?}");
    assert!(
        now >= deadline.ns,
        "{} ns too early on {clock:?}",
        deadline.ns - now
    );
}

fn not_before() {
    let map = Mapping::shared(PAGE);
    for clock in Clock::ALL {
        for word in words(&map) {
            for micros in [1, 50, 1_000, 20_000, 100_000] {
                check_not_before(word, clock, Duration::from_micros(micros));
            }
        }
    }
}

/// As futex(2), which is asked too.
fn value_before_deadline() {
    let map = Mapping::shared(PAGE);
    map.atomic::<AtomicU32>(0).store(1, Ordering::Relaxed);
    for word in words(&map) {
        for (val, expected) in [(0, libc::EAGAIN), (1, libc::ETIMEDOUT)] {
            for clock in Clock::ALL {
                let ours = fx().wait_with(word, val, at(clock, 0));
                assert_eq!(errno(ours), expected);
            }
            let theirs = futex::wait_past(word.addr(), val as u32, word.is_private(), u32::MAX);
            assert_eq!(theirs, expected, "futex(2)");
        }
    }
}

/// A waiter with a deadline after the end of time sleeps, and can be woken.
fn far_future() {
    let map = Mapping::shared(PAGE);
    for clock in Clock::ALL {
        for ns in [clock.now() + DAY, i64::MAX - 1, i64::MAX] {
            let waiter = Waiter::start_with(map.word(0), 0, at(clock, ns));
            assert_eq!(fx().wake_one(map.word(0)), Ok(1), "{clock:?}, {ns}");
            waiter.woken();
        }
    }
}

/// After a wake nothing is left of the deadline: the thread goes on to wait.
fn woken_before() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    for clock in Clock::ALL {
        let deadline = Deadline::after(clock, Duration::from_secs(3600));
        let waiter = Waiter::start_with(word, 0, WaitOptions::default().deadline(deadline));
        assert_eq!(fx().wake_one(word), Ok(1));
        waiter.woken();
    }
}

/// A waiter on the clock follows when it is set: forth, and back before.
fn realtime_set() {
    const HOUR: Duration = Duration::from_secs(3600);
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    // The other clocks do not follow.
    let [realtime, others @ ..] =
        [Clock::Realtime, Clock::Monotonic, Clock::Boottime].map(|clock| {
            let options = WaitOptions::default().deadline(Deadline::after(clock, HOUR));
            Waiter::start_with(word, 0, options)
        });
    let clock = Realtime::new();
    clock.set_back(HOUR);
    assert_eq!(nr_waiters(word), 3);
    clock.set(HOUR / 2);
    assert_eq!(nr_waiters(word), 3);
    clock.set(2 * HOUR);
    assert_eq!(realtime.join(), Err(Error::TimedOut));
    assert_eq!(fx().wake_all(word), Ok(2));
    others.into_iter().for_each(Waiter::woken);
}

/// Runs `f` in a time namespace of its own, in which the clocks are ahead by
/// so many seconds.
fn in_time_namespace(monotonic: i64, boottime: i64, f: impl FnOnce()) {
    // What is unshared is for the children, so a child of its own does it.
    let child = Child::run(|| {
        unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)).expect("unshare");
        let offsets = format!("monotonic {monotonic} 0\nboottime {boottime} 0\n");
        std::fs::write("/proc/self/timens_offsets", offsets).expect("timens_offsets");
        Child::run(f).join();
    });
    child.join();
}

/// With the offset forgotten, these would be over at once or not at all.
fn time_namespace() {
    let map = Mapping::shared(PAGE);
    until("the clock shows 3 s, to put it back by 2", || {
        Clock::Monotonic.now() > 3 * NS
    });
    for (monotonic, boottime) in [(0, 0), (86400, 7 * 86400), (-2, -1), (86400, -2)] {
        let before = Clock::ALL.map(Clock::now);
        in_time_namespace(monotonic, boottime, || {
            for (clock, before, shift) in [
                (Clock::Monotonic, before[0], monotonic),
                (Clock::Realtime, before[1], 0),
                (Clock::Boottime, before[2], boottime),
            ] {
                // Be sure of where we are.
                let passed = clock.now() - before - shift * NS;
                assert!(
                    (0..3600 * NS).contains(&passed),
                    "{clock:?} is {passed} ns off"
                );
                for word in words(&map) {
                    check_not_before(word, clock, Duration::from_millis(30));
                    assert_eq!(fx().wait_with(word, 0, at(clock, 0)), Err(Error::TimedOut));
                }
                for ns in [clock.now() + DAY, i64::MAX] {
                    let waiter = Waiter::start_with(map.word(0), 0, at(clock, ns));
                    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
                    waiter.woken();
                }
            }
        });
    }
}
