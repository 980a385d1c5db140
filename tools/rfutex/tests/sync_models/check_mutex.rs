// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mutex.

use super::*;
use crate::mutex::RawMutex;
use crate::os::{AtomicU8, Deadline, Shared};

struct Locked {
    mutex: RawMutex<Shared>,
    data: Data,
}

fn new() -> Locked {
    Locked {
        mutex: new_mutex(),
        data: Data::new(),
    }
}

pub fn new_mutex() -> RawMutex<Shared> {
    RawMutex {
        state: AtomicU8::new(mutex::FREE),
        scope: PhantomData,
    }
}

pub fn lock(mutex: &RawMutex<Shared>) {
    if !mutex.try_acquire() {
        assert!(mutex.acquire_slow(None));
    }
}

fn add(all: &Locked) {
    lock(&all.mutex);
    all.data.add();
    all.mutex.release();
}

fn add_twice(all: &Locked) {
    add(all);
    add(all);
}

fn add_fairly(all: &Locked) {
    lock(&all.mutex);
    all.data.add();
    all.mutex.release_fair();
}

/// Gives up if the deadline passes.
fn add_in_time(all: &Locked) {
    if all.mutex.try_acquire() || all.mutex.acquire_slow(Some(Deadline(1))) {
        all.data.add();
        all.mutex.release();
    }
}

fn time_passes(all: &Locked) {
    Deadline(1).pass(&all.mutex.state);
}

/// In the end the lock is free, and everything was added.
fn has_added<const N: u32>(all: &Locked) {
    assert!(all.mutex.try_acquire());
    assert_eq!(all.data.get(), N);
    assert_eq!(os::sleepers(&all.mutex.state), 0);
}

#[test]
fn two_threads() {
    check(None, new, &[add_twice, add], has_added::<3>);
    check(Some(5), new, &[add_twice, add_twice], has_added::<4>);
}

#[test]
fn three_threads() {
    check(Some(3), new, &[add, add, add], has_added::<3>);
}

#[test]
fn two_threads_fairly() {
    let twice = |all: &Locked| {
        add_fairly(all);
        add_fairly(all);
    };
    check(None, new, &[add_fairly, add_fairly], has_added::<2>);
    check(Some(5), new, &[twice, twice], has_added::<4>);
}

#[test]
fn three_threads_fairly() {
    check(Some(3), new, &[add_fairly, add, add], has_added::<3>);
    check(
        Some(2),
        new,
        &[add_fairly, add_fairly, add_fairly],
        has_added::<3>,
    );
}

/// One that was woken by a plain unlock comes late, when the lock is handed over to another.
#[test]
fn a_late_thread_and_a_hand_over() {
    let first = |all: &Locked| {
        add(all);
        add_fairly(all);
    };
    check(Some(2), new, &[first, add, add], has_added::<4>);
}

/// Whether the lock was taken before or after the deadline, no other misses its wake.
#[test]
fn one_gives_up() {
    let end = |all: &Locked| {
        assert!(all.mutex.try_acquire());
        assert!([2, 3].contains(&all.data.get()));
    };
    check(Some(3), new, &[add, add_in_time, time_passes], |all| {
        assert!(all.mutex.try_acquire());
    });
    check(Some(2), new, &[add, add_in_time, add, time_passes], end);
    check(
        Some(2),
        new,
        &[add_fairly, add_in_time, add, time_passes],
        end,
    );
}

/// While a thread sleeps, a fair unlock gives the lock to nobody else.
#[test]
fn nobody_gets_between() {
    let first = |all: &Locked| {
        lock(&all.mutex);
        let sleeps = os::sleepers(&all.mutex.state) == 1;
        let before = all.data.get();
        all.mutex.release_fair();
        if all.mutex.try_acquire() {
            assert!(!sleeps || all.data.get() == before + 1);
            all.mutex.release();
        }
    };
    check(Some(4), new, &[first, add], has_added::<1>);
}

#[test]
fn faults_are_found() {
    finds_each(&COMMON, new, &[add, add], has_added::<2>);
}
