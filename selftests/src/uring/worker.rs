// SPDX-License-Identifier: GPL-2.0
//! Requests that are issued by threads of the kernel.

use super::{Ring, addr_of, wait_on};
use crate::harness::{Mapping, PAGE, fx, nr_waiters, until, until_queued};
use io_uring::{IoUring, squeue};
use libc::EAGAIN;
use rfutex::raw::uapi::RFUTEX_WAIT;
use rfutex::raw::uapi::rfutex_wait;

trials![by_workers, by_a_kernel_thread];

/// The request is handed to io_uring's workers first.
fn by_workers() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let word = map.word(0);
    let wait = wait_on(word);
    let entry = ring
        .entry(RFUTEX_WAIT, addr_of(&wait), 1)
        .flags(squeue::Flags::ASYNC);
    ring.submit(&entry);
    until("it is queued", || {
        // Work that was added to this task runs when it enters the kernel.
        let _ = ring.ring.submit();
        nr_waiters(word) == 1
    });
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(ring.next(), (1, 0));
    let wrong = rfutex_wait { val: 1, ..wait };
    let entry = ring
        .entry(RFUTEX_WAIT, addr_of(&wrong), 2)
        .flags(squeue::Flags::ASYNC);
    ring.submit(&entry);
    assert_eq!(ring.next(), (2, -EAGAIN));
}

/// A thread of the kernel submits the requests.
fn by_a_kernel_thread() {
    let map = Mapping::shared(PAGE);
    let ring = IoUring::builder().setup_sqpoll(100).build(64);
    let mut ring = Ring::of(ring.expect("io_uring"));
    let word = map.word(0);
    let wait = wait_on(word);
    let entry = ring.entry(RFUTEX_WAIT, addr_of(&wait), 1);
    ring.submit(&entry);
    until_queued(word, 1);
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(ring.next(), (1, 0));
    let entry = ring.entry(RFUTEX_WAIT, addr_of(&wait), 2);
    ring.submit(&entry);
    until_queued(word, 1);
    drop(ring);
    until("it has left", || nr_waiters(word) == 0);
}
