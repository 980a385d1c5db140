// SPDX-License-Identifier: GPL-2.0
//! Both services use a file, or an address space, for the first time at the same moment: it gets one
//! number, and on each service everybody meets.

use super::{all_differ, meet_only_there};
use crate::harness::{BOTH, Child, Mapping, PAGE, Service, Task, until_at_once};
use crate::memory::{Disk, Mount, Region, map_new, memfd};
use rfutex::Word;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

trials![memfds, tmpfs, ext4, xfs, address_spaces];

/// How many new files there are of each kind.
const FILES: usize = 150;

/// How many new address spaces.
const PROCESSES: usize = 20;

/// How many take part: of each service one who waits and one who wakes.
const PARTICIPANTS: u32 = 4;

/// Where those who take part begin each round together, in whatever process they are.
struct Start(Mapping);

impl Start {
    fn new() -> Self {
        Self(Mapping::shared(PAGE))
    }

    /// Returns when all are here for the `round`th time, counted from 0.
    fn together(&self, round: usize) {
        let here = self.0.atomic::<AtomicU32>(0);
        here.fetch_add(1, Ordering::SeqCst);
        let all = PARTICIPANTS * (round as u32 + 1);
        until_at_once("all are here", || here.load(Ordering::SeqCst) >= all);
    }
}

/// Waits on each of `words` in turn, and must be woken.
fn wait_on_each(service: Service, words: &[Word<'static>], start: &Start) {
    for (round, &word) in words.iter().enumerate() {
        start.together(round);
        assert_eq!(service.wait(word, 0), 0, "{service:?}, {round}");
    }
}

/// Wakes on each of `words` in turn, until it has woken the one who waits there.
fn wake_on_each(service: Service, words: &[Word<'static>], start: &Start) {
    for (round, &word) in words.iter().enumerate() {
        start.together(round);
        let mut woken = 0;
        until_at_once("who waits is found", || {
            woken += service.wake(word, u32::MAX).expect("a wake");
            woken > 0
        });
        assert_eq!(woken, 1, "{service:?}, {round}");
    }
}

/// Nobody is left on any of `words`.
fn nobody_is_left(words: &[Word<'static>]) {
    for service in BOTH {
        for word in words {
            assert_eq!(service.wake(*word, u32::MAX), Ok(0), "{service:?}");
        }
    }
}

/// In each of two processes, one waits by one of the services, and one wakes by the other.
fn on_files(regions: Vec<Region>) {
    let words: Vec<_> = regions.iter().map(|region| region.word(0)).collect();
    regions.iter().for_each(Region::touch);
    let start = Start::new();
    let start: &'static Start = Box::leak(Box::new(start));
    let both = |waits: Service, wakes: Service| {
        let (on, there) = (words.clone(), words.clone());
        let tasks = [
            Task::spawn(move || wait_on_each(waits, &on, start)),
            Task::spawn(move || wake_on_each(wakes, &there, start)),
        ];
        tasks.into_iter().for_each(Task::join);
    };
    let [ours, theirs] = BOTH;
    let child = Child::run(|| both(theirs, ours));
    both(ours, theirs);
    child.join();
    nobody_is_left(&words);
    all_differ(&words);
    meet_only_there(&words);
}

fn memfds() {
    let region = || Region::shared(memfd(PAGE), 0, PAGE);
    on_files((0..FILES).map(|_| region()).collect());
}

fn on_file_system(path: &Path) {
    let region = |number| map_new(path, &format!("file-{number}"));
    on_files((0..FILES).map(region).collect());
}

fn tmpfs() {
    on_file_system(Mount::tmpfs("").path());
}

fn ext4() {
    on_file_system(Disk::new("ext4").path());
}

fn xfs() {
    on_file_system(Disk::new("xfs").path());
}

/// All of them are threads of a process that has just begun, on anonymous memory.
fn address_spaces() {
    let map = Mapping::private(PAGE);
    map.write(0, &[0]);
    for _ in 0..PROCESSES {
        Child::run(|| {
            let words = [map.word(0)];
            let start: &'static Start = Box::leak(Box::new(Start::new()));
            let tasks = BOTH.map(|service| {
                [
                    Task::spawn(move || wait_on_each(service, &words, start)),
                    Task::spawn(move || wake_on_each(service, &words, start)),
                ]
            });
            tasks.into_iter().flatten().for_each(Task::join);
            nobody_is_left(&words);
        })
        .join();
    }
}
