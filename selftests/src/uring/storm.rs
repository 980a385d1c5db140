// SPDX-License-Identifier: GPL-2.0
//! All of it at the same time.

use super::Ring;
use crate::harness::storm::again;
use crate::harness::{Mapping, PAGE, Task, effort, fx, nr_waiters};
use libc::ECANCELED;
use rfutex::raw::uapi::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

trials![everything_at_once];

/// Waits, wakes, cancellations and closing at the same time. What wakes have counted is completed.
fn everything_at_once() {
    const STORM: Duration = Duration::from_secs(3);
    let map = Arc::new(Mapping::shared(PAGE));
    let word = map.word(0);
    let stop = Arc::new(AtomicBool::new(false));
    let [woken, completed] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let wakers = [1, 3].map(|nr| {
        let woken = Arc::clone(&woken);
        again(&stop, move || {
            let nr = fx().wake(word, nr, u64::MAX).expect("wake");
            woken.fetch_add(nr.into(), Ordering::SeqCst);
        })
    });
    let waiters = [0, 1].map(|_| {
        let completed = Arc::clone(&completed);
        let mut ring = Ring::new();
        let mut round = 0;
        again(&stop, move || {
            round += 1;
            for user_data in 0..8 {
                ring.wait(word, user_data);
            }
            let mut left = 8;
            for user_data in (0..8).filter(|nr| nr % 2 == round % 2) {
                let entry = ring.entry(RFUTEX_URING_CANCEL, user_data, 100);
                ring.submit(&entry);
                left += 1;
            }
            // Those that are neither cancelled nor woken by the others are woken here.
            while left > 0 {
                let nr = ring.call_among(RFUTEX_WAKE_ONE, word.addr(), &mut |user_data, result| {
                    left -= 1;
                    if user_data < 100 && result == 0 {
                        completed.fetch_add(1, Ordering::SeqCst);
                    } else {
                        assert!(user_data == 100 || result == -ECANCELED, "{result}");
                    }
                });
                completed.fetch_sub(nr, Ordering::SeqCst);
            }
        })
    });
    std::thread::sleep(effort(STORM));
    stop.store(true, Ordering::SeqCst);
    waiters.into_iter().for_each(Task::join);
    wakers.into_iter().for_each(Task::join);
    assert_eq!(nr_waiters(word), 0);
    let woken = woken.load(Ordering::SeqCst);
    assert!(woken > 0);
    assert_eq!(woken, completed.load(Ordering::SeqCst));
}

impl Ring {
    /// Submits an entry, and hears of all that is completed until it is. Returns its result.
    fn call_among(&mut self, op: u32, arg: u64, hear: &mut impl FnMut(u64, i32)) -> u64 {
        let entry = self.entry(op, arg, u64::MAX);
        self.submit(&entry);
        let mut own = None;
        while own.is_none() {
            let first = self.next();
            for (user_data, result) in std::iter::once(first).chain(self.done()) {
                if user_data == u64::MAX {
                    own = Some(u64::try_from(result).expect("a wake succeeds"));
                } else {
                    hear(user_data, result);
                }
            }
        }
        own.unwrap_or(0)
    }
}
