// SPDX-License-Identifier: GPL-2.0
//! Processes that are killed at any moment while they use a lock.

use super::{DIED, arena, flag, joined, load, word};
use crate::harness::storm::again;
use crate::harness::{Child, PAGE, Task, effort, until};
use fastrand::Rng;
use nix::sys::signal::Signal;
use rfutex::Arena;
use rfutex::sync::{Member, RobustMutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// As many as there is time for. `make kill` has more.
fn killed_at_any_moment() {
    kill(effort(300));
}

trials![
    killed_at_any_moment,
    threads_join_and_end,
    ends_follow_each_other
];

/// How many processes use the lock at a time.
const NR: usize = 4;

/// Where the number of the locks that were taken is.
const LOCKS: usize = PAGE + 128;

/// What the lock protects: two numbers, which are the same unless somebody is at it.
const PAIR: [usize; 2] = [PAGE + 256, PAGE + 2048];

fn number(arena: &Arena, offset: usize) -> &AtomicU64 {
    arena.get(offset).expect("it is in the arena")
}

/// Takes the lock again and again, until flag 0 is set, or the caller is killed.
fn work(arena: &Arena, mutex: RobustMutex<'_>) {
    let member = Member::join(arena).expect("it joins");
    let pair = PAIR.map(|offset| number(arena, offset));
    while flag(arena, 0).load(Ordering::Relaxed) == 0 {
        let mut guard = mutex.lock(&member).expect("the lock");
        let [first, second] = pair.each_ref().map(|number| number.load(Ordering::Relaxed));
        if guard.owner_died() {
            // It was killed in between, or just before or behind it.
            assert!(first == second || first == second + 1, "{first}, {second}");
            pair[1].store(first, Ordering::Relaxed);
            guard.mark_consistent();
            number(arena, LOCKS + 8).fetch_add(1, Ordering::Relaxed);
        } else {
            assert_eq!(first, second, "nobody has died");
        }
        pair[0].store(first + 1, Ordering::Relaxed);
        std::hint::spin_loop();
        pair[1].store(first + 1, Ordering::Relaxed);
        drop(guard);
        number(arena, LOCKS).fetch_add(1, Ordering::Relaxed);
    }
}

/// Whoever is killed, the others go on: nobody sleeps for ever, and what the lock protects is as it
/// should be. In the end nobody has the lock.
pub fn kill(kills: u32) {
    let arena = arena();
    let mutex = RobustMutex::at(&arena, 64).expect("it is robust");
    let mut rng = Rng::with_seed(12);
    let begin = || Child::run(|| work(&arena, mutex));
    let mut children: Vec<_> = (0..NR).map(|_| begin()).collect();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_micros(rng.u64(..3000)));
        let victim = rng.usize(..NR);
        children[victim].kill(Signal::SIGKILL);
        children.swap_remove(victim).status();
        children.push(begin());
        // Somebody takes the lock again, so that nobody waits for the dead.
        let locks = number(&arena, LOCKS);
        let before = locks.load(Ordering::Relaxed);
        until("the others go on", || {
            locks.load(Ordering::Relaxed) > before
        });
    }
    flag(&arena, 0).store(1, Ordering::Relaxed);
    children.into_iter().for_each(Child::join);
    assert!(!mutex.is_locked());
    let [locks, recovered] = [LOCKS, LOCKS + 8].map(|o| number(&arena, o).load(Ordering::Relaxed));
    println!(
        "{kills} were killed, the lock was taken {locks} times, {recovered} times from the dead"
    );
    assert!(recovered > 0);
}

/// Threads join and end in a loop, with words and without, and with somebody who waits.
fn threads_join_and_end() {
    let arena = arena();
    let mutex = RobustMutex::at(&arena, 0).expect("it is robust");
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let arena = arena.clone();
            Task::spawn(move || {
                for _ in 0..effort(100u32) {
                    let theirs = arena.clone();
                    std::thread::spawn(move || {
                        let mutex = RobustMutex::at(&theirs, 0).expect("it is robust");
                        let member = Member::join(&theirs).expect("it joins");
                        let guard = mutex.lock(&member).expect("the lock");
                        // It ends with the lock.
                        std::mem::forget(guard);
                    })
                    .join()
                    .expect("it ends");
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(Task::join);
    let member = Member::join(&arena).expect("it joins");
    let guard = mutex.lock(&member).expect("the last one has ended");
    assert!(guard.owner_died());
}

/// However fast threads end one after the other, the words of each are looked at soon.
fn ends_follow_each_other() {
    let arena = arena();
    let stop = Arc::new(AtomicBool::new(false));
    let others = [(); 3].map(|()| {
        let arena = arena.clone();
        again(&stop, move || {
            let theirs = arena.clone();
            let thread = std::thread::spawn(move || Member::join(&theirs).map(drop));
            thread.join().expect("it ends").expect("it joins");
        })
    });
    for _ in 0..20 {
        let theirs = arena.clone();
        Task::spawn(move || word(&theirs, 0).store(joined(&theirs), Ordering::Relaxed)).join();
        until("the word is marked", || load(&arena, 0) == DIED);
    }
    stop.store(true, Ordering::Relaxed);
    others.into_iter().for_each(Task::join);
}
