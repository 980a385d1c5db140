// SPDX-License-Identifier: GPL-2.0
//! Draws scenarios.
//!
//! Most of what is drawn works together: few words, which are views of one another; values that
//! match; wakers in the process of the waiters. What is simple comes first in each choice, for a
//! failing scenario shrinks towards it.

use super::pool::ACTORS;
use super::script::{
    ANY, Actor, Clock, Entry, Handler, Kind, Resolver, Scenario, Size, Step, Until, Val, Via, Word,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fmt::Debug;

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

fn scenario(clock: bool) -> impl Strategy<Value = Scenario> {
    let size = chosen(10, |at, _| match at {
        0..7 => Size::Bits32,
        7 => Size::Bits64,
        8 => Size::Bits8,
        _ => Size::Bits16,
    });
    (
        size,
        vec(word(), 1..=4),
        vec(actor(), 2..=6),
        (weighted(0.35), weighted(0.3)),
        vec(step(clock), 1..=28),
    )
        .prop_map(assemble)
}

type Drawn = (Size, Vec<Word>, Vec<Actor>, (bool, bool), Vec<Step>);

fn assemble((size, mut words, mut actors, (private, by_vma), mut steps): Drawn) -> Scenario {
    let waker = |process, resolver| Actor {
        process,
        resolver,
        ..Actor::default()
    };
    actors.extend([waker(1, Resolver::Page), waker(0, Resolver::Vma)]);
    if by_vma {
        for word in &mut words {
            word.kind = word.kind.agreed();
        }
    } else {
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
    Scenario {
        size,
        words,
        actors,
        steps,
    }
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

fn word() -> impl Strategy<Value = Word> {
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
    (kind, place, off, value(), weighted(0.15)).prop_map(|(kind, place, off, value, cold)| Word {
        kind,
        place,
        off,
        value: if cold { 0 } else { value },
        cold,
    })
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
    (process, priority, resolver()).prop_map(|(process, priority, resolver)| Actor {
        process,
        priority,
        resolver,
    })
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

/// Who waits.
fn waiter() -> impl Strategy<Value = u8> {
    0..8_u8
}

/// Who does all else.
fn waker() -> impl Strategy<Value = u8> {
    chosen(8, |at, any| match at {
        0..4 => WAKERS[0],
        4..6 => WAKERS[1],
        _ => (any % 8) as u8,
    })
}

fn index() -> impl Strategy<Value = u8> {
    0..4_u8
}

fn private() -> impl Strategy<Value = bool> {
    weighted(0.06)
}

fn val() -> impl Strategy<Value = Val> {
    (weighted(0.1), value())
        .prop_map(|(other, value)| if other { Val::Is(value) } else { Val::Now })
}

fn mask() -> impl Strategy<Value = u64> {
    chosen(46, |at, any| match at {
        0..30 => ANY,
        30..42 => u64::from(1 + any % 7),
        42..45 => any.into(),
        _ => one_of(&[0, 1 << 31, 1 << 32, u64::MAX], any),
    })
}

fn nr() -> impl Strategy<Value = u32> {
    chosen(19, |at, any| match at {
        0..8 => 1,
        8..12 => 2 + any % 3,
        12..14 => 0,
        14..18 => i32::MAX as u32,
        _ => one_of(&[1000, 1 << 31, u32::MAX - 1, u32::MAX], any),
    })
}

fn via() -> impl Strategy<Value = Via> {
    chosen(5, |at, _| if at < 3 { Via::Futex2 } else { Via::Futex })
}

/// A clock; `CLOCK_REALTIME` only if `real`.
fn clock(real: bool, any: u32) -> Clock {
    match any % 32 {
        20..30 if real => Clock::Realtime,
        30 => Clock::Boottime,
        31 => Clock::Unknown,
        _ => Clock::Monotonic,
    }
}

fn until(sets_clock: bool) -> impl Strategy<Value = Until> {
    (0..60_u32, any::<u32>()).prop_map(move |(at, any)| match at {
        0..40 => Until::Never,
        40..46 => Until::Far(clock(true, any)),
        46..49 => Until::Past(clock(true, any)),
        // Who else sets the clock must not make it long.
        49..51 => Until::Soon(clock(sets_clock, any)),
        51..59 if sets_clock => Until::Jump((any % 3) as u8),
        51..59 => Until::Never,
        _ => Until::Negative(clock(true, any)),
    })
}

fn wait(clock: bool) -> impl Strategy<Value = Step> {
    (
        waiter(),
        index(),
        val(),
        mask(),
        private(),
        until(clock),
        via(),
    )
        .prop_map(|(by, word, val, mask, private, until, via)| Step::Wait {
            by,
            word,
            val,
            mask,
            private,
            until,
            via,
        })
}

fn wake() -> impl Strategy<Value = Step> {
    (waker(), index(), nr(), mask(), private(), via()).prop_map(
        |(by, word, nr, mask, private, via)| Step::Wake {
            by,
            word,
            nr,
            mask,
            private,
            via,
        },
    )
}

fn short() -> impl Strategy<Value = Step> {
    (waker(), index(), weighted(0.5), private()).prop_map(|(by, word, all, private)| Step::Short {
        by,
        word,
        all,
        private,
    })
}

fn requeue() -> impl Strategy<Value = Step> {
    let val = (weighted(0.25), val()).prop_map(|(plain, val)| (!plain).then_some(val));
    let mixed = weighted(0.03);
    (
        waker(),
        index(),
        index(),
        val,
        nr(),
        nr(),
        private(),
        mixed,
        via(),
    )
        .prop_map(
            |(by, from, to, val, nr_wake, nr_move, private, mixed, via)| Step::Requeue {
                by,
                from,
                to,
                val,
                nr_wake: nr_wake / 2,
                nr_move,
                private,
                mixed,
                via,
            },
        )
}

fn twelve_bits() -> impl Strategy<Value = i16> {
    chosen(11, |at, any| match at {
        0..3 => 0,
        3..4 => 1,
        4..8 => -1,
        _ => (any % 4096) as i16 - 2048,
    })
}

fn wake_op() -> impl Strategy<Value = Step> {
    let operation = (
        chosen(41, |at, any| {
            (if at < 40 { any % 5 } else { 5 + any % 3 }) as u8
        }),
        twelve_bits(),
        weighted(0.25),
        chosen(41, |at, any| {
            (if at < 40 { any % 6 } else { 6 + any % 10 }) as u8
        }),
        twelve_bits(),
    );
    (waker(), index(), index(), nr(), nr(), operation, private()).prop_map(
        |(by, word, target, nr, nr_target, (op, operand, shift, cmp, comparand), private)| {
            Step::WakeOp {
                by,
                word,
                target,
                nr,
                nr_target,
                op,
                operand,
                shift,
                cmp,
                comparand,
                private,
            }
        },
    )
}

fn waitv(clock: bool) -> impl Strategy<Value = Step> {
    let entry = || {
        (index(), val(), private()).prop_map(|(word, val, private)| Entry { word, val, private })
    };
    let entries = prop_oneof![
        20 => vec(entry(), 1..=4).boxed(),
        1 => vec(entry(), 0..=129).boxed(),
    ];
    (waiter(), entries, until(clock)).prop_map(|(by, entries, until)| Step::Waitv {
        by,
        entries,
        until,
    })
}

fn swap(clock: bool) -> impl Strategy<Value = Step> {
    let wait = (waiter(), index(), val(), mask(), private(), until(clock));
    (wait, index(), private()).prop_map(
        |((by, word, val, mask, private, until), wake, wake_private)| Step::Swap {
            by,
            word,
            val,
            mask,
            private,
            until,
            wake,
            wake_private,
        },
    )
}

fn others(clock: bool) -> impl Strategy<Value = Step> {
    let handler = chosen(3, |at, _| {
        [Handler::Plain, Handler::Restart, Handler::None][at as usize]
    });
    let process = || 1..ACTORS.len() as u8;
    prop_oneof![
        8 => (waker(), index(), value())
            .prop_map(|(by, word, value)| Step::Store { by, word, value }).boxed(),
        8 => (waiter(), handler).prop_map(|(to, handler)| Step::Signal { to, handler }).boxed(),
        2 => (waker(), index()).prop_map(|(by, word)| Step::Forget { by, word }).boxed(),
        2 => (waker(), index()).prop_map(|(by, word)| Step::Punch { by, word }).boxed(),
        5 => Just(if clock { Step::Jump } else { Step::Continue { process: 1 } }).boxed(),
        2 => process().prop_map(|process| Step::Stop { process }).boxed(),
        2 => process().prop_map(|process| Step::Continue { process }).boxed(),
    ]
}

fn step(clock: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        400 => wait(clock).boxed(),
        140 => wake().boxed(),
        60 => short().boxed(),
        120 => requeue().boxed(),
        90 => wake_op().boxed(),
        70 => waitv(clock).boxed(),
        50 => swap(clock).boxed(),
        140 => others(clock).boxed(),
        // A process is dear to replace.
        2 => (1..ACTORS.len() as u8).prop_map(|process| Step::Kill { process }).boxed(),
    ]
}
