// SPDX-License-Identifier: GPL-2.0
//! Draws scenarios.
//!
//! Most of what is drawn works together: few words, which are views of one another; values that
//! match; wakers in the process of the waiters. What is simple comes first in each choice, for a
//! failing scenario shrinks towards it.

mod steps;

use super::script::{
    Actor, Buckets, Hold, Kind, Owner, Passed, Resolver, Scenario, Size, Step, Table, Waiter, Word,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fmt::Debug;
use steps::step;

/// An actor that waits little: the last one, of the first process; and the one before, of the
/// second.
const WAKERS: [u8; 2] = [u8::MAX, u8::MAX - 1];

/// The scenario number `index` of those that `seed` gives, which can be shrunk. Only one search at
/// a time may change the clock of the machine.
pub fn draw(seed: u64, index: u64, clock: bool) -> impl ValueTree<Value = Scenario> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&index.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    scenario(clock)
        .new_tree(&mut runner)
        .expect("every draw gives a scenario")
}

/// The same, as it is, and allowed to change the clock.
pub fn drawn(seed: u64, index: u64) -> Scenario {
    draw(seed, index, true).current()
}

fn scenario(clock: bool) -> impl Strategy<Value = Scenario> {
    let size = chosen(10, |at, _| match at {
        0..7 => Size::Bits32,
        7 => Size::Bits64,
        8 => Size::Bits8,
        _ => Size::Bits16,
    });
    (
        size,
        table(),
        vec(word(), 1..=4),
        vec(actor(), 2..=6),
        (weighted(0.35), weighted(0.3)),
        vec(step(clock), 1..=28),
    )
        .prop_map(assemble)
}

/// Words come with whether they are in the arena, where there is one.
type Drawn = (
    Size,
    Option<Table>,
    Vec<(Word, bool)>,
    Vec<Actor>,
    (bool, bool),
    Vec<Step>,
);

fn assemble((size, table, words, mut actors, (private, by_vma), mut steps): Drawn) -> Scenario {
    let by_vma = match table {
        Some(table) => table.resolver == Resolver::Vma,
        None => by_vma,
    };
    let words = words.into_iter().map(|(mut word, in_arena)| {
        if in_arena && table.is_some() {
            word.kind = word.kind.in_arena();
        } else if by_vma {
            word.kind = word.kind.agreed();
        }
        word
    });
    let words: Vec<_> = words.collect();
    let waker = |process, resolver| Actor {
        process,
        resolver,
        ..Actor::default()
    };
    actors.extend([waker(1, Resolver::Page), waker(0, Resolver::Vma)]);
    if !by_vma || table.is_some() {
        for actor in &mut actors {
            actor.resolver = Resolver::Page;
        }
    }
    let last = actors.len() as u8 - 1;
    for step in &mut steps {
        if let Some(by) = step.actor_mut() {
            *by = match *by {
                by if by == WAKERS[0] => last,
                by if by == WAKERS[1] => last - 1,
                by => by % (last + 1),
            };
        }
        for flag in step.private_flags() {
            *flag ^= private;
        }
        for word in step.words() {
            *word %= words.len() as u8;
        }
    }
    let mut scenario = Scenario {
        size,
        table,
        words,
        actors,
        steps,
    };
    scenario.repair();
    scenario
}

/// What `make` makes of a number below `of`, the simplest of 0, and of any number.
///
/// So it is cheaper by far than a union of strategies, each of which has a tree of its own.
fn chosen<T: Debug>(of: u32, make: fn(u32, u32) -> T) -> impl Strategy<Value = T> {
    (0..of, any::<u32>()).prop_map(move |(at, any)| make(at, any))
}

/// One of these.
fn one_of<T: Copy>(all: &[T], any: u32) -> T {
    all[any as usize % all.len()]
}

/// True with this probability.
fn weighted(probability: f64) -> impl Strategy<Value = bool> {
    prop::bool::weighted(probability)
}

fn table() -> impl Strategy<Value = Option<Table>> {
    let buckets = chosen(3, |at, _| {
        [Buckets::Default, Buckets::Two, Buckets::One][at as usize]
    });
    let rest = (weighted(0.4), weighted(0.4));
    (weighted(0.35), buckets, resolver(), rest).prop_map(
        |(is_own, buckets, resolver, (holds, inherited))| {
            is_own.then_some(Table {
                buckets,
                resolver,
                hold: if holds { Hold::Inode } else { Hold::Nothing },
                passed: if inherited {
                    Passed::Fork
                } else {
                    Passed::Message
                },
            })
        },
    )
}

fn word() -> impl Strategy<Value = (Word, bool)> {
    let kind = chosen(24, |at, any| match at {
        0..4 => Kind::Private,
        4..8 => Kind::Memfd,
        8..10 => Kind::MemfdAgain,
        10..22 => one_of(Kind::MEMORY, any),
        _ => one_of(Kind::NONE, any),
    });
    let place = chosen(9, |at, _| match at {
        0..4 => 0,
        4..7 => 1,
        7 => 2,
        _ => 3,
    });
    let off = chosen(41, |at, any| if at < 40 { 0 } else { 1 + (any % 3) as u8 });
    let word =
        (kind, place, off, value(), weighted(0.15)).prop_map(|(kind, place, off, value, cold)| {
            Word {
                kind,
                place,
                off,
                value: if cold { 0 } else { value },
                cold,
            }
        });
    (word, weighted(0.6))
}

fn value() -> impl Strategy<Value = u32> {
    chosen(10, |at, any| match at {
        0..6 => 0,
        6..8 => 1,
        8 => one_of(&[0x8000_0000, u32::MAX, 0x7fff_ffff, 0x0100_0000], any),
        _ => any,
    })
}

fn actor() -> impl Strategy<Value = Actor> {
    let process = chosen(11, |at, _| match at {
        0..6 => 0,
        6..9 => 1,
        _ => 2,
    });
    let priority = chosen(7, |at, any| if at < 6 { 0 } else { 1 + (any % 3) as u8 });
    let waiter = chosen(10, |at, _| match at {
        0..6 => Waiter::Task,
        6..8 => Waiter::Watch,
        _ => Waiter::Request,
    });
    let owner = chosen(8, |at, _| match at {
        0..6 => Owner::None,
        6 => Owner::Thread,
        _ => Owner::Process,
    });
    (process, priority, resolver(), waiter, owner).prop_map(
        |(process, priority, resolver, waiter, owner)| Actor {
            process,
            // What else waits has none.
            priority: match waiter {
                Waiter::Task => priority,
                _ => 0,
            },
            resolver,
            waiter,
            owner,
        },
    )
}

/// A resolver, for where there is more than one.
fn resolver() -> impl Strategy<Value = Resolver> {
    weighted(0.5).prop_map(|by_vma| {
        if by_vma {
            Resolver::Vma
        } else {
            Resolver::Page
        }
    })
}
