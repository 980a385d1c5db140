// SPDX-License-Identifier: GPL-2.0
//! The commands about several words.

use super::{Low, wait};
use crate::harness::{PAGE, Task, Waiter, fx, nr_waiters, until_queued};
use rfutex::raw::{bytes_of, uapi::*};
use rfutex::{Error, Word};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

trials![requeue, wake_op, waitv, swap];

fn words(low: &Low) -> [Word<'static>; 2] {
    [low.0.word(PAGE), low.0.word(PAGE + 64)]
}

fn requeue() {
    let low = Low::new();
    let [from, to] = words(&low);
    let waiters = [(); 3].map(|()| Waiter::start(from, 0));
    let mut requeue = rfutex_requeue {
        from: from.into(),
        to: to.into(),
        val: 1,
        nr_wake: 1,
        nr_move: u32::MAX,
        flags: RFUTEX_REQUEUE_CMP,
        pad: 0,
    };
    assert_eq!(low.call(RFUTEX_REQUEUE, &mut requeue), Err(Error::Again));
    requeue.val = 0;
    assert_eq!(low.call(RFUTEX_REQUEUE, &mut requeue), Ok(3));
    assert_eq!(fx().wake_all(to), Ok(2));
    waiters.into_iter().for_each(Waiter::woken);
}

/// A 64-bit word, too.
fn wake_op() {
    let low = Low::new();
    let [word, other] = words(&low);
    let waiters = [Waiter::start(word, 0), Waiter::start(other, 0)];
    let mut wake_op = rfutex_wake_op {
        word: word.into(),
        target: low.0.sized_word(PAGE + 64, 8).into(),
        operand: 0x8192_a3b4_c5d6_e7f8,
        comparand: 1 << 63,
        nr: 1,
        nr_target: 1,
        op: RFUTEX_OP_SET,
        cmp: RFUTEX_CMP_GT,
    };
    assert_eq!(low.call(RFUTEX_WAKE_OP, &mut wake_op), Ok(2));
    let value = low.0.atomic::<AtomicU64>(PAGE + 64);
    assert_eq!(value.load(Ordering::SeqCst), wake_op.operand);
    waiters.into_iter().for_each(Waiter::woken);
}

/// The array's address has 64 bits in the struct.
fn waitv() {
    let low = Low::new();
    let [first, second] = words(&low);
    let entries = [first, second].map(|word| rfutex_waitv_entry {
        word: word.into(),
        val: 0,
        mask: RFUTEX_MASK_ANY,
        ..Default::default()
    });
    let size = size_of_val(&entries[0]);
    // Behind the struct, and above 4 GiB.
    let behind = low.0.addr() + 512;
    let high = entries.as_ptr().addr() as u64;
    assert!(high > u64::from(u32::MAX));
    for addr in [behind, high] {
        let task = Task::spawn({
            let low = Low::new();
            move || {
                for (at, entry) in entries.iter().enumerate() {
                    low.0.write(512 + size * at, bytes_of(entry));
                }
                let entries = match addr == high {
                    true => addr,
                    false => low.0.addr() + 512,
                };
                low.call(
                    RFUTEX_WAITV,
                    &mut rfutex_waitv {
                        entries,
                        nr: 2,
                        entry_size: size as u32,
                        ..Default::default()
                    },
                )
            }
        });
        until_queued(second, 1);
        assert_eq!(fx().wake_one(second), Ok(1));
        assert_eq!(task.join(), Ok(1));
        assert_eq!(nr_waiters(first), 0);
    }
}

fn swap() {
    let low = Low::new();
    let [word, other] = words(&low);
    let waiter = Waiter::start(other, 0);
    let task = Task::spawn({
        let low = Low::new();
        move || low.call(RFUTEX_SWAP, &mut wait(word, 0).swap(other.into()))
    });
    waiter.woken();
    until_queued(word, 1);
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(task.join(), Ok(0));
    low.0.atomic::<AtomicU32>(PAGE).store(1, Ordering::SeqCst);
    let mut swap = wait(word, 0).swap(other.into());
    assert_eq!(low.call(RFUTEX_SWAP, &mut swap), Err(Error::Again));
}
