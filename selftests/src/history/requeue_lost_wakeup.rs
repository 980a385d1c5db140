// SPDX-License-Identifier: GPL-2.0
//! A wake on a word is not lost while waiters are on their way there.
//!
//! The requeue goes ahead if the first word is 0; the waker makes it 1 and then wakes on the second.
//! So either the requeue sees the 1, or the wake sees who was moved. With the second word's bucket
//! empty before, the wake must not take it for empty still.

use super::hesitate;
use crate::harness::{LIMIT, Mapping, PAGE, Task, effort, fx, nr_waiters};
use crate::memory::{Region, RegionWord, memfd};
use rfutex::{Error, WaitEntry, Word};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Instant;

trials![private, between_files];

const ROUNDS: u32 = 250;

/// How many wait: the more, the longer a requeue takes. They are those of one WAITV, so that there
/// is only one thread to wait for.
const WAITERS: usize = 60;

/// Looks for somebody to wait, without giving the processor away for long.
fn until_waiting(word: Word<'static>, nr: usize) {
    let start = Instant::now();
    while nr_waiters(word) as usize != nr {
        assert!(start.elapsed() < LIMIT, "{nr} never wait");
        std::thread::yield_now();
    }
}

fn race(from: Word<'static>, to: Word<'static>) {
    let map = Arc::new(Mapping::private(PAGE));
    let stop = map.word(0);
    let waiter = Task::spawn(move || {
        while stop.load() == 0 {
            match fx().wait_any(&[WaitEntry::new(from, 0); WAITERS], None) {
                Ok(_) | Err(Error::Again) => {}
                Err(error) => panic!("wait_any: {error}"),
            }
            while from.load() != 0 && stop.load() == 0 {
                std::thread::yield_now();
            }
        }
    });
    let start = Arc::new(Barrier::new(2));
    let waker = Task::spawn({
        let (start, map) = (Arc::clone(&start), Arc::clone(&map));
        move || {
            for _ in 0..effort(ROUNDS) {
                start.wait();
                hesitate(2000);
                from.store(1);
                let woken = fx().wake_all(to).expect("wake");
                map.atomic::<AtomicU32>(64).store(woken, Ordering::SeqCst);
                start.wait();
            }
        }
    });
    for round in 0..effort(ROUNDS) {
        from.store(0);
        until_waiting(from, WAITERS);
        start.wait();
        hesitate(2000);
        let moved = fx().requeue_if(from, 0, to, 0, u32::MAX);
        start.wait();
        let woken = map.atomic::<AtomicU32>(64).load(Ordering::SeqCst);
        match moved {
            Ok(moved) => assert_eq!(
                (moved as usize, woken as usize),
                (WAITERS, WAITERS),
                "moved and woken, round {round}"
            ),
            Err(error) => {
                assert_eq!((error, woken), (Error::Again, 0), "round {round}");
                assert_eq!(fx().wake_all(from), Ok(WAITERS as u32));
            }
        }
    }
    stop.store(1);
    waker.join();
    waiter.join();
}

fn private() {
    let map = Mapping::private(PAGE);
    race(map.word(0).private(), map.word(64).private());
}

fn between_files() {
    let [from, to] = [memfd(PAGE), memfd(PAGE)].map(|file| Region::shared(file, 0, PAGE));
    race(from.word(0), to.word(0));
}
