// SPDX-License-Identifier: GPL-2.0
//! How it ends without a wake: nobody is left in any queue.

use super::{FEW, MAX, NUMBERS, Waiter, assert_nobody, words, zeros};
use crate::harness::{
    Child, Fault, Handler, Mapping, NO_MEMORY, PAGE, errno, futex, fx, nr_waiters, signal_thread,
    until, until_queued,
};
use nix::sys::signal::{SaFlags, Signal};
use rfutex::{Clock, Deadline, Error, WaitEntry, Word};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

trials![
    mismatch,
    mismatch_of_every_size,
    deadlines,
    deadlines_as_futex,
    value_before_deadline,
    word_not_there_yet,
    signalled,
    restarted,
    killed,
    exits;
    lab: no_memory, faults,
];

/// In the middle, and at either end.
fn mismatch() {
    let map = Mapping::shared(PAGE);
    for nr in NUMBERS {
        let words = words(map.addr(), nr);
        for other in [0, nr / 2, nr - 1] {
            let atomic = map.atomic::<AtomicU32>(other * 8);
            atomic.store(1, Ordering::SeqCst);
            let result = fx().wait_any(&zeros(&words), None);
            assert_eq!(result, Err(Error::Again), "word {other} of {nr}");
            assert_nobody(&words);
            let theirs: Vec<_> = words
                .iter()
                .map(|word| futex::waitv_entry(word.addr(), 0, word.is_private()))
                .collect();
            assert_eq!(futex::waitv(&theirs, None), Err(nix::Error::EAGAIN));
            atomic.store(0, Ordering::SeqCst);
        }
    }
}

fn mismatch_of_every_size() {
    let map = Mapping::private(PAGE);
    let first = WaitEntry::new(map.word(64), 0);
    for size in [1, 2, 4, 8] {
        let value: u64 = 0x8192_a3b4_c5d6_e7f8 & (u64::MAX >> (64 - 8 * size));
        map.write(8, &value.to_ne_bytes());
        let word = map.sized_word(8, size);
        let past = Deadline {
            clock: Clock::Monotonic,
            ns: 0,
        };
        let result = fx().wait_any(&[first, WaitEntry::new(word, value)], Some(past));
        assert_eq!(result, Err(Error::TimedOut));
        for bit in 0..8 * size {
            let result = fx().wait_any(&[first, WaitEntry::new(word, value ^ 1 << bit)], None);
            assert_eq!(result, Err(Error::Again), "bit {bit} of {size} bytes");
        }
    }
}

fn deadlines() {
    let map = Mapping::shared(PAGE);
    for nr in NUMBERS {
        let words = words(map.addr(), nr);
        for clock in Clock::ALL {
            for after in [0, 1, 1_000_000] {
                let deadline = Deadline::after(clock, Duration::from_nanos(after));
                let result = fx().wait_any(&zeros(&words), Some(deadline));
                let now = clock.now();
                assert_eq!(result, Err(Error::TimedOut), "{nr} words on {clock:?}");
                assert!(now >= deadline.ns, "{} ns too early", deadline.ns - now);
                assert_nobody(&words);
            }
            // One that is far is none.
            let far = Deadline::after(clock, Duration::from_secs(86400));
            let waiter = Waiter::start_with(&words, zeros(&words), Some(far));
            assert_eq!(fx().wake_one(words[0]), Ok(1));
            assert_eq!(waiter.join(), Ok(0));
        }
    }
}

fn deadlines_as_futex() {
    let map = Mapping::shared(PAGE);
    let words = words(map.addr(), 3);
    for (tv_sec, tv_nsec) in [(0, 0), (-1, 0), (0, -1), (0, 1_000_000_000)] {
        for clock in [Clock::Monotonic, Clock::Realtime] {
            let deadline = Deadline {
                clock,
                ns: tv_sec * 1_000_000_000 + tv_nsec,
            };
            let ours = errno(fx().wait_any(&zeros(&words), Some(deadline)));
            let entries: Vec<_> = words
                .iter()
                .map(|word| futex::waitv_entry(word.addr(), 0, word.is_private()))
                .collect();
            let time = libc::timespec { tv_sec, tv_nsec };
            let theirs = futex::waitv(&entries, Some((time, clock.id())));
            // What is no time for them is one second for us.
            if tv_nsec != 1_000_000_000 {
                assert_eq!(
                    theirs.map_err(|error| error as i32),
                    Err(ours),
                    "{deadline:?}"
                );
            }
            let expected = if deadline.ns < 0 {
                libc::EINVAL
            } else {
                libc::ETIMEDOUT
            };
            assert_eq!(ours, expected, "{deadline:?}");
        }
    }
}

fn value_before_deadline() {
    let map = Mapping::shared(PAGE);
    let words = words(map.addr(), FEW + 1);
    map.atomic::<AtomicU32>(FEW * 8).store(1, Ordering::SeqCst);
    let past = Deadline {
        clock: Clock::Realtime,
        ns: 1,
    };
    assert_eq!(fx().wait_any(&zeros(&words), Some(past)), Err(Error::Again));
}

