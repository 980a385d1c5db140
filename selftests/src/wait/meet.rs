// SPDX-License-Identifier: GPL-2.0
//! Who meets whom, and how many are woken.

use crate::harness::{Child, Mapping, PAGE, Task, Waiter, fx, nr_waiters, until_queued};
use rfutex::raw::uapi::RFUTEX_MASK_ANY;
use rfutex::{Clock, Deadline, Error, WaitOptions};
use std::sync::atomic::{AtomicU32, Ordering};

trials![
    mismatch,
    neighbours_are_not_compared,
    nr,
    wake_forms,
    nobody,
    not_remembered,
    masks,
    private_and_shared_never_meet,
    size_is_no_part_of_the_key,
    bytes_are_different_words,
    threads_and_processes,
    two_mappings_meet,
    private_is_per_process,
    value_does_not_matter_to_wake,
    all_opens_meet,
];

/// The value of a word, as large as it may be, and its every single bit
/// changed.
fn mismatch() {
    let map = Mapping::private(PAGE);
    for size in [1, 2, 4, 8] {
        for word in [map.sized_word(8, size), map.sized_word(8, size).private()] {
            let value: u64 = 0x8192_a3b4_c5d6_e7f8 & (u64::MAX >> (64 - 8 * size));
            map.write(8, &value.to_ne_bytes());
            let past = WaitOptions::default().deadline(Deadline {
                clock: Clock::Monotonic,
                ns: 0,
            });
            assert_eq!(fx().wait_with(word, value, past), Err(Error::TimedOut));
            for bit in 0..8 * size {
                assert_eq!(
                    fx().wait(word, value ^ 1 << bit),
                    Err(Error::Again),
                    "bit {bit}"
                );
            }
        }
    }
}

/// Where all bytes but the word's are others, it still is what it is.
fn neighbours_are_not_compared() {
    let map = Mapping::private(PAGE);
    let past = WaitOptions::default().deadline(Deadline {
        clock: Clock::Monotonic,
        ns: 0,
    });
    for size in [1_usize, 2, 4, 8] {
        for offset in (0..16).step_by(size).chain([PAGE - size]) {
            map.write(0, &[0xff; PAGE]);
            map.write(offset, &vec![0; size]);
            let word = map.sized_word(offset, size as u32);
            assert_eq!(fx().wait_with(word, 0, past), Err(Error::TimedOut));
            assert_eq!(fx().wait(word, 1), Err(Error::Again));
            map.write(0, &[0; PAGE]);
            map.write(offset, &vec![0xff; size]);
            assert_eq!(fx().wait(word, 0), Err(Error::Again));
        }
    }
}

fn nr() {
    let map = Mapping::private(PAGE);
    for word in [map.word(0), map.word(0).private()] {
        for (nr, woken) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (4, 4),
            (5, 4),
            (u32::MAX, 4),
            (1 << 31, 4),
        ] {
            let waiters: Vec<_> = (0..4).map(|_| Waiter::start(word, 0)).collect();
            assert_eq!(fx().wake(word, nr, RFUTEX_MASK_ANY), Ok(woken), "wake {nr}");
            assert_eq!(nr_waiters(word), 4 - woken);
            assert_eq!(fx().wake(word, u32::MAX, RFUTEX_MASK_ANY), Ok(4 - woken));
            assert_eq!(nr_waiters(word), 0);
            waiters.into_iter().for_each(Waiter::woken);
        }
    }
}

fn wake_forms() {
    let map = Mapping::shared(PAGE);
    for word in [map.word(0), map.word(0).private()] {
        let waiters: Vec<_> = (0..3)
            .map(|bit| Waiter::start_with(word, 0, WaitOptions::default().mask(1 << (bit * 30))))
            .collect();
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(nr_waiters(word), 2);
        assert_eq!(fx().wake_all(word), Ok(2));
        assert_eq!(fx().wake_one(word), Ok(0));
        waiters.into_iter().for_each(Waiter::woken);
    }
}

fn nobody() {
    let map = Mapping::shared(PAGE);
    for word in [map.word(0), map.word(0).private()] {
        assert_eq!(fx().wake_one(word), Ok(0));
        assert_eq!(fx().wake_all(word), Ok(0));
        assert_eq!(fx().wake(word, 1, RFUTEX_MASK_ANY), Ok(0));
        assert_eq!(nr_waiters(word), 0);
    }
}

fn not_remembered() {
    let map = Mapping::private(PAGE);
    let word = map.word(0);
    assert_eq!(fx().wake_all(word), Ok(0));
    // It would end at once, and this would fail.
    let waiter = Waiter::start(word, 0);
    assert_eq!(fx().wake_one(word), Ok(1));
    waiter.woken();
}

