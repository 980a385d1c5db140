// SPDX-License-Identifier: GPL-2.0
//! Extreme counts of waiters to wake.

use crate::harness::{PAGE, Waiter, fx, nr_waiters};
use crate::memory::{Region, memfd};
use rfutex::raw::uapi::RFUTEX_MASK_ANY;

trials![none, all, each_sign];

/// Zero wakes nobody, and is no other way to say all.
fn none() {
    let region = Region::private(PAGE);
    let word = region.word(0);
    let waiter = Waiter::start(word, 0);
    assert_eq!(fx().wake(word, 0, RFUTEX_MASK_ANY), Ok(0));
    assert_eq!(nr_waiters(word), 1);
    assert_eq!(fx().wake(word, 1, RFUTEX_MASK_ANY), Ok(1));
    waiter.woken();
}

/// More than there are, up to the most that fits: all.
fn all() {
    let region = Region::shared(memfd(PAGE), 0, PAGE);
    let word = region.word(0);
    for nr in [4, i32::MAX as u32, u32::MAX] {
        let waiters = [(); 3].map(|()| Waiter::start(word, 0));
        assert_eq!(fx().wake(word, nr, RFUTEX_MASK_ANY), Ok(3), "of {nr}");
        waiters.into_iter().for_each(Waiter::woken);
        assert_eq!(fx().wake(word, nr, RFUTEX_MASK_ANY), Ok(0));
    }
}

/// What would be negative in a signed number is a large count.
fn each_sign() {
    let region = Region::private(PAGE);
    let word = region.word(0).private();
    for nr in [1 << 31, (1 << 31) + 1, u32::MAX - 1] {
        let waiters = [Waiter::start(word, 0), Waiter::start(word, 0)];
        assert_eq!(fx().wake(word, nr, RFUTEX_MASK_ANY), Ok(2), "of {nr:#x}");
        waiters.into_iter().for_each(Waiter::woken);
    }
}
