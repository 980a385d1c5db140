// SPDX-License-Identifier: GPL-2.0
//! Huge pages are split and collapsed in a loop while others wait and wake on their tails. No
//! reference is lost, which the debug kernel would see, or leaked: all the frames that were used
//! are free in the end, and the counters are where they were.

use crate::harness::{PAGE, Task, effort, fx, until};
use crate::memory::{
    HUGE, Mount, Region, drop_pages, file_in, nr_abandoned, page_of, thp, try_collapse, try_split,
    try_split_file,
};
use crate::vmstat::Counters;
use rfutex::{Error, WaitOptions, Word};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

trials![anonymous, tmpfs];

/// How often to split and to collapse.
const ROUNDS: usize = 10;
/// How often to try either under traffic. A reference that is there at the wrong moment makes the
/// kernel give up, which is as good a test; but it must work out in the end.
const TRIES: usize = 5;

/// What the threads are told.
#[derive(Debug, Default)]
struct Signals {
    pause: AtomicBool,
    stop: AtomicBool,
}

/// Runs `act` over and over, until told to stop.
fn repeat(signals: &Arc<Signals>, act: impl Fn() + Send + 'static) -> Task<()> {
    let signals = Arc::clone(signals);
    Task::spawn(move || {
        while !signals.stop.load(Ordering::Relaxed) {
            if signals.pause.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            } else {
                act();
            }
        }
    })
}

/// A thread that waits on `word`, and one that wakes there. No wake and no wait may fail: the
/// memory is there all the time.
fn traffic(word: Word<'static>, signals: &Arc<Signals>) -> [Task<()>; 2] {
    let wait = move || {
        let options = WaitOptions::default().within(Duration::from_millis(2));
        let result = fx().wait_with(word, 0, options);
        assert!(
            [Ok(()), Err(Error::TimedOut)].contains(&result),
            "{result:?}"
        );
    };
    let wake = move || {
        assert!(
            fx().wake_all(word).expect("a wake") <= 1,
            "one thread waits"
        );
    };
    [repeat(signals, wait), repeat(signals, wake)]
}

/// Tries `change` under traffic, and then, if that kept it from its end, in a pause of it.
fn change(signals: &Signals, what: &str, change: impl Fn() -> bool) {
    if (0..TRIES).any(|_| change()) {
        return;
    }
    signals.pause.store(true, Ordering::Relaxed);
    until(what, change);
    signals.pause.store(false, Ordering::Relaxed);
}

/// Splits by `try_split` and collapses `region` under traffic. Returns the first frames of the
/// huge pages that it had.
fn under_traffic(region: &Region, try_split: impl Fn() -> bool) -> HashSet<u64> {
    let signals = Arc::new(Signals::default());
    let words = [0, HUGE / 2, HUGE - PAGE].map(|at| region.word(at));
    let tasks = words.map(|word| traffic(word, &signals));
    let mut frames = HashSet::new();
    for _ in 0..effort(ROUNDS) {
        change(&signals, "the page is collapsed", || try_collapse(region));
        frames.insert(page_of(region.word(0)).pfn);
        change(&signals, "the page is split", &try_split);
    }
    signals.stop.store(true, Ordering::Relaxed);
    for task in tasks.into_iter().flatten() {
        task.join();
    }
    for word in words {
        assert_eq!(fx().key_info(word).expect("a key").nr_waiters, 0);
    }
    frames
}

/// Nothing of the huge pages at `frames` is left, and the counters `names` are what they were.
fn all_free(frames: &HashSet<u64>, before: &Counters, names: &[&str]) {
    until("every frame is free, and every counter back", || {
        drop_pages();
        let now = Counters::now();
        frames
            .iter()
            .all(|&pfn| nr_abandoned(pfn, (HUGE / PAGE) as u64) == 0)
            && names.iter().all(|name| now.since(before, name) == 0)
    });
}

fn anonymous() {
    let before = Counters::now();
    let region = thp(HUGE);
    let frames = under_traffic(&region, || try_split(&region));
    drop(region);
    all_free(&frames, &before, &["nr_anon_transparent_hugepages"]);
}

fn tmpfs() {
    let before = Counters::now();
    let mount = Mount::tmpfs("huge=advise");
    let file = file_in(mount.path(), "file", HUGE);
    let region = Region::shared(&file, 0, HUGE);
    region.advise(libc::MADV_HUGEPAGE);
    region.touch();
    let path = mount.path().join("file");
    let frames = under_traffic(&region, || try_split_file(&path, &region));
    drop((region, file, mount));
    all_free(&frames, &before, &["nr_shmem", "nr_shmem_hugepages"]);
}
