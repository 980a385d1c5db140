// SPDX-License-Identifier: GPL-2.0
//! Huge pages are split and collapsed in a loop while others wait and wake on their tails. No
//! reference is lost, which the debug kernel would see, or leaked: all the frames that were used
//! are free in the end, and the counters are where they were.

use crate::harness::{PAGE, Task, fx, until};
use crate::memory::{
    HUGE, Mount, Region, collapse, file_in, nr_abandoned, page_of, split, split_file, thp,
};
use crate::vmstat::Counters;
use rfutex::{Error, WaitOptions, Word};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

trials![anonymous, tmpfs];

/// How often to split and to collapse.
const ROUNDS: usize = 12;

/// A thread that waits on `word`, and one that wakes there, until told to stop. No wake and no
/// wait may fail: the memory is there all the time.
fn traffic(word: Word<'static>, stop: &Arc<AtomicBool>) -> [Task<()>; 2] {
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
    let run = |act: Box<dyn Fn() + Send>| {
        let stop = Arc::clone(stop);
        Task::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                act();
            }
        })
    };
    [run(Box::new(wait)), run(Box::new(wake))]
}

/// Splits by `split_it` and collapses `region` under traffic. Returns the first frames of the huge
/// pages that it had.
fn under_traffic(region: &Region, split_it: impl Fn()) -> HashSet<u64> {
    let stop = Arc::new(AtomicBool::new(false));
    let words = [
        region.word(0),
        region.word(HUGE / 2),
        region.word(HUGE - PAGE),
    ];
    let tasks = words.map(|word| traffic(word, &stop));
    let mut frames = HashSet::new();
    for _ in 0..ROUNDS {
        frames.insert(page_of(region.word(0)).pfn);
        split_it();
        collapse(region);
    }
    frames.insert(page_of(region.word(0)).pfn);
    stop.store(true, Ordering::Relaxed);
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
        // Empties the lists on which each processor gathers what is freed.
        std::fs::write("/proc/sys/vm/drop_caches", "1").expect("drop_caches");
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
    let frames = under_traffic(&region, || split(&region));
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
    let frames = under_traffic(&region, || split_file(&path, &region));
    drop((region, file, mount));
    all_free(&frames, &before, &["nr_shmem", "nr_shmem_hugepages"]);
}
