// SPDX-License-Identifier: GPL-2.0
//! Requests that their ring cancels.

use super::Ring;
use crate::harness::{Mapping, PAGE, fx, nr_waiters};
use libc::ECANCELED;
use rfutex::raw::uapi::*;
use std::os::fd::AsFd;

trials![cancelled, other_ring_is_left_alone];

fn cancelled() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let word = map.word(0);
    for user_data in [1, 2, 1] {
        ring.wait(word, user_data);
    }
    assert_eq!(ring.call(RFUTEX_URING_CANCEL, 3), 0);
    assert_eq!(nr_waiters(word), 3);
    let entry = ring.entry(RFUTEX_URING_CANCEL, 1, 9);
    ring.submit(&entry);
    let mut done = [ring.next(), ring.next(), ring.next()];
    done.sort_unstable();
    assert_eq!(done, [(1, -ECANCELED), (1, -ECANCELED), (9, 2)]);
    assert_eq!(nr_waiters(word), 1);
    assert_eq!(fx().wake_all(word), Ok(1));
    assert_eq!(ring.next(), (2, 0));
    assert_eq!(ring.call(RFUTEX_URING_CANCEL, 2), 0);
}

/// Rings know only their own requests, even on one open file.
fn other_ring_is_left_alone() {
    let map = Mapping::shared(PAGE);
    let mut one = Ring::new();
    let mut other = Ring::new();
    other.device = one
        .device
        .as_fd()
        .try_clone_to_owned()
        .expect("a descriptor")
        .try_into()
        .expect("the device");
    one.wait(map.word(0), 1);
    assert_eq!(other.call(RFUTEX_URING_CANCEL, 1), 0);
    assert_eq!(nr_waiters(map.word(0)), 1);
    assert_eq!(other.call(RFUTEX_WAKE_ALL, map.word(0).addr()), 1);
    assert_eq!(one.next(), (1, 0));
}
