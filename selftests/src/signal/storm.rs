// SPDX-License-Identifier: GPL-2.0
//! Signals, deadlines and wakes at the same moment: what a waker counted, a
//! waiter has got.

use crate::harness::{Handler, Mapping, PAGE, Task, fx, signal_thread};
use nix::sys::signal::{SaFlags, Signal};
use rfutex::{Error, WaitOptions, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

trials![
    no_wake_lost_with_restart,
    no_wake_lost_without_restart,
    no_wake_lost_to_a_deadline
];

/// How many wakes must have been counted.
const WAKES: u32 = 600;
const WAITERS: usize = 3;

/// Waits again and again until the word changes. Returns how often it was
/// woken.
fn wait_and_count(map: &Mapping, word: Word<'static>, after: Option<Duration>) -> u32 {
    let mut woken = 0;
    while map.atomic::<AtomicU32>(0).load(Ordering::SeqCst) == 0 {
        let options = WaitOptions::default();
        let options = after.map_or(options, |after| options.within(after));
        match fx().wait_with(word, 0, options) {
            Ok(()) => woken += 1,
            Err(Error::Interrupted | Error::TimedOut | Error::Again) => {}
            Err(error) => panic!("wait: {error}"),
        }
    }
    woken
}

fn storm(flags: SaFlags, after: Option<Duration>) {
    let map = Arc::new(Mapping::private(PAGE));
    for word in [map.word(0), map.word(0).private()] {
        map.atomic::<AtomicU32>(0).store(0, Ordering::SeqCst);
        let _handler = Handler::counting(Signal::SIGUSR1, flags);
        let waiters = [(); WAITERS].map(|()| {
            let map = map.clone();
            Task::spawn(move || wait_and_count(&map, word, after))
        });
        let tids = waiters.each_ref().map(Task::tid);
        let stop = Arc::new(AtomicU32::new(0));
        let storm = Task::spawn({
            let stop = stop.clone();
            move || {
                while stop.load(Ordering::SeqCst) == 0 {
                    tids.iter()
                        .for_each(|tid| signal_thread(*tid, Signal::SIGUSR1));
                    std::thread::yield_now();
                }
            }
        });
        let mut counted = 0;
        while counted < WAKES {
            counted += fx().wake(word, 1 + counted % 3, !0).expect("wake");
        }
        // The waiters must be there for the signals.
        stop.store(1, Ordering::SeqCst);
        storm.join();
        map.atomic::<AtomicU32>(0).store(1, Ordering::SeqCst);
        counted += fx().wake_all(word).expect("wake");
        let woken: u32 = waiters.into_iter().map(Task::join).sum();
        assert_eq!(
            woken, counted,
            "wakes that were counted, and those that arrived"
        );
    }
}

fn no_wake_lost_with_restart() {
    storm(SaFlags::SA_RESTART, None);
}

fn no_wake_lost_without_restart() {
    storm(SaFlags::empty(), None);
}

fn no_wake_lost_to_a_deadline() {
    storm(SaFlags::empty(), Some(Duration::from_micros(200)));
}
