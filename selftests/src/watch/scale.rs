// SPDX-License-Identifier: GPL-2.0
//! A wake that meets many watches: how long it keeps others from the bucket, beside futex(2) with as
//! many waiters.
//!
//! These are requests of io_uring, because so many threads do not fit. What a wake does for one of
//! them under the lock is what it does for a thread: it takes it out of the queue, and marks it. But
//! instead of linking the task into a list, which comes with a reference on it, it adds the request
//! to the task work of the ring.
//!
//! A wake holds the lock for nearly all the time that it takes, so this time is compared. The thread
//! that wakes is the most urgent one of its processor, so that the one to which the requests belong
//! does not run meanwhile.

use super::{add, counts, set};
use crate::harness::{Feature, Mapping, PAGE, Task, futex, fx, set_priority, stay_on};
use io_uring::{IoUring, opcode};
use linux_raw_sys::general::{FUTEX2_PRIVATE, FUTEX2_SIZE_U32};
use rfutex::{WakeEntry, Watches, Word};
use std::ptr;
use std::time::{Duration, Instant};

trials![lock_is_held_no_longer_than_by_futex, everybody, few_of_many];

/// How many watches a user can have.
const MOST: u32 = 65536;

/// How long `wake` takes.
fn time_of(wake: impl FnOnce() + Send + 'static) -> Duration {
    let waker = Task::spawn(|| {
        stay_on(0);
        set_priority(1);
        let begun = Instant::now();
        wake();
        begun.elapsed()
    });
    waker.join()
}

/// Arms `nr` watches of `set`, wakes them all, and reads their events.
fn ours(map: &Mapping, set: &Watches, nr: u32) -> Duration {
    let word: Word<'static> = map.word(0).private();
    for cookie in 0..nr {
        add(set, word, cookie.into());
    }
    let time = time_of(move || assert_eq!(fx().wake_all(word), Ok(nr)));
    assert!(
        counts(set)
            .into_iter()
            .eq((0..nr).map(|cookie| (cookie.into(), 1)))
    );
    time
}

/// Has `nr` requests wait for futex(2), and wakes them all.
fn theirs(map: &Mapping, nr: u32) -> Duration {
    let addr = map.addr() + 64;
    let mut ring = IoUring::new(nr).expect("io_uring_setup");
    let flags = FUTEX2_SIZE_U32 | FUTEX2_PRIVATE;
    let word = ptr::with_exposed_provenance(addr as usize);
    let wait = opcode::FutexWait::new(word, 0, u64::from(u32::MAX), flags).build();
    for _ in 0..nr {
        // SAFETY: The word is there until the ring is closed, and is only read.
        unsafe { ring.submission().push(&wait) }.expect("room in the ring");
    }
    assert_eq!(ring.submit().expect("io_uring_enter"), nr as usize);
    let time = time_of(move || assert_eq!(futex::wake(addr, i32::MAX, true), Ok(nr)));
    ring.submit().expect("io_uring_enter");
    let done = ring.completion().filter(|cqe| cqe.result() == 0).count();
    assert_eq!(done, nr as usize);
    time
}

/// What interrupts the machine makes times longer, and none shorter; so the shortest ones are
/// compared, and a wake is short enough to be done without an interruption now and then. In the
/// kernel that checks everything, the two take the same, more or less, and Rust's own checks are
/// beside them; in one that does not, a watch takes half as long as a request. A watch has a lock
/// where a request has an atomic operation: where that takes the slow path of a mutex each time, the
/// two cannot be compared.
fn lock_is_held_no_longer_than_by_futex() {
    Feature::FastLocks.need();
    const NR: u32 = 1024;
    const ROUNDS: usize = 16;
    stay_on(0);
    let map = Mapping::private(PAGE);
    let set = set();
    let (mut least, mut least_of_theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        least = least.min(ours(&map, &set, NR));
        least_of_theirs = least_of_theirs.min(theirs(&map, NR));
    }
    println!("{NR} watches: {least:?}; futex(2) with {NR} requests: {least_of_theirs:?}");
    assert!(2 * least <= 3 * least_of_theirs);
}

/// As many as there can be are woken by one call. `watch::limits::linear` has what it may take.
fn everybody() {
    let time = ours(&Mapping::private(PAGE), &set(), MOST);
    println!("{MOST} watches: {time:?}");
}

/// WAKEV looks at no more waiters than it wakes, as WAKE does, however many there are behind them:
/// it takes no longer where there are many than where there are few.
fn few_of_many() {
    const CALLS: u32 = 100;
    const ROUNDS: u32 = 5;
    const FEW: u32 = 2 * CALLS * ROUNDS;
    // To close as many as there can be takes too long in the kernel that checks everything.
    const MANY: u32 = MOST / 4;
    let map = Mapping::private(PAGE);
    let set = set();
    let words = [(0, FEW), (64, MANY)].map(|(at, nr)| {
        let word = map.word(at).private();
        for cookie in 0..nr {
            add(&set, word, cookie.into());
        }
        word
    });
    let least = |wake: &dyn Fn()| {
        let round = || {
            let begun = Instant::now();
            (0..CALLS).for_each(|_| wake());
            begun.elapsed()
        };
        (0..ROUNDS).map(|_| round()).min().expect("some")
    };
    let wake_each = |word, numbers: [u32; 2], woken| {
        let entries = numbers.map(|nr| WakeEntry::new(word, nr));
        least(&|| assert_eq!(fx().wake_each(&entries, &mut [0; 2]), Ok(woken)))
    };
    let one = words.map(|word| wake_each(word, [1, 0], 1));
    let nobody = words.map(|word| wake_each(word, [0, 0], 0));
    println!("{CALLS} calls with {FEW} waiters and with {MANY}: {one:?}, {nobody:?}");
    for [few, many] in [one, nobody] {
        assert!(many < 3 * few);
    }
}
