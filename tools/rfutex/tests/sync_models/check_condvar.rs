// SPDX-License-Identifier: MIT OR Apache-2.0
//! The condition variable.

use super::*;
use crate::check_mutex::{lock, new_mutex};
use crate::condvar::Condvar;
use crate::mutex::RawMutex;
use crate::os::{AtomicU32, Deadline, Shared};

/// A number of things, and a condition variable for those that want one.
struct Things {
    mutex: RawMutex<Shared>,
    more: Condvar<Shared>,
    count: loom::cell::Cell<u32>,
}

fn new() -> Things {
    Things {
        mutex: new_mutex(),
        more: Condvar {
            notified: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            moved: AtomicU32::new(0),
            scope: PhantomData,
        },
        count: loom::cell::Cell::new(0),
    }
}

fn take(all: &Things) {
    lock(&all.mutex);
    while all.count.get() == 0 {
        assert!(all.more.wait_raw(&all.mutex, None));
    }
    all.count.set(all.count.get() - 1);
    all.mutex.release();
}

fn take_in_time(all: &Things) {
    lock(&all.mutex);
    while all.count.get() == 0 {
        if !all.more.wait_raw(&all.mutex, Some(Deadline(1))) {
            break;
        }
    }
    all.mutex.release();
}

fn time_passes(all: &Things) {
    Deadline(1).pass(&all.more.notified);
}

fn put(all: &Things, count: u32) {
    lock(&all.mutex);
    all.count.set(all.count.get() + count);
    all.mutex.release();
}

fn put_one(all: &Things) {
    put(all, 1);
    all.more.notify_one();
}

fn put_two(all: &Things) {
    put(all, 2);
    all.more.notify_all();
}

fn put_one_and_move(all: &Things) {
    lock(&all.mutex);
    all.count.set(all.count.get() + 1);
    all.more.notify_all_raw(&all.mutex);
    all.mutex.release();
}

fn put_two_and_move(all: &Things) {
    lock(&all.mutex);
    all.count.set(all.count.get() + 2);
    all.more.notify_all_raw(&all.mutex);
    all.mutex.release();
}

fn put_two_and_hand_over(all: &Things) {
    lock(&all.mutex);
    all.count.set(all.count.get() + 2);
    all.more.notify_all_raw(&all.mutex);
    all.mutex.release_fair();
}

fn nothing_left(all: &Things) {
    assert!(all.mutex.try_acquire());
    assert_eq!(all.count.get(), 0);
    assert_eq!(all.more.waiting.load(Ordering::Relaxed), 0);
}

fn any_left(all: &Things) {
    assert!(all.mutex.try_acquire());
}

#[test]
fn one_for_one() {
    check(None, new, &[take, put_one], nothing_left);
}

#[test]
fn two_for_two() {
    check(Some(2), new, &[take, take, put_two], nothing_left);
}

#[test]
fn each_notification_counts() {
    let put_both = |all: &Things| {
        put_one(all);
        put_one(all);
    };
    check(Some(2), new, &[take, take, put_both], nothing_left);
    check(Some(1), new, &[take, take, put_one, put_one], nothing_left);
}

#[test]
fn moved_to_the_mutex() {
    check(Some(4), new, &[take, put_one_and_move], nothing_left);
    check(Some(2), new, &[take, take, put_two_and_move], nothing_left);
    check(
        Some(2),
        new,
        &[take, take, put_two_and_hand_over],
        nothing_left,
    );
}

/// One comes just when the others are moved.
#[test]
fn moved_while_another_locks() {
    let other = |all: &Things| put(all, 0);
    check(
        Some(1),
        new,
        &[take, take, put_two_and_move, other],
        nothing_left,
    );
}

#[test]
fn one_gives_up() {
    check(
        Some(2),
        new,
        &[take_in_time, put_one, time_passes],
        any_left,
    );
    check(
        Some(2),
        new,
        &[take_in_time, put_one_and_move, time_passes],
        any_left,
    );
    check(
        Some(1),
        new,
        &[take_in_time, take, put_two_and_move, time_passes],
        any_left,
    );
}

#[test]
fn faults_are_found() {
    let faults = [Fault::LostWake, Fault::NoCompare];
    finds_each(&faults, new, &[take, put_one], nothing_left);
    assert!(finds(
        Fault::OneForAll,
        new,
        &[take, take, put_two],
        nothing_left
    ));
}
