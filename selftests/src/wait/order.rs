// SPDX-License-Identifier: GPL-2.0
//! In which order waiters are woken.

use crate::harness::{Mapping, PAGE, Task, Waiter, fx, nr_waiters, until};
use rfutex::raw::uapi::RFUTEX_MASK_ANY;
use rfutex::{WaitOptions, Word};
use std::sync::mpsc;

trials![
    first_come_first_served,
    masks_keep_the_order,
    nice_does_not_matter,
    woken_are_not_woken_again,
];

/// Wakes the waiters, which are all that there are, in this order.
fn wake_one_by_one(word: Word<'static>, waiters: impl IntoIterator<Item = Waiter>) {
    for waiter in waiters {
        assert_eq!(fx().wake_one(word), Ok(1));
        waiter.woken();
    }
    assert_eq!(nr_waiters(word), 0);
}

fn first_come_first_served() {
    let map = Mapping::shared(PAGE);
    for word in [map.word(0), map.word(0).private()] {
        let waiters = [(); 8].map(|()| Waiter::start(word, 0));
        wake_one_by_one(word, waiters);
    }
}

/// Who was passed over keeps its place.
fn masks_keep_the_order() {
    let map = Mapping::private(PAGE);
    let word = map.word(0);
    let [a, b, c, d, e, f] = [1, 2, 1, 2, 1, 2].map(|mask| {
        let options = WaitOptions::default().mask(mask);
        Waiter::start_with(word, 0, options)
    });
    assert_eq!(fx().wake(word, 2, 2), Ok(2));
    b.woken();
    d.woken();
    wake_one_by_one(word, [a, c, e, f]);
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
