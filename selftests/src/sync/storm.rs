// SPDX-License-Identifier: GPL-2.0
//! Many threads at one lock, of one process and of several: nobody has it beside another, and
//! nobody sleeps forever, which the bounded join finds. Each process has the lock at an address
//! of its own.

use super::{Common, InCommon};
use crate::harness::{Child, Handler, Task, storm, until};
use fastrand::Rng;
use nix::sys::signal::{SaFlags, Signal};
use rfutex::Rfutex;
use rfutex::sync::lock_api::{Mutex, MutexGuard};
use rfutex::sync::{
    self, Barrier, Condvar, Latch, Once, Private, RawMutex, Scope, Semaphore, Shared,
};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::yield_now;
use std::time::Duration;

trials![
    mutex_of_threads,
    mutex_of_processes,
    mutex_with_signals,
    mutex_with_handles_for_each,
    mutex_with_a_handle_that_was_given,
    condvar_of_threads,
    condvar_of_processes,
    semaphore_of_threads,
    semaphore_of_processes,
    relay_of_threads,
    relay_of_processes,
    barrier_of_threads,
    barrier_of_processes,
    once_of_threads,
    once_of_processes,
    latch_of_threads,
    latch_of_processes,
];

/// How many work on a lock at a time.
pub const WORKERS: u32 = 4;
/// How often each of them does it.
pub const ROUNDS: u32 = 600;

/// What each of the workers does, by its number.
pub type Work<T> = fn(&T, u32);

/// Returns when all workers have come: so none is at its end before the last begins.
fn start(came: &AtomicU32) {
    came.fetch_add(1, Ordering::SeqCst);
    while came.load(Ordering::SeqCst) < WORKERS {
        yield_now();
    }
}

/// The workers are threads. In the end, `check` has to find all as it should be.
pub fn threads<T: InCommon>(common: T, work: Work<T>, check: fn(&T)) {
    let common = Arc::new((AtomicU32::new(0), common));
    let tasks: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let common = common.clone();
            Task::spawn(move || {
                start(&common.0);
                work(&common.1, worker);
            })
        })
        .collect();
    tasks.into_iter().for_each(Task::join);
    check(&common.1);
}

/// The same with processes.
pub fn processes<T: InCommon>(common: T, work: Work<T>, check: fn(&T)) {
    processes_with(Common::of((AtomicU32::new(0), common)), work, check);
}

/// The same in memory of any kind.
pub fn processes_with<T: InCommon>(common: Common<(AtomicU32, T)>, work: Work<T>, check: fn(&T)) {
    let children: Vec<_> = (0..WORKERS)
        .map(|worker| {
            Child::run(|| {
                let common = common.again();
                start(&common.0);
                work(&common.1, worker);
            })
        })
        .collect();
    children.into_iter().for_each(Child::join);
    check(&common.1);
}

/// A time-out that often passes, and often does not.
pub fn soon(rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.u64(..500))
}

pub type Sum<S> = Mutex<RawMutex<S>, u64>;

pub const fn sum<S: Scope>() -> Sum<S> {
    Mutex::from_raw(<RawMutex<S> as sync::lock_api::RawMutex>::INIT, 0)
}

pub fn add<S: Scope>(sum: &Sum<S>, worker: u32) {
    let rng = &mut Rng::with_seed(worker.into());
    for _ in 0..ROUNDS {
        let mut guard = if rng.u8(..4) == 0 {
            loop {
                if let Some(guard) = sum.try_lock_for(soon(rng)) {
                    break guard;
                }
            }
        } else {
            sum.lock()
        };
        let seen = *guard;
        // Gives others a chance to come and sleep.
        yield_now();
        *guard = seen + 1;
        match rng.u8(..4) {
            0 => MutexGuard::unlock_fair(guard),
            1 => MutexGuard::bump(&mut guard),
            _ => drop(guard),
        }
    }
}

pub fn added<S: Scope>(sum: &Sum<S>) {
    let guard = sum.try_lock().expect("free");
    assert_eq!(*guard, (WORKERS * ROUNDS).into(), "two had the lock");
}

fn mutex_of_threads() {
    threads(sum(), add::<Private>, added);
    threads(sum(), add::<Shared>, added);
}

fn mutex_of_processes() {
    processes(sum(), add::<Shared>, added);
}

