// SPDX-License-Identifier: GPL-2.0
//! Wakes while the words are still being queued, and while the waiter leaves.

use super::{FEW, MAX, assert_nobody, words, zeros};
use crate::harness::{LIMIT, Mapping, PAGE, Task, fx, nr_waiters};
use crate::memory::RegionWord;
use rfutex::{Clock, Deadline, Error, Word};
use std::time::{Duration, Instant};

trials![wake_during_setup, no_wake_lost, wake_or_deadline];

/// The last word has another value, so the call never sleeps; but a wake on the first, which is
/// queued by then, counts more. As many calls tell of one as the waker counted.
fn wake_during_setup() {
    const WAKES: u32 = 30;
    let map = Mapping::private(PAGE);
    for nr in [FEW, MAX] {
        let words: Vec<_> = words(map.addr(), nr)
            .into_iter()
            .map(Word::private)
            .collect();
        let (last, stop) = (words[nr - 1], map.word(PAGE - 8));
        last.store(1);
        stop.store(0);
        let waiter = Task::spawn({
            let entries = zeros(&words);
            move || {
                let mut woken = 0;
                while stop.load() == 0 {
                    match fx().wait_any(&entries, None) {
                        Ok(0) => woken += 1,
                        Err(Error::Again) => {}
                        other => panic!("{other:?}"),
                    }
                }
                woken
            }
        });
        let (start, mut counted) = (Instant::now(), 0);
        while counted < WAKES {
            assert!(start.elapsed() < LIMIT, "{counted} wakes met a queued word");
            counted += fx().wake_one(words[0]).expect("wake");
        }
        stop.store(1);
        assert_eq!(waiter.join(), counted, "{nr} words");
        last.store(0);
        assert_nobody(&words);
    }
}

/// Two threads hand a turn to each other, over any of the words.
fn no_wake_lost() {
    const ROUNDS: u32 = 400;
    let map = Mapping::shared(PAGE);
    for nr in [FEW, FEW + 1, 40] {
        let [ping, pong] = [0, PAGE / 2].map(|at| words(map.addr() + at as u64, nr));
        let turn = move |mine: Vec<Word<'static>>, other: Vec<Word<'static>>, first: bool| {
            let entries = zeros(&mine);
            for round in 0..ROUNDS {
                if !(first && round == 0) {
                    // Somebody makes one of them 1.
                    loop {
                        if let Some(word) = mine.iter().find(|word| word.load() == 1) {
                            word.store(0);
                            break;
                        }
                        let limit = Deadline::after(Clock::Monotonic, LIMIT);
                        match fx().wait_any(&entries, Some(limit)) {
                            Ok(index) => assert!(index < nr),
                            Err(Error::Again) => {}
                            Err(error) => panic!("round {round}, {nr} words: {error}"),
                        }
                    }
                }
                let word = other[fastrand::usize(..nr)];
                word.store(1);
                fx().wake_one(word).expect("wake");
            }
        };
        let other = Task::spawn({
            let (ping, pong) = (ping.clone(), pong.clone());
            move || turn(pong, ping, false)
        });
        turn(ping.clone(), pong.clone(), true);
        other.join();
        // The last turn was not taken.
        assert_eq!(ping.iter().filter(|word| word.load() == 1).count(), 1);
        ping.iter().for_each(|word| word.store(0));
        assert_nobody(&ping);
        assert_nobody(&pong);
    }
}

/// Woken or late, and never both: a call that was late has left all words.
fn wake_or_deadline() {
    const ROUNDS: u32 = 150;
    let map = Mapping::private(PAGE);
    let words = words(map.addr(), FEW + 1);
    let stop = map.word(PAGE - 8);
    let waiter = Task::spawn({
        let entries = zeros(&words);
        move || {
            let mut woken = 0;
            for _ in 0..ROUNDS {
                let after = Duration::from_micros(fastrand::u64(0..1000));
                let deadline = Deadline::after(Clock::Monotonic, after);
                match fx().wait_any(&entries, Some(deadline)) {
                    Ok(_) => woken += 1,
                    Err(Error::TimedOut) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            stop.store(1);
            woken
        }
    });
    // On one word only, so that each wake ends a call.
    let mut counted = 0;
    while stop.load() == 0 {
        counted += fx().wake_one(words[3]).expect("wake");
    }
    assert_eq!(waiter.join(), counted);
    assert!(words.iter().all(|word| nr_waiters(*word) == 0));
}