/// All 64 bits, each alone; as futex(2), a mask that does not meet passes
/// over waiters that came first.
fn masks() {
    let map = Mapping::private(PAGE);
    let word = map.word(0).private();
    let options = WaitOptions::default();
    for bit in [0, 1, 31, 32, 33, 62, 63] {
        let other = Waiter::start_with(word, 0, options.mask(!(1 << bit)));
        let this = Waiter::start_with(word, 0, options.mask(1 << bit));
        assert_eq!(fx().wake(word, u32::MAX, 1 << bit), Ok(1), "bit {bit}");
        this.woken();
        assert_eq!(fx().wake(word, u32::MAX, 1 << bit), Ok(0), "bit {bit}");
        assert_eq!(fx().wake(word, u32::MAX, !(1 << bit)), Ok(1), "bit {bit}");
        other.woken();
    }
    // Overlap, and nr counts only those that meet.
    let low = Waiter::start_with(word, 0, options.mask(0b0011));
    let middle = Waiter::start_with(word, 0, options.mask(0b0110));
    let high = Waiter::start_with(word, 0, options.mask(0b1100));
    assert_eq!(fx().wake(word, 1, 0b1000), Ok(1));
    high.woken();
    assert_eq!(fx().wake(word, 1, 0b0010), Ok(1));
    low.woken();
    assert_eq!(fx().wake(word, 5, 0b0010), Ok(1));
    middle.woken();
}

fn private_and_shared_never_meet() {
    for map in [Mapping::private(PAGE), Mapping::shared(PAGE)] {
        let word = map.word(0);
        let shared = Waiter::start(word, 0);
        assert_eq!(nr_waiters(word.private()), 0);
        assert_eq!(fx().wake_all(word.private()), Ok(0));
        assert_eq!(fx().wake(word.private(), 1, RFUTEX_MASK_ANY), Ok(0));
        let private = Waiter::start(word.private(), 0);
        assert_eq!(fx().wake_all(word), Ok(1));
        shared.woken();
        assert_eq!(fx().wake_all(word), Ok(0));
        assert_eq!(fx().wake_all(word.private()), Ok(1));
        private.woken();
    }
}

fn size_is_no_part_of_the_key() {
    for map in [Mapping::private(PAGE), Mapping::shared(PAGE)] {
        for private in [false, true] {
            for waits in [1, 2, 4, 8] {
                for wakes in [1, 2, 4, 8] {
                    let at = |size| {
                        let word = map.sized_word(16, size);
                        if private { word.private() } else { word }
                    };
                    let waiter = Waiter::start(at(waits), 0);
                    assert_eq!(nr_waiters(at(wakes)), 1);
                    assert_eq!(fx().wake(at(wakes), 1, RFUTEX_MASK_ANY), Ok(1));
                    waiter.woken();
                }
            }
        }
    }
}

/// Eight words in eight bytes: each is met alone.
fn bytes_are_different_words() {
    let map = Mapping::shared(PAGE);
    let words: Vec<_> = (0..8).map(|at| map.sized_word(at, 1)).collect();
    let waiters: Vec<_> = words.iter().map(|word| Waiter::start(*word, 0)).collect();
    for (word, waiter) in words.into_iter().zip(waiters) {
        assert_eq!(nr_waiters(word), 1);
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    }
}

/// Waits of this process and of a child, woken from the other.
fn threads_and_processes() {
    let map = Mapping::shared(PAGE);
    let child = Child::run(|| {
        assert_eq!(fx().wait(map.word(0), 0), Ok(()));
        until_queued(map.word(64), 2);
        assert_eq!(fx().wake(map.word(64), 2, RFUTEX_MASK_ANY), Ok(2));
    });
    until_queued(map.word(0), 1);
    let ours = Waiter::start(map.word(0), 0);
    assert_eq!(fx().wake(map.word(0), 5, RFUTEX_MASK_ANY), Ok(2));
    ours.woken();
    let tasks = [0; 2].map(|_| {
        let word = map.word(64);
        Task::spawn(move || fx().wait(word, 0))
    });
    for task in tasks {
        assert_eq!(task.join(), Ok(()));
    }
    child.join();
}

/// One page at two addresses, of one process.
fn two_mappings_meet() {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(PAGE as u64).expect("a page");
    let [one, two] = [0; 2].map(|_| Mapping::shared_file(&file, PAGE));
    let waiter = Waiter::start(one.word(8), 0);
    assert_eq!(fx().wake_all(two.word(12)), Ok(0));
    assert_eq!(fx().wake_all(two.word(8).private()), Ok(0));
    assert_eq!(fx().wake_all(two.word(8)), Ok(1));
    waiter.woken();
}

/// The same address in a child is another word, for private words on any
/// memory and for shared ones on private memory.
fn private_is_per_process() {
    let (shared, private) = (Mapping::shared(PAGE), Mapping::private(PAGE));
    let words = [
        shared.word(0).private(),
        private.word(0).private(),
        private.word(0),
    ];
    for word in words {
        let waiter = Waiter::start(word, 0);
        let child = Child::run(|| {
            assert_eq!(nr_waiters(word), 0);
            assert_eq!(fx().wake_all(word), Ok(0));
        });
        child.join();
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    }
}

fn value_does_not_matter_to_wake() {
    let map = Mapping::shared(PAGE);
    let waiter = Waiter::start(map.word(0), 0);
    map.atomic::<AtomicU32>(0).store(1, Ordering::SeqCst);
    assert_eq!(fx().wait(map.word(0), 0), Err(Error::Again));
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    waiter.woken();
}

fn all_opens_meet() {
    let map = Mapping::shared(PAGE);
    let other = rfutex::Rfutex::open().expect("a second open");
    let waiter = Waiter::start(map.word(0), 0);
    assert_eq!(other.key_info(map.word(0)).expect("key").nr_waiters, 1);
    assert_eq!(other.wake_one(map.word(0)), Ok(1));
    waiter.woken();
}