/// Handlers without `SA_RESTART` run in those that sleep.
fn mutex_with_signals() {
    let common = Arc::new(sum::<Private>());
    let stop = Arc::new(AtomicBool::new(false));
    let handler = Arc::new(Handler::counting(Signal::SIGUSR1, SaFlags::empty()));
    let tasks = [0, 1].map(|worker| {
        let (common, stop) = (common.clone(), stop.clone());
        Task::spawn(move || {
            let mut rounds = 0;
            while !stop.load(Ordering::SeqCst) {
                add(&common, worker);
                rounds += 1;
            }
            rounds
        })
    });
    let tids = [tasks[0].tid(), tasks[1].tid()];
    let no_more = Arc::new(AtomicBool::new(false));
    let signals = storm::signal_again(&no_more, &handler, tids);
    until("many were interrupted", || handler.count() >= 200);
    // The others must not end before the last signal was sent.
    no_more.store(true, Ordering::SeqCst);
    signals.join();
    stop.store(true, Ordering::SeqCst);
    let rounds: u32 = tasks.into_iter().map(Task::join).sum();
    assert_eq!(*common.lock(), (rounds * ROUNDS).into());
}

/// Each thread opens the device for itself.
fn mutex_with_handles_for_each() {
    sync::init_per_thread().expect("/dev/rfutex opens");
    threads(sum(), add::<Shared>, added);
}

/// The first is taken, unless a lock has opened one before; a second comes back.
fn mutex_with_a_handle_that_was_given() {
    let open = || Rfutex::open().expect("/dev/rfutex opens");
    drop(sync::init_with(open()));
    let second = open();
    let number = second.as_fd().as_raw_fd();
    let back = sync::init_with(second).expect_err("there is one");
    assert_eq!(back.as_fd().as_raw_fd(), number);
    threads(sum(), add::<Shared>, added);
}

/// How many things there are, and conditions for those that wait for more and for less.
pub type Store<S> = (Sum<S>, Condvar<S>, Condvar<S>);

pub const fn store<S: Scope>() -> Store<S> {
    (sum(), Condvar::new(), Condvar::new())
}

/// Half of the workers put things, and half of them take as many.
pub fn put_or_take<S: Scope>((things, more, less): &Store<S>, worker: u32) {
    const MOST: u64 = 2;
    let rng = &mut Rng::with_seed(worker.into());
    let puts = worker.is_multiple_of(2);
    let must_wait = |things: &mut u64| *things == if puts { MOST } else { 0 };
    let (await_, tell) = if puts { (less, more) } else { (more, less) };
    for _ in 0..ROUNDS {
        let mut guard = things.lock();
        if rng.u8(..4) == 0 {
            while await_
                .wait_timeout_while(&mut guard, soon(rng), must_wait)
                .timed_out()
            {}
        } else {
            await_.wait_while(&mut guard, must_wait);
        }
        *guard = if puts { *guard + 1 } else { *guard - 1 };
        match rng.u8(..8) {
            0 => tell.notify_all_with(&guard),
            1 => {
                tell.notify_all_with(&guard);
                MutexGuard::unlock_fair(guard);
            }
            2 => tell.notify_all(),
            3 => {
                drop(guard);
                tell.notify_all();
            }
            4 | 5 => tell.notify_one(),
            _ => {
                drop(guard);
                tell.notify_one();
            }
        }
    }
}

pub fn nothing_is_left<S: Scope>(store: &Store<S>) {
    assert_eq!(*store.0.try_lock().expect("free"), 0);
}

fn condvar_of_threads() {
    threads(store(), put_or_take::<Private>, nothing_is_left);
    threads(store(), put_or_take::<Shared>, nothing_is_left);
}

fn condvar_of_processes() {
    processes(store(), put_or_take::<Shared>, nothing_is_left);
}

/// A semaphore, how many are inside, and the most that were.
pub type Room<S> = (Semaphore<S>, AtomicU32, AtomicU32);

const PLACES: u32 = 2;

pub const fn room<S: Scope>() -> Room<S> {
    let [inside, most] = [const { AtomicU32::new(0) }; 2];
    (Semaphore::new(PLACES), inside, most)
}

pub fn enter<S: Scope>((places, inside, most): &Room<S>, worker: u32) {
    let rng = &mut Rng::with_seed(worker.into());
    for _ in 0..ROUNDS {
        if rng.u8(..4) == 0 {
            while !places.acquire_timeout(soon(rng)) {}
        } else {
            places.acquire();
        }
        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        yield_now();
        inside.fetch_sub(1, Ordering::SeqCst);
        places.release(1);
    }
}

pub fn all_places_are_free<S: Scope>((places, inside, most): &Room<S>) {
    assert_eq!(places.available(), PLACES);
    assert_eq!(inside.load(Ordering::SeqCst), 0);
    assert!(most.load(Ordering::SeqCst) <= PLACES, "too many inside");
}

fn semaphore_of_threads() {
    threads(room(), enter::<Private>, all_places_are_free);
    threads(room(), enter::<Shared>, all_places_are_free);
}

