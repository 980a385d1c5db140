// SPDX-License-Identifier: GPL-2.0
//! Many waiters in one bucket, and such as come and go.

use super::{all, nr_waiters};
use crate::harness::storm::again;
use crate::harness::{LIMIT, Mapping, PAGE, ReloadedModule, Task, effort, fx};
use rfutex::{Error, Rfutex, WaitOptions, WatchOptions, Watches, What, Word};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

trials![
    a_hundred_thousand,
    ends_while_waiters_come_and_go,
    once_each,
];

/// A set with watches on `word` whose cookies are `cookies`.
fn watched(device: &Rfutex, word: Word<'_>, cookies: std::ops::Range<u64>) -> Watches {
    let set = Watches::nonblocking(device).expect("a watch set");
    for cookie in cookies {
        set.add(word, 0, cookie, WatchOptions::default())
            .expect("a watch");
    }
    set
}

/// The cookies of all watches that a listing shows, which are below `limit`.
#[track_caller]
fn cookies(device: &Rfutex, limit: u64) -> Vec<u64> {
    let watches = all(device)
        .into_iter()
        .filter(|waiter| waiter.what == What::Watch);
    let cookies = watches.filter_map(|waiter| waiter.cookie);
    cookies.filter(|&cookie| cookie < limit).collect()
}

/// All are shown, each once, and in order. In a brief run, there are a quarter of them.
fn a_hundred_thousand() {
    let nr = effort(100_000);
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let _module = ReloadedModule::with("watches=200000");
    let device = Rfutex::open().expect("the device");
    let set = watched(&device, word, 0..nr);
    assert_eq!(nr_waiters(&device, word), nr as u32);
    let expected: Vec<_> = (0..nr).collect();
    assert!(cookies(&device, nr) == expected, "all, in order");
    assert_eq!(device.wake_all(word), Ok(nr as u32));
    drop(set);
}

/// A listing ends although there are always waiters that it has not seen: those who come later are
/// behind its end.
fn ends_while_waiters_come_and_go() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let _some = watched(fx(), word, 0..100);
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let set = watched(fx(), word, 0..0);
            again(&stop, move || {
                let ids: Vec<_> = (0..70)
                    .map(|_| {
                        let options = WatchOptions::default();
                        set.add(word, 0, u64::MAX, options).expect("a watch")
                    })
                    .collect();
                for id in ids {
                    assert_eq!(set.remove(id), Ok(Some(0)));
                }
            })
        })
        .collect();
    let begun = Instant::now();
    let mut listings = 0;
    while begun.elapsed() < effort(Duration::from_secs(3)) || listings < 20 {
        assert_eq!(cookies(fx(), 100).len(), 100);
        listings += 1;
        assert!(begun.elapsed() < LIMIT);
    }
    stop.store(true, Ordering::SeqCst);
    tasks.into_iter().for_each(Task::join);
}

/// Those who wait all the time are shown once by each listing, wherever others come and go between
/// them: in the same bucket, and in all.
fn once_each() {
    const NR: u64 = 400;
    let map = Arc::new(Mapping::shared(4 * PAGE));
    let word = map.word(0);
    // Every other of these goes again, so that the rest have others beside them.
    let (stay, go) = (watched(fx(), word, 0..0), watched(fx(), word, 0..0));
    let mut ids = Vec::new();
    for cookie in 0..NR {
        let options = WatchOptions::default();
        stay.add(word, 0, cookie, options).expect("a watch");
        ids.push(go.add(word, 0, u64::MAX, options).expect("a watch"));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut next = 0;
    let churn = again(&stop, move || {
        let at = next * 7 % ids.len();
        next += 1;
        assert_eq!(go.remove(ids[at]), Ok(Some(0)));
        let options = WatchOptions::default();
        ids[at] = go.add(word, 0, u64::MAX, options).expect("a watch");
    });
    let sleepers: Vec<_> = (0..2)
        .map(|nr| {
            let map = Arc::clone(&map);
            let mut at = nr;
            again(&stop, move || {
                at = ((at + 40) % (4 * PAGE - 64)) & !7;
                let options = WaitOptions::default().within(Duration::from_micros(100));
                let result = fx().wait_with(map.word(64 + at), 0, options);
                assert_eq!(result, Err(Error::TimedOut));
            })
        })
        .collect();
    let begun = Instant::now();
    let mut listings = 0;
    while begun.elapsed() < effort(Duration::from_secs(3)) || listings < 20 {
        let cookies = cookies(fx(), NR);
        let different: HashSet<_> = cookies.iter().collect();
        assert_eq!((cookies.len(), different.len()), (NR as usize, NR as usize));
        listings += 1;
        assert!(begun.elapsed() < LIMIT);
    }
    stop.store(true, Ordering::SeqCst);
    churn.join();
    sleepers.into_iter().for_each(Task::join);
    drop(stay);
}
