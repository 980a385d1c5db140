// SPDX-License-Identifier: GPL-2.0
//! The module is unloaded and loaded again. Files and address spaces keep the numbers that they have,
//! and no new one gets one of these.

use super::{all_differ, meet_only_there};
use crate::harness::{Child, Mapping, PAGE, UnloadedModule, object_of};
use crate::memory::{Region, memfd};
use rfutex::{Rfutex, Word};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

trials![no_number_twice];

/// How many files are numbered by each.
const FILES: usize = 300;

/// How many address spaces by the second.
const PROCESSES: usize = 20;

fn files() -> Vec<Region> {
    let region = || Region::shared(memfd(PAGE), 0, PAGE);
    (0..FILES).map(|_| region()).collect()
}

fn words(regions: &[Region]) -> impl Iterator<Item = Word<'static>> {
    regions.iter().map(|region| region.word(0))
}

fn no_number_twice() {
    let (old, own) = (files(), Region::private(PAGE));
    let first = Rfutex::open().expect("open");
    for word in words(&old).chain([own.word(0)]) {
        first.key_info(word).expect("a key");
    }
    drop(first);
    drop(UnloadedModule::new());

    // In this order: those who wait are on old ones.
    let new = files();
    let all: Vec<_> = words(&old).chain(words(&new)).collect();
    all_differ(&all);
    meet_only_there(&all);

    // New processes, and this one, which has the number of the first.
    let told = Mapping::shared(PAGE);
    let sign = told.atomic::<AtomicU64>(0);
    let mut seen = HashSet::from([object_of(own.word(0))]);
    for _ in 0..PROCESSES {
        Child::run(|| sign.store(object_of(own.word(0)), Ordering::SeqCst)).join();
        assert!(seen.insert(sign.load(Ordering::SeqCst)), "it was there");
    }
}
