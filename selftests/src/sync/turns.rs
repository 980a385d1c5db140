// SPDX-License-Identifier: GPL-2.0
//! Who is next: fair unlocks, the turn of the readers, and waiters that are moved.

use super::{Common, word_of};
use crate::harness::{Child, Task, nr_waiters, until_queued};
use rfutex::Word;
use rfutex::sync::lock_api::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
use rfutex::sync::{Condvar, Mutex, RwLock, RwLockUpgradableReadGuard};
use std::sync::Arc;

trials![
    mutex_in_order,
    writers_in_order,
    last_reader_to_writer,
    readers_before_writer,
    downgrade_lets_readers_in,
    readers_after_writer,
    upgradable_before_writer,
    upgrade_before_writer,
    one_upgradable_after_the_other,
    moved_to_the_mutex,
    moved_between_processes,
];

const NR: u32 = 4;

fn mutex_word<T>(mutex: &Mutex<T>) -> Word<'static> {
    // SAFETY: Only its address is used.
    word_of(unsafe { mutex.raw() }, 1)
}

fn lock_word<T>(lock: &RwLock<T>) -> Word<'static> {
    // SAFETY: Only its address is used.
    word_of(unsafe { lock.raw() }, 8)
}

/// Each unlocks fairly, so nobody has it out of turn: not even the one who unlocks it and
/// wants it again at once.
fn mutex_in_order() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let guard = order.lock();
    let tasks: Vec<_> = (0..NR)
        .map(|nr| {
            let theirs = order.clone();
            let task = Task::spawn(move || {
                let mut order = theirs.lock();
                order.push(nr);
                MutexGuard::unlock_fair(order);
            });
            until_queued(mutex_word(&order), nr + 1);
            task
        })
        .collect();
    MutexGuard::unlock_fair(guard);
    assert_eq!(*order.lock(), [0, 1, 2, 3]);
    tasks.into_iter().for_each(Task::join);
}

fn writers_in_order() {
    let order = Arc::new(RwLock::new(Vec::new()));
    let guard = order.write();
    let tasks: Vec<_> = (0..NR)
        .map(|nr| {
            let theirs = order.clone();
            let task = Task::spawn(move || {
                let mut order = theirs.write();
                order.push(nr);
                RwLockWriteGuard::unlock_fair(order);
            });
            until_queued(lock_word(&order), nr + 1);
            task
        })
        .collect();
    RwLockWriteGuard::unlock_fair(guard);
    assert_eq!(*order.write(), [0, 1, 2, 3]);
    tasks.into_iter().for_each(Task::join);
}

/// A task that adds itself to the log as a writer. So many sleep there before it.
fn sleeping_writer(log: &Arc<RwLock<Vec<char>>>, before: u32) -> Task<()> {
    let theirs = log.clone();
    let task = Task::spawn(move || theirs.write().push('w'));
    until_queued(lock_word(log), before + 1);
    task
}

/// A task that tells what is in the log when it can read it.
fn sleeping_reader(log: &Arc<RwLock<Vec<char>>>, before: u32) -> Task<Vec<char>> {
    let theirs = log.clone();
    let task = Task::spawn(move || theirs.read().clone());
    until_queued(lock_word(log), before + 1);
    task
}

fn last_reader_to_writer() {
    let log = Arc::new(RwLock::new(Vec::new()));
    let guard = log.read();
    let writer = sleeping_writer(&log, 0);
    RwLockReadGuard::unlock_fair(guard);
    log.write().push('x');
    writer.join();
    assert_eq!(*log.read(), ['w', 'x']);
}

/// The writer has come before the readers, and still it is their turn.
fn readers_before_writer() {
    let log = Arc::new(RwLock::new(Vec::new()));
    let guard = log.write();
    let writer = sleeping_writer(&log, 0);
    let readers = [1, 2].map(|before| sleeping_reader(&log, before));
    drop(guard);
    for reader in readers {
        assert_eq!(reader.join(), []);
    }
    writer.join();
}

