// SPDX-License-Identifier: GPL-2.0
//! A wake that meets as many watches as there can be: how long it keeps others from the bucket,
//! beside futex(2) with as many waiters.
//!
//! These are requests of io_uring, because so many threads do not fit. What a wake does for one of
//! them under the lock is what it does for a thread: it takes it out of the queue, and marks it. But
//! instead of linking the task into a list, which comes with a reference on it, it adds the request
//! to the task work of the ring.
//!
//! Another thread, on the other processor, tries all the time to wait on a word of the same bucket
//! that has another value than it says. For this, it has to have the lock. The longest time that one
//! of its calls took is how long it was kept out.

use super::{add, counts, set};
use crate::harness::storm::again;
use crate::harness::{Mapping, PAGE, futex, fx, stay_on};
use io_uring::{IoUring, opcode};
use linux_raw_sys::general::{FUTEX2_PRIVATE, FUTEX2_SIZE_U32};
use nix::errno::Errno;
use rfutex::{Error, WakeEntry, Watches, Word};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

trials![lock_is_held_no_longer_than_by_futex, few_of_many];

/// How many waiters there are.
const NR: u32 = 65536;

/// How long a wake takes, and for how long others are kept out.
#[derive(Debug, Clone, Copy)]
struct Times {
    wake: Duration,
    kept_out: Duration,
}

impl Times {
    /// The shorter one of each.
    fn least(self, other: Self) -> Self {
        Self {
            wake: self.wake.min(other.wake),
            kept_out: self.kept_out.min(other.kept_out),
        }
    }

    /// Of `wake`, while another thread does `try_to_wait`.
    fn of(wake: impl FnOnce(), try_to_wait: impl Fn() + Send + 'static) -> Self {
        let (stop, longest) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let calls = Arc::new(AtomicU64::new(0));
        stay_on(0);
        let other = {
            let (longest, calls) = (Arc::clone(&longest), Arc::clone(&calls));
            let mut moved = false;
            again(&stop, move || {
                if !std::mem::replace(&mut moved, true) {
                    stay_on(1);
                }
                let begun = Instant::now();
                try_to_wait();
                longest.fetch_max(begun.elapsed().as_nanos() as u64, SeqCst);
                calls.fetch_add(1, SeqCst);
            })
        };
        let seen = calls.load(SeqCst);
        while calls.load(SeqCst) < seen + 100 {
            std::thread::yield_now();
        }
        longest.store(0, SeqCst);
        let begun = Instant::now();
        wake();
        let wake = begun.elapsed();
        let seen = calls.load(SeqCst);
        while calls.load(SeqCst) < seen + 2 {
            std::thread::yield_now();
        }
        stop.store(true, SeqCst);
        other.join();
        let kept_out = Duration::from_nanos(longest.load(SeqCst));
        Self { wake, kept_out }
    }
}

fn ours(map: &Mapping, set: &Watches) -> Times {
    let word: Word<'static> = map.word(0).private();
    for cookie in 0..NR {
        add(set, word, cookie.into());
    }
    let wake = || assert_eq!(fx().wake_all(word), Ok(NR));
    let times = Times::of(wake, move || {
        assert_eq!(fx().wait(word, 1), Err(Error::Again))
    });
    assert_eq!(counts(set).len(), NR as usize);
    times
}

fn theirs(map: &Mapping) -> Times {
    const BATCH: u32 = 4096;
    let addr = map.addr() + 64;
    let mut ring: IoUring = IoUring::builder()
        .setup_cqsize(NR)
        .build(BATCH)
        .expect("io_uring_setup");
    let flags = FUTEX2_SIZE_U32 | FUTEX2_PRIVATE;
    let word = ptr::with_exposed_provenance(addr as usize);
    let wait = opcode::FutexWait::new(word, 0, u64::from(u32::MAX), flags).build();
    for _ in 0..NR / BATCH {
        for _ in 0..BATCH {
            // SAFETY: The word is there until the ring is closed, and is only read.
            unsafe { ring.submission().push(&wait) }.expect("room in the ring");
        }
        assert_eq!(ring.submit().expect("io_uring_enter"), BATCH as usize);
    }
    let wake = || assert_eq!(futex::wake(addr, i32::MAX, true), Ok(NR));
    let times = Times::of(wake, move || {
        assert_eq!(futex::wait(addr, 1, true), Err(Errno::EAGAIN));
    });
    ring.submit().expect("io_uring_enter");
    let done = ring.completion().filter(|cqe| cqe.result() == 0).count();
    assert_eq!(done, NR as usize);
    times
}

/// What interrupts the machine makes times longer, and none shorter; so the shortest ones are
/// compared. In the kernel that checks everything, the two take the same, more or less; in one that
/// does not, a watch takes half as long as a request.
fn lock_is_held_no_longer_than_by_futex() {
    const ROUNDS: usize = 4;
    let map = Mapping::private(PAGE);
    let set = set();
    let (mut ours, mut theirs) = (ours(&map, &set), theirs(&map));
    for _ in 1..ROUNDS {
        if 2 * ours.kept_out <= 3 * theirs.kept_out {
            break;
        }
        ours = ours.least(self::ours(&map, &set));
        theirs = theirs.least(self::theirs(&map));
    }
    println!("{NR} watches: {ours:?}; futex(2) with {NR} requests: {theirs:?}");
    assert!(2 * ours.kept_out <= 3 * theirs.kept_out);
}

/// WAKEV looks at no more waiters than it wakes, as WAKE does, however many there are behind them.
fn few_of_many() {
    const CALLS: u32 = 100;
    // To close as many as there can be takes too long in the kernel that checks everything.
    const WATCHES: u32 = NR / 4;
    let map = Mapping::private(PAGE);
    let set = set();
    let word = map.word(0).private();
    for cookie in 0..WATCHES {
        add(&set, word, cookie.into());
    }
    let least = |wake: &dyn Fn()| {
        let round = || {
            let begun = Instant::now();
            (0..CALLS).for_each(|_| wake());
            begun.elapsed()
        };
        [(); 5].map(|()| round()).into_iter().min().expect("some")
    };
    let wake_each = |entries: [WakeEntry<'_>; 2], woken| {
        least(&|| assert_eq!(fx().wake_each(&entries, &mut [0; 2]), Ok(woken)))
    };
    let other = map.word(64).private();
    let elsewhere = wake_each([other, other].map(|word| WakeEntry::new(word, 1)), 0);
    let one = wake_each(
        [(word, 1), (word, 0)].map(|(word, nr)| WakeEntry::new(word, nr)),
        1,
    );
    let nobody = wake_each([word, word].map(|word| WakeEntry::new(word, 0)), 0);
    println!("{CALLS} calls with {WATCHES} waiters: elsewhere {elsewhere:?}, {one:?}, {nobody:?}");
    assert!(one < 4 * elsewhere && nobody < 4 * elsewhere);
}
