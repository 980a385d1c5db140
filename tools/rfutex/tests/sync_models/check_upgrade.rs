// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lock for one writer or many readers, with one that may become the writer.

use super::check_rwlock::{
    Locked, has_written, in_state, is_free, new, read, read_lock, time_passes, write,
    write_and_try_again, write_in_time,
};
use super::*;
use crate::os::Deadline;
use crate::rwlock::{READER, RESERVED, UPGRADABLE, UPGRADE, UPGRADE_WAITS};

fn upgradable_lock(all: &Locked) {
    if !all.lock.try_acquire_upgradable() {
        assert!(all.lock.acquire_upgradable_slow(None));
    }
}

fn upgrade_lock(all: &Locked) {
    if !all.lock.try_upgrade_now() {
        assert!(all.lock.upgrade_slow(None));
    }
}

/// What it has read is true still when it writes.
fn upgrade(all: &Locked) {
    upgradable_lock(all);
    let before = all.data.get();
    upgrade_lock(all);
    assert_eq!(all.data.get(), before);
    all.data.add();
    all.lock.release_exclusive();
}

/// It does not write after all.
fn look(all: &Locked) {
    upgradable_lock(all);
    all.data.get();
    all.lock.release_upgradable();
}

fn look_fairly(all: &Locked) {
    upgradable_lock(all);
    all.data.get();
    all.lock.release_upgradable_fair();
}

/// It has all that one can have, one after the other.
fn up_and_down(all: &Locked) {
    upgradable_lock(all);
    upgrade_lock(all);
    all.data.add();
    all.lock.downgrade_to_upgradable();
    let after = all.data.get();
    all.lock.downgrade_upgradable();
    assert_eq!(all.data.get(), after);
    all.lock.release_shared();
}

fn look_in_time(all: &Locked) {
    let lock = &all.lock;
    if lock.try_acquire_upgradable() || lock.acquire_upgradable_slow(Some(Deadline(1))) {
        all.data.get();
        lock.release_upgradable();
    }
}

fn upgrade_in_time(all: &Locked) {
    upgradable_lock(all);
    if all.lock.try_upgrade_now() || all.lock.upgrade_slow(Some(Deadline(1))) {
        all.data.add();
        all.lock.release_exclusive();
    } else {
        all.data.get();
        all.lock.release_upgradable();
    }
}

#[test]
fn two() {
    check(Some(3), new, &[upgrade, upgrade], has_written::<2>);
    check(Some(3), new, &[upgrade, read], has_written::<1>);
    check(Some(3), new, &[upgrade, write], has_written::<2>);
    check(Some(3), new, &[look, upgrade], has_written::<1>);
    check(Some(3), new, &[look, write], has_written::<1>);
}

/// A reader stays, who is of no use to them: they wake each other.
#[test]
fn beside_a_reader() {
    let with_a_reader = || in_state(READER);
    let become_reader = |all: &Locked| {
        upgradable_lock(all);
        all.lock.downgrade_upgradable();
    };
    let end = |all: &Locked| assert_eq!(os::sleepers(&all.lock.state), 0);
    check(Some(3), with_a_reader, &[look, look], end);
    check(Some(3), with_a_reader, &[look, become_reader], end);
    check(Some(2), with_a_reader, &[look, become_reader, look], end);
    check(
        Some(2),
        with_a_reader,
        &[look, look_in_time, time_passes],
        end,
    );
    // Those that keep others out for a while.
    check(
        Some(2),
        with_a_reader,
        &[upgrade_in_time, read, time_passes],
        end,
    );
    check(
        Some(2),
        with_a_reader,
        &[write_in_time, look, time_passes],
        end,
    );
}

