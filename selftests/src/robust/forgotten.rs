// SPDX-License-Identifier: GPL-2.0
//! Threads that are killed when no word carries their id, but others wait for what they would have
//! done next.

use super::{Task, WAITERS, arena, joined, load, nr_waiters, set, until_set, waiter, word};
use crate::harness::{Child, until};
use nix::sys::signal::Signal;
use nix::unistd::pause;
use rfutex::{Arena, Error};
use std::sync::Arc;
use std::sync::atomic::Ordering;

trials![
    after_it_has_given_up_the_word,
    before_it_has_taken_the_word,
    while_another_has_barged_in,
    others_sleep_on,
];

/// Kills a child that has joined and done `f`.
#[track_caller]
fn killed_after(arena: &Arena, f: impl FnOnce(u64)) {
    let child = Child::run(|| {
        f(joined(arena));
        set(arena, 0);
        pause();
    });
    until_set(arena, 0);
    child.kill(Signal::SIGKILL);
    child.status();
}

/// Three that wait on word 0, in which somebody has written that they do.
#[track_caller]
fn three(arena: &Arc<Arena>, val: u64) -> Vec<Task<Result<(), Error>>> {
    word(arena, 0).store(val, Ordering::Relaxed);
    (0..3).map(|_| waiter(arena, 0, val)).collect()
}

/// Ends those who still wait on word 0.
#[track_caller]
fn end(arena: &Arena, tasks: Vec<Task<Result<(), Error>>>) {
    let word = arena.word(word(arena, 0));
    arena.table().wake_all(word).expect("a wake");
    for task in tasks {
        assert_eq!(task.join(), Ok(()));
    }
}

/// An unlock consists of a store and a wake. It is killed between them.
fn after_it_has_given_up_the_word() {
    let arena = arena();
    let tasks = three(&arena, 4 << 20 | WAITERS);
    killed_after(&arena, |_| word(&arena, 0).store(0, Ordering::Release));
    until("one of them is woken", || nr_waiters(&arena, 0) == 2);
    assert_eq!(load(&arena, 0), 0);
    end(&arena, tasks);
}

/// Whoever was woken is killed before it has taken the word.
fn before_it_has_taken_the_word() {
    let arena = arena();
    let tasks = three(&arena, 4 << 20 | WAITERS);
    word(&arena, 0).store(0, Ordering::Release);
    killed_after(&arena, |_| ());
    until("another one is woken", || nr_waiters(&arena, 0) == 2);
    end(&arena, tasks);
}

/// Somebody else has taken the word, and does not know that others wait.
fn while_another_has_barged_in() {
    let arena = arena();
    let tasks = three(&arena, 4 << 20 | WAITERS);
    word(&arena, 0).store(4 << 21, Ordering::Release);
    killed_after(&arena, |_| ());
    until("another one is woken", || nr_waiters(&arena, 0) == 2);
    assert_eq!(load(&arena, 0), 4 << 21);
    end(&arena, tasks);
}

/// Those whose owner knows of them have nothing to do with it.
fn others_sleep_on() {
    let arena = arena();
    let tasks = three(&arena, 4 << 20 | WAITERS);
    let own = Child::run(|| {
        word(&arena, 1).store(joined(&arena), Ordering::Relaxed);
    });
    own.join();
    until("its own word is marked", || load(&arena, 1) == 2);
    // Another one ends, after which all that the first end had to do has been done.
    Child::run(|| word(&arena, 2).store(joined(&arena), Ordering::Relaxed)).join();
    until("its own word is marked", || load(&arena, 2) == 2);
    assert_eq!(nr_waiters(&arena, 0), 3);
    end(&arena, tasks);
}
