// SPDX-License-Identifier: GPL-2.0
//! Requests among the others that wait.

use super::Ring;
use crate::harness::{Mapping, PAGE, Waiter, fx, nr_waiters};
use libc::ECANCELED;
use rfutex::raw::uapi::RFUTEX_URING_CANCEL;

trials![in_turn, moved];

/// A request takes its turn among threads.
fn in_turn() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let word = map.word(0);
    ring.wait(word, 1);
    let thread = Waiter::start(word, 0);
    ring.wait(word, 2);
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(ring.next(), (1, 0));
    assert_eq!(fx().wake_one(word), Ok(1));
    thread.woken();
    assert_eq!(ring.done(), []);
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(ring.next(), (2, 0));
}

fn moved() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let [from, to] = [map.word(0), map.word(64)];
    ring.wait(from, 1);
    ring.wait(from, 2);
    assert_eq!(fx().requeue(from, to, 1, 1), Ok(2));
    assert_eq!(ring.next(), (1, 0));
    assert_eq!([nr_waiters(from), nr_waiters(to)], [0, 1]);
    assert_eq!(ring.call(RFUTEX_URING_CANCEL, 2), 1);
    assert_eq!(ring.next(), (2, -ECANCELED));
    assert_eq!(nr_waiters(to), 0);
}
