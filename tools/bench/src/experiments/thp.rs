// SPDX-License-Identifier: GPL-2.0
//! Thread 004: calls on the head and on a tail of a huge page, while it is split
//! and collapsed over and over. In the end nothing of it is left.

use super::{Latencies, Scope, Wait, Wake, alone, tell};
use crate::side::Side;
use nix::errno::Errno;
use rfutex::Word;
use rfutex_selftests::harness::{PAGE, until};
use rfutex_selftests::memory::{
    HUGE, Mount, Region, file_in, nr_abandoned, page_of, thp, try_collapse, try_split,
    try_split_file,
};
use rfutex_selftests::vmstat::Counters;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// How often the page is to be collapsed, and to be split.
const ROUNDS: usize = 15;

/// How often that is tried. Somebody who has a reference at the wrong moment
/// makes the kernel give up.
const TRIES: usize = 5;

/// The kernel's counters of huge pages.
const COUNTERS: [&str; 2] = ["nr_anon_transparent_hugepages", "nr_shmem_hugepages"];

/// Does both, on anonymous memory and on a tmpfs, for each side.
pub fn run(scope: &Scope) {
    for &side in &scope.sides {
        if !scope.files_only {
            alone(|| {
                let before = Counters::now();
                let region = thp(HUGE);
                let mut storm = storm(&region, side, || try_split(&region));
                drop(region);
                storm.tell("anonymous", &before, side);
            });
        }
        alone(|| {
            let before = Counters::now();
            let mount = Mount::tmpfs("huge=advise");
            let file = file_in(mount.path(), "file", HUGE);
            let region = Region::shared(&file, 0, HUGE);
            region.advise(libc::MADV_HUGEPAGE);
            region.touch();
            let path = mount.path().join("file");
            let mut storm = storm(&region, side, || try_split_file(&path, &region));
            drop((region, file, mount));
            storm.tell("tmpfs", &before, side);
        });
    }
}

/// What came of it.
#[derive(Default)]
struct Storm {
    latencies: Latencies,
    errors: u32,
    collapsed: u32,
    split: u32,
    /// The first frames of the huge pages that there were.
    frames: HashSet<u64>,
}

/// Wakes and waits on `word` until it is over. Returns what each pair took, and
/// how many calls failed: the memory is there all the time.
fn traffic(side: Side, word: Word<'static>, over: &AtomicBool) -> (Latencies, u32) {
    let (mut latencies, mut errors) = (Latencies::default(), 0);
    let wake = Wake::new(side, word);
    let mut wait = Wait::new(side, word, 1);
    while !over.load(Ordering::Relaxed) {
        let woken = latencies.of(|| wake.call());
        let waited = latencies.of(|| wait.call());
        let again = waited == -1 && Errno::last() == Errno::EAGAIN;
        errors += u32::from(woken != 0) + u32::from(!again);
    }
    (latencies, errors)
}

fn storm(region: &Region, side: Side, split: impl Fn() -> bool) -> Storm {
    let over = AtomicBool::new(false);
    let mut storm = Storm::default();
    thread::scope(|scope| {
        let threads = [0, HUGE - PAGE].map(|at| {
            let (word, over) = (region.word(at), &over);
            scope.spawn(move || traffic(side, word, over))
        });
        for _ in 0..ROUNDS {
            if (0..TRIES).any(|_| try_collapse(region)) {
                storm.collapsed += 1;
                storm.frames.insert(page_of(region.word(0)).pfn);
            }
            storm.split += u32::from((0..TRIES).any(|_| split()));
        }
        over.store(true, Ordering::Relaxed);
        for thread in threads {
            let (latencies, errors) = thread.join().expect("a thread's own checks");
            storm.latencies.append(latencies);
            storm.errors += errors;
        }
    });
    storm
}

impl Storm {
    /// Tells, when all of the memory has been given back.
    fn tell(&mut self, memory: &str, before: &Counters, side: Side) {
        let mut left = [0; COUNTERS.len()];
        until("every frame is free, and every counter back", || {
            // Empties the lists on which each processor gathers what is freed.
            std::fs::write("/proc/sys/vm/drop_caches", "1").expect("drop_caches");
            let now = Counters::now();
            left = COUNTERS.map(|name| now.since(before, name));
            left == [0; COUNTERS.len()]
                && self
                    .frames
                    .iter()
                    .all(|&pfn| nr_abandoned(pfn, (HUGE / PAGE) as u64) == 0)
        });
        let mut figures = self.latencies.figures();
        figures.extend([
            ("failed", f64::from(self.errors)),
            ("collapses", f64::from(self.collapsed)),
            ("splits", f64::from(self.split)),
            ("huge pages left", left.iter().sum::<i64>() as f64),
        ]);
        tell("thp", memory, None, side.name(), &figures);
    }
}
