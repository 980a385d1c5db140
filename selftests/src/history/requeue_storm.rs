// SPDX-License-Identifier: GPL-2.0
//! Requeues against wakes, signals and deadlines, on both words.
//!
//! A waiter that leaves while a requeue looks at it must not be looked at any more when it is gone:
//! the lab build poisons it. And as many wakes arrive as were counted, wherever the waiters are.

use crate::harness::storm::{again, signal_again, wait_and_count};
use crate::harness::{Handler, Mapping, PAGE, Task, effort, fx, nr_waiters};
use crate::memory::{Region, RegionWord, memfd};
use nix::sys::signal::{SaFlags, Signal};
use rfutex::{Error, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

trials![
    private_words,
    between_files,
    private_and_file,
    deadlines,
    restarts,
    many_words_of_one_waiter,
];

/// How many wakes must have been counted.
const WAKES: u32 = 200;
const WAITERS: usize = 4;

fn storm(from: Word<'static>, to: Word<'static>, flags: SaFlags, after: Option<Duration>) {
    let handler = Arc::new(Handler::counting(Signal::SIGUSR1, flags));
    let waiters = [(); WAITERS].map(|()| wait_and_count(from, after));
    let tids = waiters.each_ref().map(Task::tid);
    let stop = Arc::new(AtomicBool::new(false));
    let movers = [
        again(&stop, move || {
            fx().requeue_if(from, 0, to, 0, fastrand::u32(0..4))
                .expect("requeue");
        }),
        again(&stop, move || {
            // Back, and onto themselves.
            fx().requeue(to, from, 0, 1).expect("requeue");
            fx().requeue(to, to, 0, 9).expect("requeue");
            std::thread::yield_now();
        }),
        signal_again(&stop, &handler, tids),
    ];
    let mut counted = 0;
    while counted < effort(WAKES) {
        let nr = 1 + counted % 3;
        counted += fx().wake(from, nr, !0).expect("wake");
        counted += fx().wake(to, nr, !0).expect("wake");
        counted += fx().requeue(to, from, nr, 0).expect("requeue");
    }
    // The waiters must be there for the signals.
    stop.store(true, Ordering::SeqCst);
    movers.into_iter().for_each(Task::join);
    from.store(1);
    counted += fx().wake_all(from).expect("wake");
    counted += fx().wake_all(to).expect("wake");
    let woken: u32 = waiters.into_iter().map(Task::join).sum();
    assert_eq!(woken, counted, "wakes that arrived, and those counted");
    assert_eq!([nr_waiters(from), nr_waiters(to)], [0, 0]);
}

fn private_words() {
    let map = Mapping::private(PAGE);
    storm(
        map.word(0).private(),
        map.word(64).private(),
        SaFlags::empty(),
        None,
    );
}

fn between_files() {
    let [from, to] = [memfd(PAGE), memfd(PAGE)].map(|file| Region::shared(file, 0, PAGE));
    storm(from.word(0), to.word(0), SaFlags::empty(), None);
}

fn private_and_file() {
    let (private, file) = (Region::private(PAGE), Region::shared(memfd(PAGE), 0, PAGE));
    storm(file.word(0), private.word(0), SaFlags::empty(), None);
}

fn deadlines() {
    let (private, file) = (Region::private(PAGE), Region::shared(memfd(PAGE), 0, PAGE));
    let after = Some(Duration::from_micros(300));
    storm(private.word(0), file.word(0), SaFlags::empty(), after);
}

fn restarts() {
    let [from, to] = [memfd(PAGE), memfd(PAGE)].map(|file| Region::shared(file, 0, PAGE));
    storm(from.word(0), to.word(0), SaFlags::SA_RESTART, None);
}

/// The waiters of a WAITV are moved and woken one by one, while their task leaves with the others.
fn many_words_of_one_waiter() {
    let rounds = effort(150);
    let (private, file) = (Region::private(PAGE), Region::shared(memfd(PAGE), 0, PAGE));
    let words: Vec<_> = (0..4)
        .flat_map(|at| [private.word(at * 64), file.word(at * 64)])
        .collect();
    let (turn, done) = (private.word(1024), private.word(1028));
    let waiters = [(); 2].map(|()| {
        let words = words.clone();
        Task::spawn(move || {
            let entries: Vec<_> = words
                .iter()
                .map(|word| rfutex::WaitEntry::new(*word, 0))
                .collect();
            let mut woken = 0;
            while turn.load() == 0 {
                match fx().wait_any(&entries, None) {
                    Ok(index) => {
                        assert!(index < words.len());
                        woken += 1;
                        done.cell().fetch_add(1, Ordering::SeqCst);
                    }
                    Err(Error::Again) => {}
                    Err(error) => panic!("wait_any: {error}"),
                }
            }
            woken
        })
    });
    let stop = Arc::new(AtomicBool::new(false));
    let mover = again(&stop, {
        let words = words.clone();
        move || {
            let [from, to] = [(); 2].map(|()| words[fastrand::usize(..words.len())]);
            fx().requeue(from, to, 0, fastrand::u32(1..4))
                .expect("requeue");
        }
    });
    let mut counted = 0;
    while done.load() < rounds {
        let word = words[fastrand::usize(..words.len())];
        counted += fx().wake_one(word).expect("wake");
    }
    stop.store(true, Ordering::SeqCst);
    mover.join();
    turn.store(1);
    words.iter().for_each(|word| word.store(1));
    for word in &words {
        counted += fx().wake_all(*word).expect("wake");
    }
    let woken: u32 = waiters.into_iter().map(Task::join).sum();
    // One return may be the answer to several wakes.
    assert!(woken <= counted, "{woken} returns, {counted} wakes");
    assert!(words.iter().all(|word| nr_waiters(*word) == 0));
}
