// SPDX-License-Identifier: GPL-2.0
//! Processes that are killed: while they sleep, which harms nobody, and while they have a lock,
//! which nobody hears of.

use super::{Common, word_of};
use crate::harness::{Child, fx, nr_waiters, until_queued};
use nix::sys::signal::Signal;
use rfutex::sync::{Condvar, Latch, Mutex, RwLock};
use rfutex::{Rfutex, Word};
use std::path::Path;
use std::time::Duration;

trials![
    sleeper_of_a_mutex,
    sleeping_writer,
    sleeping_reader,
    sleeper_of_a_condvar,
    owner_of_a_mutex,
    child_uses_the_handle,
];

/// Kills a child that sleeps on `word`, alone.
#[track_caller]
fn kill_sleeper(child: Child, word: Word<'static>, others: u32) {
    until_queued(word, others + 1);
    child.kill(Signal::SIGKILL);
    child.status();
    assert_eq!(nr_waiters(word), others);
}

fn sleeper_of_a_mutex() {
    let mutex = Common::<Mutex<u64>>::zeroed();
    // SAFETY: Only its address is used.
    let word = word_of(unsafe { mutex.raw() }, 1);
    let guard = mutex.lock();
    let dies = Child::run(|| *mutex.again().lock() += 100);
    until_queued(word, 1);
    let lives = Child::run(|| *mutex.again().lock() += 1);
    until_queued(word, 2);
    kill_sleeper(dies, word, 1);
    drop(guard);
    lives.join();
    assert_eq!(*mutex.lock(), 1);
}

/// It has kept readers out, and does so until the lock is free once.
fn sleeping_writer() {
    let lock = Common::<RwLock<u64>>::zeroed();
    // SAFETY: Only its address is used.
    let word = word_of(unsafe { lock.raw() }, 8);
    let guard = lock.read();
    let dies = Child::run(|| *lock.again().write() += 100);
    until_queued(word, 1);
    let reader = Child::run(|| assert_eq!(*lock.again().read(), 0));
    until_queued(word, 2);
    kill_sleeper(dies, word, 1);
    drop(guard);
    reader.join();
    *lock.write() += 1;
}

fn sleeping_reader() {
    let lock = Common::<RwLock<u64>>::zeroed();
    // SAFETY: Only its address is used.
    let word = word_of(unsafe { lock.raw() }, 8);
    let guard = lock.write();
    let dies = Child::run(|| drop(lock.again().read()));
    until_queued(word, 1);
    let writer = Child::run(|| *lock.again().write() += 1);
    until_queued(word, 2);
    kill_sleeper(dies, word, 1);
    drop(guard);
    writer.join();
    assert_eq!(*lock.read(), 1);
}

fn sleeper_of_a_condvar() {
    type Pair = (Mutex<u64>, Condvar);
    let pair = Common::<Pair>::zeroed();
    let word = word_of(&pair.1, 4);
    let wait = |(number, changed): &Pair| {
        let mut number = number.lock();
        changed.wait_while(&mut number, |number| *number == 0);
        *number -= 1;
    };
    let dies = Child::run(|| wait(&pair.again()));
    until_queued(word, 1);
    let lives = Child::run(|| wait(&pair.again()));
    until_queued(word, 2);
    kill_sleeper(dies, word, 1);
    *pair.0.lock() += 1;
    pair.1.notify_one();
    lives.join();
    assert_eq!(*pair.0.lock(), 0);
}

fn owner_of_a_mutex() {
    let common = Common::<(Mutex<u64>, Latch)>::of((Mutex::new(0), Latch::new(1)));
    let (mutex, has_it) = &*common;
    let owner = Child::run(|| {
        let common = common.again();
        let (mutex, has_it) = &*common;
        let _guard = mutex.lock();
        has_it.count_down(1);
        loop {
            std::thread::park();
        }
    });
    has_it.wait();
    owner.kill(Signal::SIGKILL);
    owner.status();
    assert!(mutex.is_locked());
    assert!(mutex.try_lock_for(Duration::from_millis(20)).is_none());
}

/// A child of fork(2) goes on with the open file of its parent.
fn child_uses_the_handle() {
    rfutex::sync::init().expect("/dev/rfutex opens");
    // That of the tests.
    fx();
    let descriptors = || {
        let fds = std::fs::read_dir("/proc/self/fd").expect("/proc is there");
        fds.filter_map(|fd| std::fs::read_link(fd.expect("an entry").path()).ok())
            .filter(|file| file == Path::new(Rfutex::PATH))
            .count()
    };
    let before = descriptors();
    let latch = Common::<Latch>::of(Latch::new(1));
    let child = Child::run(|| {
        latch.wait();
        assert_eq!(descriptors(), before);
    });
    until_queued(word_of(&*latch, 4), 1);
    latch.count_down(1);
    child.join();
    assert_eq!(descriptors(), before);
}
