// SPDX-License-Identifier: GPL-2.0
//! Who is woken, by what.

use crate::call::{self, Timeout, futex, until_waiting, wait, wait_bitset, waiters, wake};
use crate::kernel;
use libc::timespec;
use nix::errno::Errno;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The counts that mean what futex(2) makes of them: one is woken before it is
/// looked whether that is enough.
pub fn counts() {
    for (nr, expected) in [(0, 1), (1, 1), (-1, 1), (2, 2), (3, 3), (i32::MAX, 3)] {
        let word = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| wait(&word, 0).expect("a wake"));
            }
            until_waiting(&word, 3);
            assert_eq!(wake(&word, nr), Ok(expected), "wake of {nr}");
            assert_eq!(waiters(&word), 3 - expected);
            assert_eq!(wake(&word, i32::MAX), Ok(3 - expected));
        });
    }
}

/// A wake meets who shares a bit of its mask.
pub fn masks() {
    let word = AtomicU32::new(0);
    let bitset = |mask| {
        futex(
            &word,
            libc::FUTEX_WAKE_BITSET,
            9,
            Timeout::Never,
            &word,
            mask,
        )
    };
    thread::scope(|scope| {
        for mask in [1, 2, 6, u32::MAX] {
            scope.spawn({
                let word = &word;
                move || wait_bitset(word, 0, mask).expect("a wake")
            });
        }
        until_waiting(&word, 4);
        assert_eq!(bitset(0), Err(Errno::EINVAL));
        assert_eq!(bitset(4), Ok(2), "6 and all");
        assert_eq!(bitset(4), Ok(0));
        assert_eq!(bitset(u32::MAX), Ok(2));
    });
}

/// Waiters that were moved are woken where they are then.
pub fn requeued() {
    let (a, b) = (AtomicU32::new(5), AtomicU32::new(0));
    let requeue = |nr, nr2, val| {
        futex(
            &a,
            libc::FUTEX_CMP_REQUEUE,
            nr,
            Timeout::Count(nr2),
            &b,
            val,
        )
    };
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| wait(&a, 5).expect("a wake"));
        }
        until_waiting(&a, 5);
        assert_eq!(requeue(1, 2, 4), Err(Errno::EAGAIN));
        assert_eq!(requeue(1, 2, 5), Ok(3));
        assert_eq!((waiters(&a), waiters(&b)), (2, 2));
        assert_eq!(requeue(0, 0, 5), Ok(0));
        assert_eq!(wake(&b, 9), Ok(2));
        assert_eq!(wake(&a, 9), Ok(2));
    });
}

/// `FUTEX_WAKE_OP` wakes on the second word if its old value compares.
pub fn wake_op_compares() {
    type Compare = fn(&i32, &i32) -> bool;
    const COMPARISONS: [Compare; 6] = [i32::eq, i32::ne, i32::lt, i32::le, i32::gt, i32::ge];
    let (a, b) = (AtomicU32::new(0), AtomicU32::new(0));
    for (cmp, compare) in COMPARISONS.into_iter().enumerate() {
        for old in [0, 3, 4, -1, -2, i32::MIN, i32::MAX] {
            for comparand in [3, -1] {
                b.store(old as u32, Ordering::SeqCst);
                let expected = 1 + u32::from(compare(&old, &comparand));
                // b = 9
                let packed = (cmp as u32) << 24 | 9 << 12 | comparand as u32 & 0xfff;
                thread::scope(|scope| {
                    scope.spawn(|| wait(&a, 0).expect("a wake"));
                    scope.spawn(|| wait(&b, old as u32).expect("a wake"));
                    until_waiting(&a, 1);
                    until_waiting(&b, 1);
                    let woken = futex(&a, libc::FUTEX_WAKE_OP, 1, Timeout::Count(1), &b, packed);
                    assert_eq!(
                        woken,
                        Ok(expected),
                        "comparison {cmp}: {old} and {comparand}"
                    );
                    assert_eq!(b.load(Ordering::SeqCst), 9);
                    assert_eq!(wake(&b, 1), Ok(2 - expected));
                });
            }
        }
    }
}

/// futex_waitv(2) tells which word it was.
pub fn one_of_many() {
    let words: Vec<AtomicU32> = (0..128).map(AtomicU32::new).collect();
    let futexes: Vec<[u64; 3]> = words
        .iter()
        .map(|word| {
            [
                word.load(Ordering::SeqCst).into(),
                word.as_ptr() as u64,
                0x02,
            ]
        })
        .collect();
    for index in [0, 1, 77, 127] {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let args = [futexes.as_ptr() as i64, 128, 0, 0, 0, 0];
                // SAFETY: The array and its words are there.
                unsafe { call::call(libc::SYS_futex_waitv, &args) }
            });
            for word in &words {
                until_waiting(word, 1);
            }
            assert_eq!(wake(&words[index], 1), Ok(1));
            assert_eq!(waiter.join().expect("no panic"), index as i64);
        });
        assert_eq!(waiters(&words[0]), 0);
    }
}

/// No wait ends before its time, and each says why it ended.
pub fn deadlines() {
    const LONG: Duration = Duration::from_millis(30);
    let word = AtomicU32::new(0);
    let time = |duration: Duration| timespec {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: duration.subsec_nanos().into(),
    };
    let now = |clock| {
        let mut now = time(Duration::ZERO);
        // SAFETY: Writes to `now`.
        assert_eq!(unsafe { libc::clock_gettime(clock, &mut now) }, 0);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let realtime = libc::FUTEX_WAIT_BITSET | libc::FUTEX_CLOCK_REALTIME;
    let cases = [
        (libc::FUTEX_WAIT, LONG),
        (libc::FUTEX_WAIT_BITSET, now(libc::CLOCK_MONOTONIC) + LONG),
        (realtime, now(libc::CLOCK_REALTIME) + LONG),
    ];
    for (op, until) in cases {
        for private in [0, libc::FUTEX_PRIVATE_FLAG] {
            // Only the first of a pair has an absolute deadline ahead.
            let ahead = op == libc::FUTEX_WAIT || private == 0;
            let began = Instant::now();
            let result = futex(&word, op | private, 0, Timeout::At(&time(until)), &word, !0);
            assert_eq!(result, Err(Errno::ETIMEDOUT), "operation {op}");
            assert!(op != libc::FUTEX_WAIT || began.elapsed() >= LONG);
            let clock = if op == realtime {
                libc::CLOCK_REALTIME
            } else {
                libc::CLOCK_MONOTONIC
            };
            assert!(!ahead || op == libc::FUTEX_WAIT || now(clock) >= until);
        }
    }
}

/// Who waits on the device is not the kernel's to wake.
pub fn the_kernel_finds_nobody() {
    the_kernel_finds(0);
}

/// Has a thread wait, of which the kernel finds so many: one if the wait is by
/// the kernel's futex, and none if it is on the device.
#[track_caller]
pub fn the_kernel_finds(expected: i64) {
    let word = AtomicU32::new(0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(&word, 0));
        until_waiting(&word, 1);
        let at = word.as_ptr().addr() as i64;
        let op = libc::FUTEX_WAKE.into();
        // SAFETY: The word is there.
        let woken = unsafe { kernel::call(libc::SYS_futex, &[at, op, 1, 0, 0, 0]) };
        // In any case it ends.
        let others = wake(&word, 1);
        assert_eq!(woken, expected, "whom the kernel woke");
        assert_eq!(others.map(i64::from), Ok(1 - expected));
        assert_eq!(waiter.join().expect("no panic"), Ok(0));
    });
}
