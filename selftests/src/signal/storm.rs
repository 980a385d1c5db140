// SPDX-License-Identifier: GPL-2.0
//! Signals, deadlines and wakes at the same moment: what a waker counted, a
//! waiter has got.

use crate::harness::storm::{signal_again, wait_and_count};
use crate::harness::{Handler, Mapping, PAGE, Task, effort, fx};
use crate::memory::RegionWord;
use nix::sys::signal::{SaFlags, Signal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

trials![
    no_wake_lost_with_restart,
    no_wake_lost_without_restart,
    no_wake_lost_to_a_deadline
];

/// How many wakes must have been counted.
const WAKES: u32 = 600;
const WAITERS: usize = 3;

fn storm(flags: SaFlags, after: Option<Duration>) {
    let map = Mapping::private(PAGE);
    for word in [map.word(0), map.word(0).private()] {
        word.store(0);
        let handler = Arc::new(Handler::counting(Signal::SIGUSR1, flags));
        let waiters = [(); WAITERS].map(|()| wait_and_count(word, after));
        let tids = waiters.each_ref().map(Task::tid);
        let stop = Arc::new(AtomicBool::new(false));
        let storm = signal_again(&stop, &handler, tids);
        let mut counted = 0;
        while counted < effort(WAKES) {
            counted += fx().wake(word, 1 + counted % 3, !0).expect("wake");
        }
        // The waiters must be there for the signals.
        stop.store(true, Ordering::SeqCst);
        storm.join();
        word.store(1);
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
