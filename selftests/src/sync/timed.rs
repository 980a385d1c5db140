// SPDX-License-Identifier: GPL-2.0
//! Waits that end before they have what they waited for, and those that do not: signals.

use super::word_of;
use crate::harness::{Handler, Task, nr_waiters, signal_thread, until, until_queued};
use nix::sys::signal::{SaFlags, Signal};
use rfutex::sync::{Condvar, Latch, Mutex, RwLock, Semaphore, Shared};
use std::sync::Arc;
use std::time::{Duration, Instant};

trials![
    mutex_is_taken,
    rwlock_is_taken,
    the_rest,
    condition_does_not_come_true,
    writer_that_gives_up_lets_readers_in,
    signal_does_not_end_a_wait,
];

const A_WHILE: Duration = Duration::from_millis(20);

/// `wait` ends in vain, but not before its time.
#[track_caller]
fn in_vain(wait: impl FnOnce(Duration) -> bool) {
    let start = Instant::now();
    assert!(!wait(A_WHILE), "it did not time out");
    assert!(start.elapsed() >= A_WHILE, "too soon");
}

fn mutex_is_taken() {
    let mutex = Mutex::new(());
    let guard = mutex.lock();
    in_vain(|timeout| mutex.try_lock_for(timeout).is_some());
    in_vain(|timeout| mutex.try_lock_until(Instant::now() + timeout).is_some());
    assert!(mutex.try_lock_until(Instant::now()).is_none());
    drop(guard);
    assert!(mutex.try_lock_for(A_WHILE).is_some());
}

fn rwlock_is_taken() {
    let lock = RwLock::new(());
    let guard = lock.write();
    in_vain(|timeout| lock.try_read_for(timeout).is_some());
    in_vain(|timeout| lock.try_write_until(Instant::now() + timeout).is_some());
    in_vain(|timeout| lock.try_upgradable_read_for(timeout).is_some());
    drop(guard);
    let guard = lock.read();
    in_vain(|timeout| lock.try_write_for(timeout).is_some());
    assert!(lock.try_read().is_some(), "no writer waits any more");
    let mut upgradable = lock.upgradable_read();
    in_vain(|timeout| {
        let deadline = Instant::now() + timeout;
        upgradable
            .try_with_upgraded_until(deadline, |()| {})
            .is_some()
    });
    assert!(lock.try_read().is_some(), "nobody wants to write any more");
    drop((upgradable, guard));
    assert!(lock.try_write_for(A_WHILE).is_some());
}

fn the_rest() {
    let semaphore = Semaphore::<Shared>::new(0);
    in_vain(|timeout| semaphore.acquire_timeout(timeout));
    semaphore.release(1);
    assert!(semaphore.acquire_timeout(A_WHILE));
    let latch = Latch::<Shared>::new(1);
    in_vain(|timeout| latch.wait_timeout(timeout));
    latch.count_down(1);
    assert!(latch.wait_timeout(A_WHILE));
}

/// The mutex is locked again afterwards.
fn condition_does_not_come_true() {
    let (mutex, condvar) = (Mutex::new(0), Condvar::<Shared>::new());
    let mut guard = mutex.lock();
    in_vain(|timeout| !condvar.wait_timeout(&mut guard, timeout).timed_out());
    in_vain(|timeout| {
        let deadline = Instant::now() + timeout;
        !condvar.wait_until(&mut guard, deadline).timed_out()
    });
    in_vain(|timeout| {
        let zero = |number: &mut i32| *number == 0;
        !condvar
            .wait_timeout_while(&mut guard, timeout, zero)
            .timed_out()
    });
    assert!(mutex.is_locked());
}

/// A reader has the lock, a writer waits for it, and another reader waits behind that.
fn writer_that_gives_up_lets_readers_in() {
    let lock = Arc::new(RwLock::new(()));
    // SAFETY: Only its address is used.
    let word = word_of(unsafe { lock.raw() }, 8);
    let _guard = lock.read();
    // Long enough for the reader to come before the writer gives up.
    let mut timeout = A_WHILE;
    loop {
        let theirs = lock.clone();
        let writer = Task::spawn(move || theirs.try_write_for(timeout).is_some());
        until("the writer waits, or has given up", || {
            nr_waiters(word) == 1 || writer.is_finished()
        });
        let theirs = lock.clone();
        let reader = Task::spawn(move || drop(theirs.read()));
        let mut both = false;
        until("both wait, or the writer has given up", || {
            both = nr_waiters(word) == 2;
            both || writer.is_finished()
        });
        assert!(!writer.join(), "a writer beside a reader");
        reader.join();
        if both {
            break;
        }
        timeout *= 2;
    }
}

/// Not even that of a handler without `SA_RESTART`.
fn signal_does_not_end_a_wait() {
    let mutex = Arc::new(Mutex::new(()));
    // SAFETY: Only its address is used.
    let word = word_of(unsafe { mutex.raw() }, 1);
    let handler = Handler::counting(Signal::SIGUSR1, SaFlags::empty());
    let guard = mutex.lock();
    let theirs = mutex.clone();
    let task = Task::spawn(move || drop(theirs.lock()));
    until_queued(word, 1);
    signal_thread(task.tid(), handler.signal());
    until("the signal is handled", || handler.count() == 1);
    until_queued(word, 1);
    assert!(!task.is_finished());
    drop(guard);
    task.join();
}
