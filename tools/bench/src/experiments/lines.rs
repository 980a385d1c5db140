// SPDX-License-Identifier: GPL-2.0
//! How often cache lines move between processors, for one operation of one of them.
//!
//! The guest has no way to count this. It tells a plugin of the emulator, by
//! [`marker`]s, what is to be counted, and the host puts figures to what is told here.
//! Threads that are bound to processors take [`turns`]: what one of them does is
//! counted while the others only wait for their turn.

mod known;
mod marker;
mod places;
mod rows;
mod sleepers;
mod turns;

use super::{Scope, alone, tell};
use crate::memory::Memory;
use crate::side::Side;
use crate::symbols;
use places::{Files, Who};
use rfutex_figures::record::Record;
use rfutex_selftests::harness::{module_references, until};
use std::num::NonZero;
use std::thread::available_parallelism;

/// The name of the experiment.
const NAME: &str = "lines";

/// Numbers of processors that take part.
const PROCESSORS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// The same for the resolver that the lab module alone has: it is there to be compared with, and
/// how its figures grow is of no interest.
const LAB_PROCESSORS: [usize; 2] = [2, 32];

/// Programs of which it is known what comes out, and the operations.
pub fn run(scope: &Scope) {
    let there = available_parallelism().map_or(1, NonZero::get);
    let in_lab = scope.sides.iter().any(|side| side.name() == "locked");
    let processors: &[usize] = if in_lab { &LAB_PROCESSORS } else { &PROCESSORS };
    let before = module_references();
    let symbols = symbols().expect("/proc/kallsyms");
    Record::Symbols(symbols).emit().expect("standard output");
    if !scope.files_only {
        alone(known::run);
    }
    for row in rows::ALL {
        for memory in [Memory::Private, Memory::Shared, Memory::Arena] {
            // What is in no file does not depend on what a waiter holds.
            if scope.files_only && !memory.is_of_file() {
                continue;
            }
            for (who, files) in sides(scope, memory) {
                for &processors in processors.iter().filter(|&&nr| nr <= there) {
                    alone(|| rows::measure(row, memory, who.side(), files, processors));
                    let case = format!("{}, {}", row.name, memory.name());
                    let x = Some(processors as f64);
                    tell(NAME, &case, x, &files.name_with(who.name()), &[]);
                }
            }
        }
    }
    marker::over();
    // When futex(2) gives the threads of a process a larger hash table, it keeps the memory of the
    // process until an RCU callback has run, even past the end of the process; and with it the
    // mapping of an arena, whose file keeps the module.
    until("the arenas of those that measured are gone", || {
        module_references() == before
    });
}

/// Who is measured, and which files the threads have.
fn sides(scope: &Scope, memory: Memory) -> Vec<(Who, Files)> {
    let mut sides = vec![(Who::Side(Side::Native), Files::None)];
    if memory != Memory::Arena {
        let ours = scope.sides.iter().map(|&side| Who::Side(side));
        let ours = ours.filter(|who| who.name() != Side::Native.name());
        sides.extend(ours.flat_map(|who| [(who, Files::Each), (who, Files::One)]));
    } else if scope.arena && places::has_arenas() {
        // An arena is reached by one file only.
        sides.push((Who::Arena, Files::One));
    } else {
        return Vec::new();
    }
    sides
}
