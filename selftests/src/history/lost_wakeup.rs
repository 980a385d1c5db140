// SPDX-License-Identifier: GPL-2.0
//! No wake is lost: not between the waiter's look at the word and its sleep, and not between a wake
//! and a deadline.
//!
//! `wait::stress` has more, with less care for when the two sides meet. On x86, of the two barriers
//! only the wake's for private words can be missed; the litmus tests look at the rest.

use super::hesitate;
use crate::harness::{LIMIT, PAGE, Task, effort, fx, nr_waiters};
use crate::memory::{HUGE, Region, RegionWord, memfd, thp};
use rfutex::{Error, WaitOptions, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

trials![private, shared, mm, thp_tails, wake_or_deadline];

/// Sleeps while `word` is `val`, and fails if nobody wakes.
fn sleep_while(word: Word<'static>, val: u32) {
    while word.load() == val {
        let options = WaitOptions::default().within(LIMIT);
        match fx().wait_with(word, val.into(), options) {
            Ok(()) | Err(Error::Again) => {}
            error => panic!("a wake of {word:?} was lost: {error:?}"),
        }
    }
}

/// Two threads wake each other in turn, `turns` times, or less often in a brief run.
fn ping_pong(ping: Word<'static>, pong: Word<'static>, turns: u32) {
    let turns = effort(turns);
    let other = Task::spawn(move || {
        for i in 0..turns {
            sleep_while(ping, i);
            hesitate(400);
            pong.store(i + 1);
            fx().wake_one(pong).expect("a wake");
        }
    });
    for i in 0..turns {
        hesitate(400);
        ping.store(i + 1);
        fx().wake_one(ping).expect("a wake");
        sleep_while(pong, i);
    }
    other.join();
    assert_eq!((nr_waiters(ping), nr_waiters(pong)), (0, 0));
}

fn private() {
    let region = Region::private(PAGE);
    ping_pong(region.word(0).private(), region.word(64).private(), 6000);
}

fn shared() {
    let file = memfd(PAGE);
    let (one, other) = (
        Region::shared(&file, 0, PAGE),
        Region::shared(&file, 0, PAGE),
    );
    ping_pong(one.word(0), other.word(64), 3000);
}

fn mm() {
    let region = Region::private(PAGE);
    ping_pong(region.word(0), region.word(64), 3000);
}

fn thp_tails() {
    let region = thp(HUGE);
    ping_pong(region.word(HUGE / 2), region.word(HUGE - PAGE), 3000);
}

/// A waiter whose deadline passes as it is woken is woken or late, and never both: as many were
/// woken as the waker counts.
fn wake_or_deadline() {
    const WAITERS: usize = 3;
    const ROUNDS: usize = 300;
    let region = Region::private(PAGE);
    let word = region.word(0).private();
    let left = Arc::new(AtomicU64::new(WAITERS as u64));
    let waiters: Vec<_> = (0..WAITERS)
        .map(|_| {
            let left = Arc::clone(&left);
            Task::spawn(move || {
                let mut woken = 0;
                for _ in 0..effort(ROUNDS) {
                    let within = Duration::from_micros(fastrand::u64(0..1000));
                    match fx().wait_with(word, 0, WaitOptions::default().within(within)) {
                        Ok(()) => woken += 1,
                        Err(Error::TimedOut) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                left.fetch_sub(1, Ordering::SeqCst);
                woken
            })
        })
        .collect();
    let mut counted = 0;
    while left.load(Ordering::SeqCst) != 0 {
        hesitate(400);
        counted += fx().wake_one(word).expect("a wake");
    }
    let woken: u32 = waiters.into_iter().map(Task::join).sum();
    assert_eq!(woken, counted);
    assert_eq!(nr_waiters(word), 0);
}
