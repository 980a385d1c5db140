// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lock for one writer or many readers.

use super::*;
use crate::os::{AtomicU64, Deadline, Shared};
use crate::rwlock::{RawRwLock, WRITERS_WAIT};

pub struct Locked {
    pub lock: RawRwLock<Shared>,
    pub data: Data,
    /// What the only reader changes.
    pub seen: Data,
}

pub fn new() -> Locked {
    in_state(0)
}

/// With a lock that is in this state at first.
pub fn in_state(state: u64) -> Locked {
    Locked {
        lock: RawRwLock {
            state: AtomicU64::new(state),
            scope: PhantomData,
        },
        data: Data::new(),
        seen: Data::new(),
    }
}

fn write_lock(lock: &RawRwLock<Shared>) {
    if !lock.try_acquire_exclusive() {
        assert!(lock.acquire_exclusive_slow(None));
    }
}

pub fn read_lock(lock: &RawRwLock<Shared>, again: bool) {
    if !lock.try_acquire_shared(again) {
        assert!(lock.acquire_shared_slow(again, None));
    }
}

pub fn write(all: &Locked) {
    write_lock(&all.lock);
    all.data.add();
    all.lock.release_exclusive();
}

fn write_fairly(all: &Locked) {
    write_lock(&all.lock);
    all.data.add();
    all.lock.release_exclusive_fair();
}

pub fn read(all: &Locked) {
    read_lock(&all.lock, false);
    all.data.get();
    all.lock.release_shared();
}

fn read_fairly(all: &Locked) {
    read_lock(&all.lock, false);
    all.data.get();
    all.lock.release_shared_fair();
}

/// A reader that has the lock takes it again, even if a writer has come.
fn read_again(all: &Locked) {
    read_lock(&all.lock, false);
    let before = all.data.get();
    read_lock(&all.lock, true);
    assert_eq!(all.data.get(), before);
    all.lock.release_shared();
    all.lock.release_shared();
}

fn write_and_read(all: &Locked) {
    write_lock(&all.lock);
    all.data.add();
    all.lock.downgrade();
    all.data.get();
    all.lock.release_shared();
}

pub fn write_in_time(all: &Locked) {
    let lock = &all.lock;
    if lock.try_acquire_exclusive() || lock.acquire_exclusive_slow(Some(Deadline(1))) {
        all.data.add();
        lock.release_exclusive();
    }
}

fn read_in_time(all: &Locked) {
    let lock = &all.lock;
    if lock.try_acquire_shared(false) || lock.acquire_shared_slow(false, Some(Deadline(1))) {
        all.data.get();
        lock.release_shared();
    }
}

pub fn time_passes(all: &Locked) {
    Deadline(1).pass(&all.lock.state);
}

pub fn is_free(all: &Locked) {
    assert_eq!(os::sleepers(&all.lock.state), 0);
    write_lock(&all.lock);
    all.data.get();
}

pub fn has_written<const N: u32>(all: &Locked) {
    is_free(all);
    assert_eq!(all.data.get(), N);
}

#[test]
fn two_writers() {
    let twice = |all: &Locked| {
        write(all);
        write(all);
    };
    check(None, new, &[write, write], has_written::<2>);
    check(Some(5), new, &[twice, write], has_written::<3>);
}

#[test]
fn writer_and_reader() {
    let twice = |all: &Locked| {
        read(all);
        read(all);
    };
    check(None, new, &[write, read], has_written::<1>);
    check(Some(5), new, &[write, twice], has_written::<1>);
}

#[test]
fn writer_and_two_readers() {
    check(Some(2), new, &[write, read, read], has_written::<1>);
}

#[test]
fn two_writers_and_a_reader() {
    check(Some(2), new, &[write, write, read], has_written::<2>);
}

#[test]
fn three_writers() {
    check(Some(2), new, &[write, write, write], has_written::<3>);
}

#[test]
fn two_of_each() {
    check(Some(1), new, &[write, write, read, read], has_written::<2>);
}

#[test]
fn fairly() {
    check(Some(3), new, &[write_fairly, write], has_written::<2>);
    check(Some(3), new, &[write_fairly, read_fairly], has_written::<1>);
    check(
        Some(2),
        new,
        &[write_fairly, write_fairly, read_fairly],
        has_written::<2>,
    );
    check(
        Some(2),
        new,
        &[write, read_fairly, read_fairly],
        has_written::<1>,
    );
}

#[test]
fn downgrade() {
    check(Some(3), new, &[write_and_read, read], has_written::<1>);
    check(Some(3), new, &[write_and_read, write], has_written::<2>);
    check(
        Some(2),
        new,
        &[write_and_read, write, read],
        has_written::<2>,
    );
}

#[test]
fn recursion() {
    check(Some(3), new, &[read_again, write], has_written::<1>);
    check(Some(2), new, &[read_again, write, read], has_written::<1>);
}

/// Neither kind misses its wake when a writer that has kept it out gives up.
#[test]
fn a_writer_gives_up() {
    check(Some(2), new, &[read, write_in_time, time_passes], is_free);
    check(
        Some(1),
        new,
        &[read, write_in_time, read, time_passes],
        is_free,
    );
    check(
        Some(1),
        new,
        &[write, write_in_time, read, time_passes],
        is_free,
    );
    check(
        Some(1),
        new,
        &[write_fairly, write_in_time, write, time_passes],
        is_free,
    );
}

#[test]
fn a_reader_gives_up() {
    check(Some(2), new, &[write, read_in_time, time_passes], is_free);
    check(
        Some(1),
        new,
        &[write, read_in_time, write, time_passes],
        is_free,
    );
    check(
        Some(1),
        new,
        &[write, read_in_time, read, time_passes],
        is_free,
    );
}

/// Writes, and tries for the lock once more. Whoever slept when it left has been there by then, and has
/// changed `seen`.
pub fn write_and_try_again(all: &Locked) {
    write_lock(&all.lock);
    all.data.add();
    let sleeps = os::sleepers(&all.lock.state) == 1;
    all.lock.release_exclusive();
    if all.lock.try_acquire_exclusive() {
        assert!(!sleeps || all.seen.get() == 1, "a writer came first");
        all.lock.release_exclusive();
    }
}

/// A reader that sleeps when a writer leaves is in before any other writer.
#[test]
fn readers_have_their_turn() {
    let reader = |all: &Locked| {
        read_lock(&all.lock, false);
        all.seen.add();
        all.lock.release_shared();
    };
    check(
        Some(3),
        new,
        &[write_and_try_again, reader],
        has_written::<1>,
    );
}

/// A writer that was woken has not come yet: whoever tries for the lock has it.
#[test]
fn trying_succeeds_if_nobody_has_it() {
    let awaited = || in_state(WRITERS_WAIT);
    let only = |all: &Locked| {
        assert!(all.lock.try_acquire_awaited());
        all.lock.release_exclusive();
        assert!(all.lock.try_acquire_shared(false), "nobody waits");
        all.lock.release_shared();
    };
    check(None, awaited, &[only], is_free);
}

#[test]
fn faults_are_found() {
    finds_each(&COMMON, new, &[write, read], has_written::<1>);
    let found = finds(
        Fault::OneForAll,
        new,
        &[write, read, read],
        has_written::<1>,
    );
    assert!(found, "one for all");
}
