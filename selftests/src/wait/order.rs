// SPDX-License-Identifier: GPL-2.0
//! In which order waiters are woken.

use crate::harness::{Mapping, PAGE, Task, Waiter, fx, nr_waiters, set_priority, until};
use rfutex::raw::uapi::RFUTEX_MASK_ANY;
use rfutex::{WaitOptions, Word};
use std::sync::mpsc;

trials![
    first_come_first_served,
    masks_keep_the_order,
    realtime_first,
    nice_does_not_matter,
    woken_are_not_woken_again,
];

/// Wakes one, and says which of the waiters it was.
fn wake_one(word: Word<'static>, waiters: &mut Vec<(usize, Waiter)>) -> usize {
    assert_eq!(fx().wake_one(word), Ok(1));
    let mut index = None;
    until("a waiter ends", || {
        index = waiters.iter().position(|(_, waiter)| waiter.is_finished());
        index.is_some()
    });
    let (name, waiter) = waiters.remove(index.expect("just found"));
    waiter.woken();
    assert_eq!(nr_waiters(word) as usize, waiters.len());
    name
}

fn first_come_first_served() {
    let map = Mapping::shared(PAGE);
    for word in [map.word(0), map.word(0).private()] {
        let mut waiters: Vec<_> = (0..8).map(|name| (name, Waiter::start(word, 0))).collect();
        for expected in 0..8 {
            assert_eq!(wake_one(word, &mut waiters), expected);
        }
    }
}

/// Who was passed over keeps its place.
fn masks_keep_the_order() {
    let map = Mapping::private(PAGE);
    let word = map.word(0);
    let start = |name| {
        let mask = if name % 2 == 0 { 1 } else { 2 };
        (
            name,
            Waiter::start_with(word, 0, WaitOptions::default().mask(mask)),
        )
    };
    let mut waiters: Vec<_> = (0..6).map(start).collect();
    assert_eq!(fx().wake(word, 2, 2), Ok(2));
    for name in [1, 3] {
        let index = waiters.iter().position(|(other, _)| *other == name);
        waiters.remove(index.expect("there")).1.woken();
    }
    for expected in [0, 2, 4, 5] {
        assert_eq!(wake_one(word, &mut waiters), expected);
    }
}

/// By priority, then first come first served; then the others.
fn realtime_first() {
    let map = Mapping::private(PAGE);
    let word = map.word(0);
    let priorities = [0, 10, 30, 0, 20, 30, 10];
    let tasks = priorities.iter().enumerate().map(|(name, priority)| {
        let priority = *priority;
        let task = Task::spawn(move || {
            if priority != 0 {
                set_priority(priority);
            }
            fx().wait(word, 0)
        });
        until("it is queued", || nr_waiters(word) as usize == name + 1);
        (name, task)
    });
    let mut tasks: Vec<_> = tasks.collect();
    for expected in [2, 5, 4, 1, 6, 0, 3] {
        assert_eq!(fx().wake_one(word), Ok(1));
        let mut index = None;
        until("a waiter ends", || {
            index = tasks.iter().position(|(_, task)| task.is_finished());
            index.is_some()
        });
        let (name, task) = tasks.remove(index.expect("just found"));
        assert_eq!(task.join(), Ok(()));
        assert_eq!(name, expected, "priorities {priorities:?}");
    }
}

/// A wake of all ends, and wakes each once, though the woken wait again at
/// once on the same word.
fn woken_are_not_woken_again() {
    const WAITERS: u32 = 16;
    const ROUNDS: u32 = 20;
    let map = Mapping::private(PAGE);
    let word = map.word(0).private();
    let (tell, told) = mpsc::channel();
    let tasks: Vec<_> = (0..WAITERS)
        .map(|_| {
            let tell = tell.clone();
            Task::spawn(move || {
                for _ in 0..ROUNDS {
                    assert_eq!(fx().wait(word, 0), Ok(()));
                    tell.send(()).expect("somebody listens");
                }
            })
        })
        .collect();
    for round in 1..=ROUNDS {
        until("all wait", || nr_waiters(word) == WAITERS);
        assert_eq!(
            fx().wake(word, u32::MAX, RFUTEX_MASK_ANY),
            Ok(WAITERS),
            "round {round}"
        );
        for _ in 0..WAITERS {
            told.recv_timeout(crate::harness::LIMIT)
                .expect("each is woken");
        }
        assert!(told.try_recv().is_err(), "somebody was woken twice");
    }
    tasks.into_iter().for_each(Task::join);
}

/// Normal tasks are served as they came, however nice they are.
fn nice_does_not_matter() {
    let map = Mapping::private(PAGE);
    let word = map.word(0);
    let tasks = [5, -10, 19, 0, -20]
        .into_iter()
        .enumerate()
        .map(|(nr, nice)| {
            let task = Task::spawn(move || {
                // SAFETY: It takes numbers. A thread's own niceness is its own.
                let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
                assert_eq!(result, 0, "setpriority");
                fx().wait(word, 0)
            });
            until("it is queued", || nr_waiters(word) as usize == nr + 1);
            task
        });
    // All of them, before the first is woken.
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(task.join(), Ok(()));
    }
}
