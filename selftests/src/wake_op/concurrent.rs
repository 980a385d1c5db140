// SPDX-License-Identifier: GPL-2.0
//! The change is one step for everybody who changes the word or its neighbours.

use super::{change, sizes, target};
use crate::harness::{Mapping, PAGE, Task, fx};
use rfutex::{Compare, Error, Op, WaitOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

trials![nothing_lost, neighbours, no_wake_lost];

const TIMES: u64 = 500;

/// Calls and plain atomic additions to one word, from several threads, come out even.
fn nothing_lost() {
    let map = Arc::new(Mapping::private(PAGE));
    for size in sizes() {
        map.write(0, &[0; 8]);
        let word = map.sized_word(0, size);
        let callers = [word, word.private()].map(|word| {
            Task::spawn(move || {
                for _ in 0..TIMES {
                    assert_eq!(change(word, Op::Add(1)), Ok(0));
                }
            })
        });
        for _ in 0..TIMES {
            match size {
                1 => u64::from(map.atomic::<AtomicU8>(0).fetch_add(1, Ordering::SeqCst)),
                2 => u64::from(map.atomic::<AtomicU16>(0).fetch_add(1, Ordering::SeqCst)),
                4 => u64::from(map.atomic::<AtomicU32>(0).fetch_add(1, Ordering::SeqCst)),
                _ => map.atomic::<AtomicU64>(0).fetch_add(1, Ordering::SeqCst),
            };
        }
        callers.into_iter().for_each(Task::join);
        let expected = (3 * TIMES) & (u64::MAX >> (64 - 8 * size));
        let bytes = map.read(0, 8);
        let value = u64::from_ne_bytes(bytes.try_into().expect("8 bytes"));
        assert_eq!(value, expected, "{size} bytes");
    }
}

/// Two small words in one large one, each with a caller of its own.
fn neighbours() {
    let map = Mapping::private(PAGE);
    for size in sizes().into_iter().filter(|&size| size < 8) {
        map.write(0, &[0; 8]);
        let callers = [0, size].map(|at| {
            let word = map.sized_word(at as usize, size).private();
            Task::spawn(move || {
                // An even number of times, so that it comes out as 0.
                for _ in 0..TIMES {
                    assert_eq!(change(word, Op::Xor(0x5a)), Ok(0));
                }
            })
        });
        callers.into_iter().for_each(Task::join);
        assert_eq!(map.read(0, 8), [0; 8], "{size} bytes");
    }
}

/// Each call gives a unit and wakes one who waits for it, in one step: every unit is taken.
fn no_wake_lost() {
    const UNITS: u32 = 200;
    let map = Arc::new(Mapping::private(PAGE));
    let (units, other) = (map.word(0), map.word(64));
    let takers = [(); 2].map(|()| {
        let map = Arc::clone(&map);
        Task::spawn(move || {
            let count = map.atomic::<AtomicU32>(0);
            for _ in 0..UNITS {
                while count
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_err()
                {
                    let options = WaitOptions::default().within(Duration::from_secs(30));
                    match fx().wait_with(units, 0, options) {
                        Ok(()) | Err(Error::Again) => {}
                        Err(error) => panic!("a wake was lost: {error}"),
                    }
                }
            }
        })
    });
    for _ in 0..2 * UNITS {
        let result = fx().wake_op(
            other,
            1,
            target(units),
            1,
            Op::Add(1),
            Compare::GreaterOrEqual(0),
        );
        assert!(result.is_ok(), "{result:?}");
    }
    takers.into_iter().for_each(Task::join);
    assert_eq!(map.atomic::<AtomicU32>(0).load(Ordering::SeqCst), 0);
}
