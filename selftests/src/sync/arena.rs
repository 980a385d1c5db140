// SPDX-License-Identifier: GPL-2.0
//! Locks in an arena: the same storms as in other memory, and what is different there.

use super::storm::{self, WORKERS, Work};
use super::{Common, readers};
use crate::harness::{Child, Task, until};
use nix::sys::resource::{Resource, setrlimit};
use rfutex::sync::{self, Condvar, Latch, Mutex, RwLock, Shared};
use rfutex::{Rfutex, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

trials![
    mutex,
    rwlock,
    upgrades,
    condvar,
    semaphore,
    barrier,
    once,
    latch,
    no_device_is_needed,
    mapped_twice,
    moved_to_the_mutex,
    mutex_elsewhere,
    forks_and_mappings,
];

/// Processes use what is in an arena, each with a mapping of its own.
fn in_arena<T: super::InCommon>(common: T, work: Work<T>, check: fn(&T)) {
    storm::processes_with(
        Common::of_in_arena((AtomicU32::new(0), common)),
        work,
        check,
    );
}

fn mutex() {
    in_arena(storm::sum(), storm::add::<Shared>, storm::added);
}

fn rwlock() {
    let work = readers::read_and_write::<Shared>;
    in_arena(readers::pair(), work, readers::all_were_written);
}

fn upgrades() {
    let work = readers::read_and_upgrade::<Shared>;
    in_arena(readers::pair(), work, readers::all_were_written);
}

fn condvar() {
    let work = storm::put_or_take::<Shared>;
    in_arena(storm::store(), work, storm::nothing_is_left);
}

fn semaphore() {
    let work = storm::enter::<Shared>;
    in_arena(storm::room(), work, storm::all_places_are_free);
}

fn barrier() {
    in_arena(storm::meeting(), storm::meet::<Shared>, storm::one_was_last);
}

fn once() {
    let work = storm::do_once::<Shared>;
    in_arena(storm::things(), work, storm::all_are_done);
}

fn latch() {
    let work = storm::count_down::<Shared>;
    in_arena(storm::latches(), work, storm::all_are_open);
}

/// How many wait on the word of `size` bytes at `place`, as the table of the arena knows it.
#[track_caller]
fn nr_waiters<T: super::InCommon, L>(common: &Common<T>, place: &L, size: u32) -> u32 {
    let start = std::ptr::from_ref::<T>(common).addr();
    let word = Word::in_arena((std::ptr::from_ref(place).addr() - start) as u64, size);
    let table = common.arena().table();
    table.key_info(word).expect("a key").nr_waiters
}

/// A process that has nothing but the table can use all locks in its arena.
fn no_device_is_needed() {
    type All = (Mutex<u64>, Condvar, Latch);
    let all = Common::of_in_arena((Mutex::new(0), Condvar::new(), Latch::new(1)));
    let (number, changed, ready) = &*all;
    let guard = number.lock();
    let child = Child::run(|| {
        let all: Common<All> = all.again();
        let (number, changed, ready) = &*all;
        setrlimit(Resource::RLIMIT_NOFILE, 0, 0).expect("setrlimit");
        assert!(Rfutex::open().is_err() && sync::init().is_err());
        let mut guard = number.lock();
        changed.wait_while(&mut guard, |number| *number == 0);
        *guard += 1;
        drop(guard);
        ready.count_down(1);
    });
    // SAFETY: Only its address is used.
    let mutex = unsafe { number.raw() };
    until("it sleeps on the mutex", || nr_waiters(&all, mutex, 1) == 1);
    drop(guard);
    until("it waits for the condition", || {
        nr_waiters(&all, changed, 4) == 1
    });
    *number.lock() = 1;
    changed.notify_one();
    ready.wait();
    child.join();
    assert_eq!(*number.lock(), 2);
}

/// One process has two mappings of an arena, and a third one where the second was.
fn mapped_twice() {
    let first = Arc::new(Common::of_in_arena(Mutex::new(0)));
    for round in 1..20 {
        let guard = first.lock();
        let second = first.again();
        let task = Task::spawn(move || *second.lock() += 1);
        // SAFETY: Only its address is used.
        let mutex = unsafe { first.raw() };
        until("it sleeps", || nr_waiters(&first, mutex, 1) == 1);
        drop(guard);
        task.join();
        assert_eq!(*first.lock(), round);
    }
}

type Pair = (Mutex<u64>, Condvar);

/// A task that waits for the number to become something else than 0.
fn waiter(pair: &Arc<Common<Pair>>) -> Task<()> {
    let pair = pair.clone();
    Task::spawn(move || {
        let (number, changed) = &**pair;
        changed.wait_while(&mut number.lock(), |number| *number == 0);
    })
}

fn moved_to_the_mutex() {
    let pair = Arc::new(Common::of_in_arena((Mutex::new(0), Condvar::new())));
    let tasks = [(); 3].map(|()| waiter(&pair));
    let (number, changed) = &**pair;
    until("all wait", || nr_waiters(&pair, changed, 4) == 3);
    let mut guard = number.lock();
    *guard = 1;
    changed.notify_all_with(&guard);
    // SAFETY: Only its address is used.
    let mutex = unsafe { number.raw() };
    assert_eq!(nr_waiters(&pair, changed, 4), 0);
    assert_eq!(nr_waiters(&pair, mutex, 1), 3);
    drop(guard);
    tasks.into_iter().for_each(Task::join);
}

/// Waiters cannot be moved to a mutex that is not in the arena: they are woken.
fn mutex_elsewhere() {
    let changed = Arc::new(Common::of_in_arena(Condvar::<Shared>::new()));
    let mutex = Arc::new(Mutex::new(0));
    let tasks = [(); 3].map(|()| {
        let (mutex, changed) = (mutex.clone(), changed.clone());
        Task::spawn(move || changed.wait_while(&mut mutex.lock(), |number| *number == 0))
    });
    until("all wait", || nr_waiters(&changed, &**changed, 4) == 3);
    let mut guard = mutex.lock();
    *guard = 1;
    changed.notify_all_with(&guard);
    assert_eq!(nr_waiters(&changed, &**changed, 4), 0);
    drop(guard);
    tasks.into_iter().for_each(Task::join);
}

/// Threads contend, and look for the arena of their lock, while others come and go. Children that
/// are made at any moment of it can map and unmap arenas, and use their locks.
fn forks_and_mappings() {
    let counter = Arc::new(Common::of_in_arena((Mutex::new(0u64), RwLock::new(0u64))));
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (counter, stop) = (counter.clone(), stop.clone());
            Task::spawn(move || {
                let mut rounds = 0;
                while !stop.load(Ordering::Relaxed) {
                    let mut guard = counter.0.lock();
                    std::thread::yield_now();
                    *guard += 1;
                    rounds += 1;
                }
                rounds
            })
        })
        .collect();
    let mapper = crate::harness::storm::again(&stop, {
        let counter = counter.clone();
        move || drop(counter.again())
    });
    for _ in 0..20 {
        let latch = Common::of_in_arena(Latch::<Shared>::new(1));
        let child = Child::run(|| {
            let again = counter.again();
            *again.1.write() += 1;
            drop(again);
            assert!(!latch.wait_timeout(Duration::from_micros(100)) || latch.is_open());
            latch.again().wait();
        });
        latch.count_down(1);
        child.join();
    }
    stop.store(true, Ordering::Relaxed);
    mapper.join();
    let rounds: u64 = tasks.into_iter().map(Task::join).sum();
    assert_eq!((*counter.0.lock(), *counter.1.read()), (rounds, 20));
}