fn downgrade_lets_readers_in() {
    let log = Arc::new(RwLock::new(Vec::new()));
    let mut guard = log.write();
    guard.push('x');
    let writer = sleeping_writer(&log, 0);
    let readers = [1, 2].map(|before| sleeping_reader(&log, before));
    let guard = RwLockWriteGuard::downgrade(guard);
    for reader in readers {
        assert_eq!(reader.join(), ['x']);
    }
    assert!(!writer.is_finished());
    drop(guard);
    writer.join();
}

/// A reader that comes when a writer waits stays behind it, but for one that has the lock.
fn readers_after_writer() {
    let log = Arc::new(RwLock::new(Vec::new()));
    let guard = log.read();
    let writer = sleeping_writer(&log, 0);
    assert!(log.try_read().is_none());
    drop(log.try_read_recursive().expect("it has it already"));
    let reader = sleeping_reader(&log, 1);
    drop(guard);
    assert_eq!(reader.join(), ['w']);
    writer.join();
}

/// It is in the turn of the readers.
fn upgradable_before_writer() {
    let log = Arc::new(RwLock::new(Vec::new()));
    let guard = log.write();
    let writer = sleeping_writer(&log, 0);
    let theirs = log.clone();
    let upgradable = Task::spawn(move || theirs.upgradable_read().clone());
    until_queued(lock_word(&log), 2);
    drop(guard);
    assert_eq!(upgradable.join(), []);
    writer.join();
}

/// Who has the upgradable lock becomes the writer before one that has come earlier, when the readers
/// have left. Those that come meanwhile stay out.
fn upgrade_before_writer() {
    let log = Arc::new(RwLock::new(Vec::new()));
    let reader = log.read();
    let upgradable = log.upgradable_read();
    let writer = sleeping_writer(&log, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| RwLockUpgradableReadGuard::upgrade(upgradable).push('u'));
        until_queued(lock_word(&log), 2);
        assert!(log.try_read().is_none());
        drop(reader);
    });
    writer.join();
    assert_eq!(*log.read(), ['u', 'w']);
}

/// One that sleeps has it when another gives it up, though a reader is there: whether the other has
/// gone, or is a reader now.
fn one_upgradable_after_the_other() {
    let log = Arc::new(RwLock::new(Vec::<char>::new()));
    let sleeper = || {
        let theirs = log.clone();
        let task = Task::spawn(move || drop(theirs.upgradable_read()));
        until_queued(lock_word(&log), 1);
        task
    };
    let reader = log.read();
    let first = log.upgradable_read();
    let second = sleeper();
    drop(first);
    second.join();
    drop(reader);
    let first = log.upgradable_read();
    let second = sleeper();
    let reader = RwLockUpgradableReadGuard::downgrade(first);
    second.join();
    drop(reader);
    assert!(!log.is_locked());
}

/// A mutex, and a condition variable.
type Pair = (Mutex<u64>, Condvar);

fn wait((number, changed): &Pair) {
    changed.wait_while(&mut number.lock(), |number| *number == 0);
}

/// None of those that wait wakes up before the mutex is unlocked; then all of them do.
fn move_all(pair: &Pair) {
    let (number, changed) = pair;
    let (mutex, condvar) = (mutex_word(number), word_of(changed, 4));
    until_queued(condvar, NR);
    let mut guard = number.lock();
    *guard = 1;
    changed.notify_all_with(&guard);
    assert_eq!([condvar, mutex].map(nr_waiters), [0, NR]);
}

fn moved_to_the_mutex() {
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let tasks = [(); NR as usize].map(|()| {
        let pair = pair.clone();
        Task::spawn(move || wait(&pair))
    });
    move_all(&pair);
    tasks.into_iter().for_each(Task::join);
}

fn moved_between_processes() {
    let pair = Common::<Pair>::zeroed();
    let children: Vec<_> = (0..NR)
        .map(|_| Child::run(|| wait(&pair.again())))
        .collect();
    move_all(&pair);
    children.into_iter().for_each(Child::join);
}
