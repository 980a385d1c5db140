// SPDX-License-Identifier: GPL-2.0
//! Deadlines of WAITV, SWAP and of moved waiters in a time namespace.

use super::{DAY, NS, at, in_time_namespace};
use crate::harness::{Mapping, PAGE, Task, Waiter, fx, until, until_queued};
use rfutex::{Clock, Deadline, Error, WaitEntry};
use std::time::Duration;

trials![time_namespace];

/// With the offset forgotten, these would be over at once or not at all.
fn time_namespace() {
    let map = Mapping::shared(PAGE);
    let [word, other] = [map.word(0), map.word(64)];
    until("the clock shows 3 s, to put it back by 2", || {
        Clock::Monotonic.now() > 3 * NS
    });
    for (monotonic, boottime) in [(86400, 7 * 86400), (-2, -1)] {
        in_time_namespace(monotonic, boottime, || {
            let entries = [WaitEntry::new(word, 0), WaitEntry::new(other, 0)];
            for clock in Clock::ALL {
                for nr in [1, 2] {
                    let soon = Deadline::after(clock, Duration::from_millis(20));
                    let result = fx().wait_any(&entries[..nr], Some(soon));
                    assert_eq!(result, Err(Error::TimedOut), "{clock:?}");
                    assert!(clock.now() >= soon.ns, "{clock:?}");
                }
                let soon = Deadline::after(clock, Duration::from_millis(20));
                let result = fx().swap_with(word, 0, other, at(clock, soon.ns));
                assert_eq!(result, Err(Error::TimedOut), "{clock:?}");
                assert!(clock.now() >= soon.ns, "{clock:?}");

                // Later than it is outside, and yet to come.
                let far = Deadline {
                    clock,
                    ns: clock.now() + DAY,
                };
                let task =
                    Task::spawn(move || fx().wait_any(&[WaitEntry::new(word, 0)], Some(far)));
                until_queued(word, 1);
                assert_eq!(fx().wake_one(word), Ok(1));
                assert_eq!(task.join(), Ok(0));
                let task = Task::spawn(move || fx().swap_with(word, 0, other, at(clock, far.ns)));
                until_queued(word, 1);
                assert_eq!(fx().wake_one(word), Ok(1));
                assert_eq!(task.join(), Ok(()));

                // Who is moved keeps it.
                let soon = Deadline::after(clock, Duration::from_millis(50));
                let task = Task::spawn(move || fx().wait_with(word, 0, at(clock, soon.ns)));
                until("it is moved, or it was too late", || {
                    task.is_finished() || fx().requeue(word, other, 0, 1) == Ok(1)
                });
                assert_eq!(task.join(), Err(Error::TimedOut));
                assert!(clock.now() >= soon.ns, "{clock:?}");
                let waiter = Waiter::start_with(word, 0, at(clock, far.ns));
                assert_eq!(fx().requeue(word, other, 0, 1), Ok(1));
                assert_eq!(fx().wake_one(other), Ok(1));
                waiter.woken();
            }
        });
    }
}
