// SPDX-License-Identifier: GPL-2.0
//! Thread 001: a process maps a file and touches a page, while others wake on
//! words in the same pages. A fault maps the pages around it, too, but leaves
//! out those whose lock somebody has: they will cost a fault of their own.
//!
//! Nobody else faults on these pages meanwhile, who would have locks of them: so
//! what is left out is left out because of the wakes.

use super::{Latencies, Scope, Wake, alone, now, tell};
use crate::side::Side;
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex_figures::record::PAGES_FILE;
use rfutex_selftests::harness::{Child, Mapping, PAGE, until};
use rfutex_selftests::memory::{Mount, Region, RegionWord, State, file_in, states_from};
use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};

/// Pages of the file: what the kernel maps around a fault, so that a fault often
/// meets a wake.
const PAGES: usize = 16;

const LEN: usize = PAGES * PAGE;

/// How many processes wake.
const WAKERS: usize = 2;

/// How long somebody has his turn, in nanoseconds.
const TURN: i64 = 200_000_000;

/// How often.
const TURNS: usize = 8;

/// What the faults of one case came to.
#[derive(Default)]
struct Faults {
    latencies: Latencies,
    /// Pages that the fault left out.
    left_out: usize,
}

/// Measures with nobody who wakes, and with each side.
pub fn run(scope: &Scope) {
    let sides = &scope.sides;
    alone(|| {
        let mount = Mount::tmpfs("huge=never");
        let file = file_in(mount.path(), "file", LEN);
        Region::shared(&file, 0, LEN).touch();
        on("tmpfs", &file, sides);
    });
    alone(|| {
        on(
            "virtiofs",
            &File::open(PAGES_FILE).expect(PAGES_FILE),
            sides,
        )
    });
}

/// The file, mapped so that what a fault maps begins with the first page.
fn map(file: &File) -> Region {
    let region = Region::reserve(LEN, LEN);
    region.map_over(0, LEN, file, 0, ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
    region
}

fn on(file_system: &str, file: &File, sides: &[Side]) {
    // All of it is in memory.
    map(file).read();
    let cases: Vec<_> = std::iter::once(None)
        .chain(sides.iter().map(|&side| Some(side)))
        .collect();
    let mut found: Vec<_> = cases.iter().map(|_| Faults::default()).collect();
    for _ in 0..TURNS {
        for (case, faults) in cases.iter().zip(&mut found) {
            turn(file, *case, faults);
        }
    }
    for (case, faults) in cases.iter().zip(found) {
        let pages = faults.latencies.len() * PAGES;
        let mut figures = faults.latencies.figures();
        figures.extend([
            ("fallbacks", faults.left_out as f64),
            (
                "fallbacks in 1000 pages",
                faults.left_out as f64 * 1000.0 / pages as f64,
            ),
        ]);
        let name = case.map_or("nobody", Side::name);
        tell("fault", file_system, None, name, &figures);
    }
}

fn turn(file: &File, side: Option<Side>, found: &mut Faults) {
    let shared = Mapping::shared(PAGE);
    let ready: &AtomicU32 = shared.atomic(0);
    let wakers: Vec<_> = side
        .into_iter()
        .flat_map(|side| [side; WAKERS])
        .map(|side| Child::run(|| hammer(file, side, ready)))
        .collect();
    // Each has mapped all pages, and faults no more.
    until("all wakers are ready", || {
        ready.load(Ordering::SeqCst) as usize == wakers.len()
    });
    let end = now() + TURN;
    while now() < end {
        map_and_touch(file, found);
    }
    // The children are killed as they go out of scope.
    drop(wakers);
}

/// Wakes on a word in each page, until killed.
fn hammer(file: &File, side: Side, ready: &AtomicU32) {
    let region = map(file);
    let calls: Vec<_> = (0..PAGES)
        .map(|page| Wake::new(side, region.word(page * PAGE)))
        .collect();
    let wake_all = || {
        for call in &calls {
            assert_eq!(call.call(), 0);
        }
    };
    region.read();
    wake_all();
    ready.fetch_add(1, Ordering::SeqCst);
    loop {
        wake_all();
    }
}

/// Maps the file and reads its first page, which is timed.
fn map_and_touch(file: &File, found: &mut Faults) {
    let region = map(file);
    let word = region.word(0);
    found.latencies.of(|| word.load());
    found.left_out += states_from(word, PAGES)
        .iter()
        .filter(|state| !matches!(state, State::Present(_)))
        .count();
}
