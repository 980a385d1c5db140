// SPDX-License-Identifier: GPL-2.0
//! Thread 001: processes map a file and touch its pages, while others wake on
//! words in the same pages. A fault maps the pages around it, too, but leaves
//! out those whose lock somebody has: they will cost a fault of their own.

use super::{Latencies, Scope, Wake, alone, now, tell};
use crate::side::Side;
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex_bench::record::PAGES_FILE;
use rfutex_selftests::harness::{Child, PAGE};
use rfutex_selftests::memory::{Mount, Region, RegionWord, State, file_in, states_from};
use std::fs::File;

/// Pages of the file: what the kernel maps around a fault, so that a fault often
/// meets a wake.
const PAGES: usize = 16;

const LEN: usize = PAGES * PAGE;

/// How many processes wake, and how many fault without being looked at.
const OTHERS: [usize; 2] = [2, 1];

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
        figures.push((
            "fallbacks in 1000 pages",
            faults.left_out as f64 * 1000.0 / pages as f64,
        ));
        let name = case.map_or("nobody", Side::name);
        tell("fault", file_system, None, name, &figures);
    }
}

fn turn(file: &File, side: Option<Side>, found: &mut Faults) {
    let [wakers, faulters] = OTHERS;
    let mut others: Vec<_> = (0..faulters)
        .map(|_| {
            Child::run(|| {
                loop {
                    map_and_touch(file, &mut Faults::default());
                }
            })
        })
        .collect();
    if let Some(side) = side {
        others.extend((0..wakers).map(|_| Child::run(|| hammer(file, side))));
    }
    let end = now() + TURN;
    while now() < end {
        map_and_touch(file, found);
    }
    // The children are killed as they go out of scope.
    drop(others);
}

/// Wakes on a word in each page, until killed.
fn hammer(file: &File, side: Side) {
    let region = map(file);
    let calls: Vec<_> = (0..PAGES)
        .map(|page| Wake::new(side, region.word(page * PAGE)))
        .collect();
    loop {
        for call in &calls {
            assert_eq!(call.call(), 0);
        }
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
