// SPDX-License-Identifier: GPL-2.0
//! How long it takes from a wake until the most urgent thread of the machine runs that waited,
//! while thousands of waiters come and go on other words. It is compared with futex(2), which has as
//! many at the same time: both are measured in turns, beside the same crowd, so that whatever else
//! the machine does hits both.
//!
//! A thread can wait on many words at once. So a few threads make as many waiters, all of which
//! queue and leave again within a millisecond.

use crate::harness::{
    BOTH, Mapping, PAGE, Service, Task, futex, fx, set_priority, stay_on, until, until_at_once,
};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, clock_gettime};
use rfutex::{Clock, Deadline, WaitEntry, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

trials![beside_thousands];

/// How many threads wait on how many words each.
const CROWD: (usize, usize) = (40, 125);

/// How often it is measured, on each of the two.
const ROUNDS: usize = 150;

/// How long a wait of the crowd lasts.
const STAY: Duration = Duration::from_millis(1);

/// The priorities of who waits, and of who wakes.
const URGENT: [i32; 2] = [80, 70];

fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .expect("clock_gettime")
        .into()
}

/// Threads that wait on words of their own, here and there in turn, until `stop`. Each counts
/// itself in `there` when it has waited on both.
fn crowd(map: &'static Mapping, stop: &Arc<AtomicBool>, there: &Arc<AtomicUsize>) -> Vec<Task<()>> {
    let (threads, words) = CROWD;
    let one = |thread: usize| {
        let (stop, there) = (stop.clone(), there.clone());
        Task::spawn(move || {
            let words: Vec<_> = (0..words)
                .map(|at| map.word((1 + thread) * PAGE + 16 * at).private())
                .collect();
            for service in BOTH {
                wait_on_all(service, &words);
            }
            there.fetch_add(1, SeqCst);
            while !stop.load(SeqCst) {
                for service in BOTH {
                    wait_on_all(service, &words);
                }
            }
        })
    };
    (0..threads).map(one).collect()
}

/// Waits on all of the words at once, which nobody wakes, for [`STAY`].
fn wait_on_all(service: Service, words: &[Word<'static>]) {
    let deadline = Deadline::after(Clock::Monotonic, STAY);
    match service {
        Service::Ours => {
            let entries: Vec<_> = words.iter().map(|&word| WaitEntry::new(word, 0)).collect();
            let ended = fx().wait_any(&entries, Some(deadline));
            assert_eq!(ended, Err(rfutex::Error::TimedOut));
        }
        Service::Theirs => {
            let entries: Vec<_> = words
                .iter()
                .map(|word| futex::waitv_entry(word.addr(), 0, true))
                .collect();
            let time = TimeSpec::nanoseconds(deadline.ns);
            let ended = futex::waitv(&entries, Some((*time.as_ref(), libc::CLOCK_MONOTONIC)));
            assert_eq!(ended, Err(nix::Error::ETIMEDOUT));
        }
    }
}

/// How long it takes from a wake by an urgent thread until the waiter is back, in turns on each of
/// the two.
fn latencies(word: Word<'static>) -> [Vec<Duration>; 2] {
    // When each wake was made that woke: the next one may come before the waiter has looked.
    let wakes: Arc<Vec<AtomicU64>> = Arc::new((0..2 * ROUNDS).map(|_| 0.into()).collect());
    let known = wakes.clone();
    let waiter = Task::spawn(move || {
        stay_on(1);
        set_priority(URGENT[0]);
        let mut times = [(); 2].map(|()| Vec::with_capacity(ROUNDS));
        for (turn, woken) in known.iter().enumerate() {
            assert_eq!(BOTH[turn % 2].wait(word, 0), 0);
            times[turn % 2].push(now() - Duration::from_nanos(woken.load(SeqCst)));
        }
        times
    });
    let waker = Task::spawn(move || {
        stay_on(0);
        set_priority(URGENT[1]);
        for (turn, woken) in wakes.iter().enumerate() {
            // It is a moment until the waiter sleeps, and until then nobody is woken.
            until_at_once("the waiter is woken", || {
                woken.store(now().as_nanos() as u64, SeqCst);
                BOTH[turn % 2].wake(word, 1) == Ok(1)
            });
        }
    });
    waker.join();
    waiter.join()
}

/// The bound is twice the time of futex(2), for the median and for three of four. The slowest are
/// not compared: on a busy host, an emulated processor may stand still for a while.
fn beside_thousands() {
    let (threads, words) = CROWD;
    assert!(words * 16 <= PAGE);
    let map: &'static Mapping = Box::leak(Box::new(Mapping::private((1 + threads) * PAGE)));
    let (stop, there) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let crowd = crowd(map, &stop, &there);
    until("all of them have waited", || there.load(SeqCst) == threads);
    let times = latencies(map.word(0).private());
    stop.store(true, SeqCst);
    crowd.into_iter().for_each(Task::join);
    let [ours, theirs] = times.map(|mut times| {
        times.sort();
        [times[times.len() / 2], times[times.len() * 3 / 4]]
    });
    println!("median, three of four: rfutex {ours:?}, futex(2) {theirs:?}");
    for (ours, theirs) in ours.into_iter().zip(theirs) {
        assert!(ours <= 2 * theirs, "{ours:?} against {theirs:?}");
    }
}