/// The sign that somebody waits was taken away while two slept, of whom one was woken, as
/// `wake_upgradable` may do it. The other is not forgotten.
#[test]
fn two_without_a_sign() {
    let taken = || in_state(UPGRADABLE | UPGRADE_WAITS);
    let leave = |all: &Locked| {
        if os::sleepers(&all.lock.state) == 2 {
            all.lock.state.swap(RESERVED, Ordering::AcqRel);
            all.lock.wake(1, UPGRADE);
        } else {
            all.lock.release_upgradable();
        }
    };
    check(Some(2), taken, &[leave, look, look], is_free);
}

#[test]
fn three() {
    check(Some(2), new, &[upgrade, read, read], has_written::<1>);
    check(Some(2), new, &[upgrade, write, read], has_written::<2>);
    check(Some(2), new, &[upgrade, upgrade, read], has_written::<2>);
    check(Some(2), new, &[upgrade, upgrade, write], has_written::<3>);
    check(Some(2), new, &[look, look, write], has_written::<1>);
    check(Some(2), new, &[look, upgrade, upgrade], has_written::<2>);
}

#[test]
fn four() {
    check(
        Some(1),
        new,
        &[write, read, look, upgrade],
        has_written::<2>,
    );
    check(Some(1), new, &[write, look, look, look], has_written::<1>);
    check(
        Some(1),
        new,
        &[write, write, read, upgrade],
        has_written::<3>,
    );
}

#[test]
fn fairly() {
    check(Some(3), new, &[look_fairly, write], has_written::<1>);
    check(
        Some(2),
        new,
        &[look_fairly, write, upgrade],
        has_written::<2>,
    );
    check(Some(2), new, &[look_fairly, write, read], has_written::<1>);
}

#[test]
fn downgrade() {
    check(Some(3), new, &[up_and_down, read], has_written::<1>);
    check(Some(3), new, &[up_and_down, write], has_written::<2>);
    check(Some(3), new, &[up_and_down, upgrade], has_written::<2>);
    check(Some(2), new, &[up_and_down, look, write], has_written::<2>);
    check(
        Some(1),
        new,
        &[up_and_down, read, write, look],
        has_written::<2>,
    );
}

/// Nobody whom it has kept out misses his wake when one gives up.
#[test]
fn one_gives_up() {
    check(Some(2), new, &[read, upgrade_in_time, time_passes], is_free);
    check(Some(2), new, &[look_in_time, upgrade, time_passes], is_free);
    check(
        Some(1),
        new,
        &[read, upgrade_in_time, read, time_passes],
        is_free,
    );
    check(
        Some(1),
        new,
        &[write, upgrade_in_time, read, time_passes],
        is_free,
    );
    check(
        Some(1),
        new,
        &[upgrade, look_in_time, look, time_passes],
        is_free,
    );
    check(
        Some(1),
        new,
        &[write, look_in_time, look, time_passes],
        is_free,
    );
    check(
        Some(1),
        new,
        &[look, write_in_time, look, time_passes],
        is_free,
    );
    check(
        Some(1),
        new,
        &[read, write_in_time, upgrade, time_passes],
        is_free,
    );
}

/// One that sleeps when a writer leaves has it before any other writer.
#[test]
fn it_has_its_turn() {
    let looker = |all: &Locked| {
        upgradable_lock(all);
        all.seen.add();
        all.lock.release_upgradable();
    };
    check(
        Some(3),
        new,
        &[write_and_try_again, looker],
        has_written::<1>,
    );
}

/// A thread that has the lock in whatever way can read it again.
#[test]
fn recursion() {
    let again = |all: &Locked| {
        upgradable_lock(all);
        read_lock(&all.lock, true);
        all.data.get();
        all.lock.release_shared();
        all.lock.release_upgradable();
    };
    check(Some(3), new, &[again, write], has_written::<1>);
    check(Some(2), new, &[again, write, look], has_written::<1>);
}

#[test]
fn faults_are_found() {
    finds_each(&COMMON, new, &[upgrade, upgrade], has_written::<2>);
    finds_each(&COMMON, new, &[upgrade, read], has_written::<1>);
}