/// Private words come in when they are read, which is not before all have their keys; each one that
/// is missing makes the others wait in vain.
fn word_not_there_yet() {
    for nr in [FEW, FEW + 1, 20] {
        let map = Mapping::private(nr * PAGE);
        let words: Vec<Word<'static>> = (0..nr).map(|at| map.word(at * PAGE).private()).collect();
        let waiter = Waiter::start(&words);
        assert!(words.iter().all(|word| nr_waiters(*word) == 1));
        assert_eq!(fx().wake_one(words[nr / 2]), Ok(1));
        assert_eq!(waiter.join(), Ok(nr / 2));
        let again = Mapping::private(nr * PAGE);
        let entries: Vec<_> = (0..nr)
            .map(|at| WaitEntry::new(again.word(at * PAGE).private(), u64::from(at == nr - 1)))
            .collect();
        assert_eq!(fx().wait_any(&entries, None), Err(Error::Again));
        assert_nobody(&words);
    }
}

const SIGNAL: Signal = Signal::SIGUSR1;

fn signalled() {
    let map = Mapping::shared(PAGE);
    let _handler = Handler::counting(SIGNAL, SaFlags::empty());
    for nr in NUMBERS {
        let words = words(map.addr(), nr);
        let waiter = Waiter::start(&words);
        signal_thread(waiter.tid(), SIGNAL);
        assert_eq!(waiter.join(), Err(Error::Interrupted));
        assert_nobody(&words);
    }
}

/// The entries are looked at again, and the values compared again.
fn restarted() {
    let map = Mapping::shared(PAGE);
    let words = words(map.addr(), FEW + 1);
    let handler = Handler::counting(SIGNAL, SaFlags::SA_RESTART);
    let far = Some(Deadline::after(Clock::Boottime, Duration::from_secs(3600)));
    for deadline in [None, far] {
        let waiter = Waiter::start_with(&words, zeros(&words), deadline);
        let before = handler.count();
        signal_thread(waiter.tid(), SIGNAL);
        until("the handler runs", || handler.count() == before + 1);
        until_queued(words[FEW], 1);
        assert_eq!(fx().wake_one(words[3]), Ok(1));
        assert_eq!(waiter.join(), Ok(3));

        let waiter = Waiter::start_with(&words, zeros(&words), deadline);
        map.atomic::<AtomicU32>(8).store(1, Ordering::SeqCst);
        signal_thread(waiter.tid(), SIGNAL);
        assert_eq!(waiter.join(), Err(Error::Again));
        map.atomic::<AtomicU32>(8).store(0, Ordering::SeqCst);
        assert_nobody(&words);
    }
}

fn killed() {
    let map = Mapping::shared(PAGE);
    for nr in [FEW, MAX] {
        let words: Vec<_> = (0..nr).map(|at| map.word(at * 8)).collect();
        let child = Child::run(|| panic!("{:?}", fx().wait_any(&zeros(&words), None)));
        until_queued(words[nr - 1], 1);
        // In front of it and behind it.
        let other = Waiter::start(&words);
        child.kill(Signal::SIGKILL);
        child.status();
        assert!(words.iter().all(|word| nr_waiters(*word) == 1));
        assert_eq!(fx().wake_one(words[1]), Ok(1));
        assert_eq!(other.join(), Ok(1));
    }
}

fn exits() {
    let map = Mapping::shared(PAGE);
    let words: Vec<_> = (0..MAX).map(|at| map.word(at * 8)).collect();
    Child::run(|| {
        std::mem::forget([(); 3].map(|()| Waiter::start(&words)));
    })
    .join();
    assert_nobody(&words);
}

/// Few words need no memory; for many the call fails, and leaves nothing.
fn no_memory() {
    let map = Mapping::shared(PAGE);
    // To open the device takes memory, too.
    fx();
    for nr in NUMBERS {
        let words = words(map.addr(), nr);
        let fault = Fault::arm("allocate", 1);
        if nr > FEW {
            let result = fx().wait_any(&zeros(&words), None);
            assert_eq!(result, Err(NO_MEMORY), "{nr} words");
            assert_eq!(fault.left(), 0);
            assert_nobody(&words);
        }
        let waiter = Waiter::start(&words);
        assert_eq!(fault.left(), u32::from(nr <= FEW));
        assert_eq!(fx().wake_one(words[nr - 1]), Ok(1));
        assert_eq!(waiter.join(), Ok(nr - 1));
    }
}

/// Each attempt that has to be made again is, whole; and what fails leaves nothing.
fn faults() {
    let map = Mapping::shared(PAGE);
    for nr in [FEW, FEW + 1] {
        let words: Vec<_> = (0..nr).map(|at| map.word(at * 8)).collect();
        for point in Fault::retries_of_a_wait() {
            let fault = Fault::arm(point, 5);
            let entries = zeros(&words);
            let waiter = crate::harness::Task::spawn(move || fx().wait_any(&entries, None));
            until("it came through", || fault.left() == 0);
            until_queued(words[nr - 1], 1);
            assert!(words.iter().all(|word| nr_waiters(*word) == 1), "{point}");
            assert_eq!(fx().wake_one(words[2]), Ok(1));
            assert_eq!(waiter.join(), Ok(2), "{point}");
            assert_nobody(&words);
        }
        let _fault = Fault::arm("copy-in", 1);
        assert_eq!(fx().wait_any(&zeros(&words), None), Err(Error::Fault));
    }
}
