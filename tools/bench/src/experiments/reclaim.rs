// SPDX-License-Identifier: GPL-2.0
//! Thread 003: no page is pinned while somebody sleeps. Memory with ten
//! thousand waiters on it is reclaimed; a wake finds its page gone, and brings
//! it back or does without.

use super::crowd::sleep_on;
use super::{Latencies, Scope, Wake, alone, tell};
use crate::side::Side;
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex::Word;
use rfutex::raw::uapi;
use rfutex_figures::record::{PAGES_FILE, PAGES_LEN};
use rfutex_selftests::harness::{PAGE, on_each_cpu, until};
use rfutex_selftests::memory::{Region, RegionWord};
use std::fs::File;

/// How many wait.
const WAITERS: usize = 10_000;

/// How many of them on each page.
const PER_PAGE: usize = 4;

const LEN: usize = WAITERS / PER_PAGE * PAGE;
const _: () = assert!(LEN as u64 <= PAGES_LEN);

/// How many wakes of nobody are timed, each on another page.
const WAKES: usize = 200;

/// Tries it on each side, on the pages of a file of the host's.
pub fn run(scope: &Scope) {
    for &side in &scope.sides {
        alone(|| {
            let file = File::open(PAGES_FILE).expect(PAGES_FILE);
            let (prot, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
            on("virtiofs", &Region::file(&file, 0, LEN, prot, flags), side);
        });
    }
}

fn in_memory(region: &Region) -> f64 {
    region.resident().into_iter().filter(|&page| page).count() as f64
}

/// Reclaims all pages.
///
/// One that the advice unmaps and does not get to free would not be met again: it is mapped again
/// for the next try.
fn reclaim(region: &Region) {
    let len = region.len();
    // None but those that are asked for.
    region.advise(libc::MADV_RANDOM);
    until("all pages are reclaimed", || {
        let resident = region.resident();
        for page in (0..len / PAGE).filter(|&page| resident[page]) {
            region.word(page * PAGE).load();
        }
        on_each_cpu(|| {
            let advised = region.try_advise(0, len, libc::MADV_PAGEOUT);
            advised.expect("MADV_PAGEOUT");
        });
        in_memory(region) == 0.0
    });
}

/// Wakes of nobody, on the first pages.
fn wakes(region: &Region, side: Side) -> Latencies {
    let mut latencies = Latencies::default();
    for page in 0..WAKES {
        let call = Wake::new(side, region.word(page * PAGE + PAGE / 2));
        assert_eq!(latencies.of(|| call.call()), 0);
    }
    latencies
}

fn on(memory: &str, region: &Region, side: Side) {
    region.read();
    let words: Vec<_> = (0..WAITERS)
        .map(|i| region.word(i / PER_PAGE * PAGE + i % PER_PAGE * 4))
        .collect();
    let sleepers: Vec<&[Word<'static>]> = words.chunks(uapi::RFUTEX_WAITV_MAX as usize).collect();
    for words in &sleepers {
        sleep_on(side, words.to_vec());
    }
    wakes(region, side);
    let there = wakes(region, side);
    let before = in_memory(region);
    reclaim(region);
    let after = in_memory(region);
    let gone = wakes(region, side);
    let back = in_memory(region);
    // Those who slept all the time are still found.
    let woken: i64 = sleepers
        .iter()
        .map(|words| Wake::new(side, words[0]).call())
        .sum();
    assert_eq!(woken, sleepers.len() as i64, "every wake arrives");
    let figures = [
        ("pages", before),
        ("after reclaim", after),
        ("wake us", there.median() / 1000.0),
        ("wake of gone us", gone.median() / 1000.0),
        ("pages back", back),
    ];
    tell(
        "reclaim",
        memory,
        Some(WAITERS as f64),
        side.name(),
        &figures,
    );
}
