// SPDX-License-Identifier: GPL-2.0
//! Every operation and every comparison, against a plain computation and against futex(2).

use super::standing::Standing;
use super::{change, sizes, target};
use crate::harness::{Mapping, PAGE, Service, Waiter, futex, fx};
use fastrand::Rng;
use rfutex::{Compare, Error, Op, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

trials![every_operation, every_comparison, one_step, as_futex];

/// The word's place, and what is around it.
const AT: usize = 24;
const AROUND: u8 = 0x5a;

/// Values at which something changes, for a word of `size` bytes.
fn boundaries(size: u32) -> [u64; 7] {
    let all = u64::MAX >> (64 - 8 * size);
    let sign = all ^ all >> 1;
    [
        0,
        1,
        all,
        sign,
        sign - 1,
        sign + 1,
        0x8192_a3b4_c5d6_e7f8 & all,
    ]
}

/// The numbers of [`boundaries`], each with each.
fn pairs(size: u32) -> impl Iterator<Item = (u64, u64)> {
    let values = boundaries(size);
    values.into_iter().flat_map(move |a| values.map(|b| (a, b)))
}

/// Sets the word, and what is around it. A thread may look meanwhile.
fn put(map: &Mapping, size: u32, value: u64) {
    let mut bytes = [AROUND; 64];
    bytes[AT..AT + size as usize].copy_from_slice(&value.to_ne_bytes()[..size as usize]);
    for (at, byte) in bytes.into_iter().enumerate() {
        map.atomic::<AtomicU8>(at).store(byte, Ordering::SeqCst);
    }
}

/// The word's value. What is around it must be as it was.
fn get(map: &Mapping, size: u32) -> u64 {
    let mut bytes = map.read(0, 64);
    let word = &mut bytes[AT..AT + size as usize];
    let mut value = [0; 8];
    value[..size as usize].copy_from_slice(word);
    word.fill(AROUND);
    assert_eq!(bytes, [AROUND; 64], "neighbours of a word of {size} bytes");
    u64::from_ne_bytes(value)
}

/// What a word of `size` bytes becomes, computed with more bits than it has.
fn model(size: u32, op: Op, old: u64) -> u64 {
    let modulus = 1_u128 << (8 * size);
    let old = u128::from(old);
    let new = match op {
        Op::Set(operand) => u128::from(operand),
        Op::Add(operand) => (old + u128::from(operand)) % modulus,
        Op::Or(operand) => old | u128::from(operand),
        Op::AndNot(operand) => old & (modulus - 1 - u128::from(operand)),
        Op::Xor(operand) => old ^ u128::from(operand),
    };
    u64::try_from(new).expect("of the size")
}

fn every_operation() {
    let map = Mapping::private(PAGE);
    for size in sizes() {
        for word in [map.sized_word(AT, size), map.sized_word(AT, size).private()] {
            for op in [Op::Set, Op::Add, Op::Or, Op::AndNot, Op::Xor] {
                for (old, operand) in pairs(size) {
                    put(&map, size, old);
                    assert_eq!(change(word, op(operand)), Ok(0));
                    let new = get(&map, size);
                    let expected = model(size, op(operand), old);
                    assert_eq!(new, expected, "{:?} on {old:#x}", op(operand));
                }
            }
        }
    }
}

/// A value of `size` bytes as a signed number.
fn signed(size: u32, value: u64) -> i128 {
    let (value, modulus) = (i128::from(value), 1_i128 << (8 * size));
    if value < modulus / 2 {
        value
    } else {
        value - modulus
    }
}

/// A comparison with a comparand, and what it means for old value and comparand.
type Comparison = (fn(u64) -> Compare, fn(&i128, &i128) -> bool);

const COMPARISONS: [Comparison; 6] = [
    (Compare::Equal, |a, b| a == b),
    (Compare::NotEqual, |a, b| a != b),
    (Compare::Less, |a, b| a < b),
    (Compare::LessOrEqual, |a, b| a <= b),
    (Compare::Greater, |a, b| a > b),
    (Compare::GreaterOrEqual, |a, b| a >= b),
];

/// It is the old value that is compared.
fn every_comparison() {
    let map = Arc::new(Mapping::private(PAGE));
    for size in sizes() {
        let word = map.sized_word(AT, size).private();
        let byte = map.sized_word(AT, 1).private();
        let waiter = Standing::start(Service::Ours, byte, {
            let map = Arc::clone(&map);
            move || map.atomic::<AtomicU8>(AT).load(Ordering::SeqCst).into()
        });
        for (old, comparand) in pairs(size) {
            for (compare, holds) in COMPARISONS {
                put(&map, size, old);
                waiter.until_waiting();
                // Another one that compares otherwise is left behind.
                let op = Op::Xor(1 << (8 * size - 1));
                let woken = fx().wake_op(map.word(512), 1, target(word), 1, op, compare(comparand));
                let expected = holds(&signed(size, old), &signed(size, comparand));
                assert_eq!(
                    woken,
                    Ok(u32::from(expected)),
                    "{old:#x}, {:?}, {size} bytes",
                    compare(comparand)
                );
                assert_eq!(get(&map, size), model(size, op, old));
            }
        }
    }
}

/// A waiter that wants the new value comes too late for this call's wake, and one that wanted the
/// old value was there.
fn one_step() {
    let map = Mapping::private(PAGE);
    let word = map.word(AT);
    let waiter = Waiter::start(word, 0);
    let woken = fx().wake_op(word, 0, target(word), 9, Op::Set(1), Compare::Equal(0));
    assert_eq!(woken, Ok(1));
    waiter.woken();
    assert_eq!(fx().wait(word, 0), Err(Error::Again));
    assert_eq!(map.atomic::<AtomicU32>(AT).load(Ordering::SeqCst), 1);
}

/// Its operations and comparisons have our numbers; its operands have 12 bits with a sign, or are
/// the number of a bit.
fn random_call(rng: &mut Rng, op: usize, cmp: usize) -> (i32, Op, Compare) {
    let shift = rng.bool();
    let operand = if shift {
        rng.i32(0..32)
    } else {
        rng.i32(-2048..2048)
    };
    let comparand = [rng.i32(-2048..2048), rng.i32(-2..3)][rng.usize(..2)];
    let number = op as i32 | if shift { libc::FUTEX_OP_OPARG_SHIFT } else { 0 };
    let encoded = libc::FUTEX_OP(number, operand, cmp as i32, comparand);
    let operand = if shift { 1 << operand } else { operand as u32 };
    let op = [Op::Set, Op::Add, Op::Or, Op::AndNot, Op::Xor][op](operand.into());
    (encoded, op, COMPARISONS[cmp].0((comparand as u32).into()))
}

/// The same values and the same number of woken, on a page of each.
fn as_futex() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed:#x}");
    let mut rng = Rng::with_seed(seed);
    let maps = [(); 2].map(|()| Arc::new(Mapping::private(PAGE)));
    let start = |service, map: &Arc<Mapping>| {
        let map = Arc::clone(map);
        let word: Word<'static> = map.word(0).private();
        Standing::start(service, word, move || {
            map.atomic::<AtomicU32>(0).load(Ordering::SeqCst)
        })
    };
    let [ours, theirs] = &maps;
    let standing = [start(Service::Ours, ours), start(Service::Theirs, theirs)];
    for round in 0..6 {
        for op in 0..5 {
            for cmp in 0..6 {
                let old = [
                    rng.u32(..),
                    rng.i32(-2048..2048) as u32,
                    rng.i32(-2..3) as u32,
                ][rng.usize(..3)];
                for map in &maps {
                    map.atomic::<AtomicU32>(0).store(old, Ordering::SeqCst);
                }
                standing.iter().for_each(Standing::until_waiting);
                let (encoded, op, compare) = random_call(&mut rng, op, cmp);
                let what = format!("{op:?}, {compare:?} on {old:#x}, round {round}");
                let woken = fx().wake_op(
                    ours.word(64).private(),
                    1,
                    target(ours.word(0).private()),
                    1,
                    op,
                    compare,
                );
                let places = [theirs.addr() + 64, theirs.addr()];
                // SAFETY: The mapping has atomics only.
                let by_futex = unsafe { futex::wake_op(places, encoded, [1, 1], true) };
                assert_eq!(
                    woken,
                    by_futex.map_err(|error| Error::from_errno(error as i32)),
                    "{what}"
                );
                let [ours, theirs] = maps
                    .each_ref()
                    .map(|map| map.atomic::<AtomicU32>(0).load(Ordering::SeqCst));
                assert_eq!(ours, theirs, "{what}");
            }
        }
    }
}