fn semaphore_of_processes() {
    processes(room(), enter::<Shared>, all_places_are_free);
}

/// Two semaphores, one of which has the only permit.
type Relay<S> = [Semaphore<S>; 2];

const fn relay<S: Scope>() -> Relay<S> {
    [Semaphore::new(1), Semaphore::new(0)]
}

/// Takes the permit from one and gives it to the other. There is no other permit: if a thread that
/// sleeps is not woken, nobody comes who would wake it later.
fn hand_over<S: Scope>(relay: &Relay<S>, worker: u32) {
    let from = worker as usize % 2;
    for _ in 0..ROUNDS {
        relay[from].acquire();
        relay[1 - from].release(1);
    }
}

fn it_has_come_back<S: Scope>(relay: &Relay<S>) {
    assert_eq!(relay.each_ref().map(Semaphore::available), [1, 0]);
}

fn relay_of_threads() {
    threads(relay(), hand_over::<Private>, it_has_come_back);
    threads(relay(), hand_over::<Shared>, it_has_come_back);
}

fn relay_of_processes() {
    processes(relay(), hand_over::<Shared>, it_has_come_back);
}

/// A barrier, in which round everybody is, and how often somebody was the last.
pub type Meeting<S> = (Barrier<S>, [AtomicU32; WORKERS as usize], AtomicU32);

pub const fn meeting<S: Scope>() -> Meeting<S> {
    let rounds = [const { AtomicU32::new(0) }; WORKERS as usize];
    (Barrier::new(WORKERS), rounds, AtomicU32::new(0))
}

pub fn meet<S: Scope>((barrier, rounds, last): &Meeting<S>, worker: u32) {
    let wait = || {
        let is_last = barrier.wait();
        last.fetch_add(is_last.into(), Ordering::Relaxed);
    };
    for round in 1..=ROUNDS {
        rounds[worker as usize].store(round, Ordering::Relaxed);
        wait();
        for other in rounds {
            assert_eq!(other.load(Ordering::Relaxed), round, "not all have come");
        }
        wait();
    }
}

pub fn one_was_last<S: Scope>((_, _, last): &Meeting<S>) {
    assert_eq!(last.load(Ordering::Relaxed), 2 * ROUNDS);
}

fn barrier_of_threads() {
    threads(meeting(), meet::<Private>, one_was_last);
    threads(meeting(), meet::<Shared>, one_was_last);
}

fn barrier_of_processes() {
    processes(meeting(), meet::<Shared>, one_was_last);
}

/// Things to be done once, and how often they were.
pub type Things<S> = [(Once<S>, AtomicU32); ROUNDS as usize];

pub const fn things<S: Scope>() -> Things<S> {
    [const { (Once::new(), AtomicU32::new(0)) }; ROUNDS as usize]
}

pub fn do_once<S: Scope>(things: &Things<S>, _worker: u32) {
    for (once, done) in things {
        once.call_once(|| {
            yield_now();
            // Not in one step: two that do it together might both see 0.
            done.store(done.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }
}

pub fn all_are_done<S: Scope>(things: &Things<S>) {
    assert!(things.iter().all(|(once, _)| once.is_completed()));
}

fn once_of_threads() {
    threads(things(), do_once::<Private>, all_are_done);
    threads(things(), do_once::<Shared>, all_are_done);
}

fn once_of_processes() {
    processes(things(), do_once::<Shared>, all_are_done);
}

/// Latches that wait for all workers, and how many have come.
pub type Latches<S> = [(Latch<S>, AtomicU32); ROUNDS as usize];

pub const fn latches<S: Scope>() -> Latches<S> {
    [const { (Latch::new(WORKERS), AtomicU32::new(0)) }; ROUNDS as usize]
}

pub fn count_down<S: Scope>(latches: &Latches<S>, worker: u32) {
    let rng = &mut Rng::with_seed(worker.into());
    for (latch, came) in latches {
        came.fetch_add(1, Ordering::Relaxed);
        latch.count_down(1);
        if rng.u8(..4) == 0 {
            while !latch.wait_timeout(soon(rng)) {}
        } else {
            latch.wait();
        }
        assert_eq!(came.load(Ordering::Relaxed), WORKERS, "it opened too soon");
    }
}

pub fn all_are_open<S: Scope>(latches: &Latches<S>) {
    assert!(latches.iter().all(|(latch, _)| latch.is_open()));
}

fn latch_of_threads() {
    threads(latches(), count_down::<Private>, all_are_open);
    threads(latches(), count_down::<Shared>, all_are_open);
}

fn latch_of_processes() {
    processes(latches(), count_down::<Shared>, all_are_open);
}
