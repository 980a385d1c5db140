// SPDX-License-Identifier: GPL-2.0
//! All that can happen to watches, at the same time. No wake is lost, and none is counted twice.

use super::{events, set};
use crate::harness::storm::again;
use crate::harness::{LIMIT, Mapping, PAGE, Task, effort, fx, until};
use rfutex::{Error, WatchOptions, Watches, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

trials![everything_at_once, close_against_wake, remove_against_wake];

/// How long a storm lasts.
const STORM: Duration = Duration::from_secs(3);

/// Counts what wakes have returned, and what was heard of it.
#[derive(Default)]
struct Sums {
    /// What wakes and requeues have counted as woken.
    woken: AtomicU64,
    /// What events, removals and waits have told.
    heard: AtomicU64,
}

fn everything_at_once() {
    let map = Arc::new(Mapping::shared(PAGE));
    let words = [map.word(0), map.word(64), map.word(0).private()];
    let sums = Arc::new(Sums::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for word in words {
        let sum = Arc::clone(&sums);
        let mut nr = 0;
        tasks.push(again(&stop, move || {
            nr = nr % 5 + 1;
            let woken = fx().wake(word, nr, u64::MAX).expect("wake");
            sum.woken.fetch_add(woken.into(), Ordering::SeqCst);
        }));
        let sum = Arc::clone(&sums);
        tasks.push(again(&stop, move || {
            let options = rfutex::WaitOptions::default().within(Duration::from_millis(1));
            match fx().wait_with(word, 0, options) {
                Ok(()) => {
                    sum.heard.fetch_add(1, Ordering::SeqCst);
                }
                Err(Error::TimedOut) => {}
                Err(error) => panic!("wait: {error}"),
            }
        }));
        let sum = Arc::clone(&sums);
        let set = set();
        let mut round = 0;
        tasks.push(again(&stop, move || {
            round += 1;
            add_and_end(&set, word, round, &sum);
        }));
    }
    std::thread::sleep(effort(STORM));
    stop.store(true, Ordering::SeqCst);
    tasks.into_iter().for_each(Task::join);
    let woken = sums.woken.load(Ordering::SeqCst);
    assert!(woken > 0);
    assert_eq!(woken, sums.heard.load(Ordering::SeqCst));
}

/// Adds some watches, reads some events, and ends all watches in one of several ways.
fn add_and_end(set: &Watches, word: Word<'_>, round: u64, sums: &Sums) {
    let hear = |nr: u64| {
        sums.heard.fetch_add(nr, Ordering::SeqCst);
    };
    let once = WatchOptions::default();
    let ids = [once, once.repeat(), once, once.repeat()]
        .map(|options| set.add(word, 0, round, options).expect("a watch"));
    if round.is_multiple_of(3) {
        events(set).iter().for_each(|event| hear(event.woken));
    }
    for id in ids {
        if let Some(unread) = set.remove(id).expect("it is removed") {
            hear(unread.into());
        }
    }
    events(set).iter().for_each(|event| hear(event.woken));
    // Nothing is left.
    assert!(events(set).is_empty());
}

/// A set is closed while its watches are being met.
fn close_against_wake() {
    let map = Arc::new(Mapping::shared(PAGE));
    let word = map.word(0);
    let stop = Arc::new(AtomicBool::new(false));
    let wakers = [1, u32::MAX].map(|nr| {
        again(&stop, move || {
            fx().wake(word, nr, u64::MAX).expect("wake");
        })
    });
    let begun = Instant::now();
    let mut sets = 0;
    while begun.elapsed() < effort(STORM) || sets < 100 {
        let set = set();
        for nr in 0..8 {
            let options = WatchOptions {
                repeat: nr % 2 != 0,
                ..WatchOptions::default()
            };
            set.add(word, 0, nr, options).expect("a watch");
        }
        drop(set);
        sets += 1;
        assert!(begun.elapsed() < LIMIT);
    }
    stop.store(true, Ordering::SeqCst);
    wakers.into_iter().for_each(Task::join);
    assert_eq!(fx().wake_all(word), Ok(0));
}

/// A watch is removed, read and met at the same time: each wake is told of once.
fn remove_against_wake() {
    let map = Arc::new(Mapping::shared(PAGE));
    let word = map.word(0);
    let set = Arc::new(set());
    let heard = Arc::new(AtomicU64::new(0));
    let round = Arc::new(AtomicU32::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (set, heard) = (Arc::clone(&set), Arc::clone(&heard));
        again(&stop, move || {
            let read: u64 = events(&set).iter().map(|event| event.woken).sum();
            heard.fetch_add(read, Ordering::SeqCst);
        })
    };
    let waker = {
        let round = Arc::clone(&round);
        let woken = Arc::new(AtomicU64::new(0));
        let sum = Arc::clone(&woken);
        let mut seen = 0;
        let task = again(&stop, move || {
            let now = round.load(Ordering::SeqCst);
            if now != seen {
                seen = now;
                let nr = fx().wake_one(word).expect("wake");
                sum.fetch_add(nr.into(), Ordering::SeqCst);
            }
        });
        (task, woken)
    };
    let begun = Instant::now();
    let mut rounds = 0;
    while begun.elapsed() < effort(STORM) || rounds < 100 {
        let options = WatchOptions::default();
        let options = if rounds % 2 == 0 {
            options
        } else {
            options.repeat()
        };
        let id = set.add(word, 0, rounds, options).expect("a watch");
        round.fetch_add(1, Ordering::SeqCst);
        if rounds % 3 != 0 {
            std::thread::yield_now();
        }
        if let Some(unread) = set.remove(id).expect("it is removed") {
            heard.fetch_add(unread.into(), Ordering::SeqCst);
        }
        rounds += 1;
        assert!(begun.elapsed() < LIMIT);
    }
    stop.store(true, Ordering::SeqCst);
    reader.join();
    waker.0.join();
    heard.fetch_add(
        events(&set).iter().map(|event| event.woken).sum(),
        Ordering::SeqCst,
    );
    until("all was told of", || {
        heard.load(Ordering::SeqCst) == waker.1.load(Ordering::SeqCst)
    });
}
