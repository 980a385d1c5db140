// SPDX-License-Identifier: GPL-2.0
//! Draws steps.

use super::{WAKERS, chosen, one_of, value, weighted};
use crate::oracle::pool::ACTORS;
use crate::oracle::script::{ANY, Clock, Entry, Handler, Remap, Step, Until, Val, Via, Wakes};
use proptest::collection::vec;
use proptest::prelude::*;

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

fn wakev() -> impl Strategy<Value = Step> {
    let entry =
        (index(), 0..5_u32, mask(), private()).prop_map(|(word, nr, mask, private)| Wakes {
            word,
            nr,
            mask,
            private,
        });
    (waker(), vec(entry, 1..=4)).prop_map(|(by, entries)| Step::Wakev { by, entries })
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
        3 => remap().boxed(),
        5 => Just(if clock { Step::Jump } else { Step::Continue { process: 1 } }).boxed(),
        9 => remove().boxed(),
        2 => waiter().prop_map(|of| Step::Close { of }).boxed(),
        2 => process().prop_map(|process| Step::Stop { process }).boxed(),
        2 => process().prop_map(|process| Step::Continue { process }).boxed(),
    ]
}

fn remap() -> impl Strategy<Value = Step> {
    let how = chosen(3, |at, _| {
        [Remap::Unmap, Remap::Protect, Remap::Move][at as usize]
    });
    (waker(), index(), how).prop_map(|(by, word, how)| Step::Remap { by, word, how })
}

fn remove() -> impl Strategy<Value = Step> {
    (waiter(), weighted(0.4), index(), private()).prop_map(|(of, wakes, word, private)| {
        Step::Remove {
            of,
            wake: wakes.then_some(word),
            private,
        }
    })
}

/// A step. Only with `clock`, it may set the clock of the machine.
pub(super) fn step(clock: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        400 => wait(clock).boxed(),
        140 => wake().boxed(),
        60 => short().boxed(),
        40 => wakev().boxed(),
        120 => requeue().boxed(),
        90 => wake_op().boxed(),
        70 => waitv(clock).boxed(),
        50 => swap(clock).boxed(),
        180 => others(clock).boxed(),
        // A process is dear to replace.
        2 => (1..ACTORS.len() as u8).prop_map(|process| Step::Kill { process }).boxed(),
    ]
}
