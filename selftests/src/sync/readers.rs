// SPDX-License-Identifier: GPL-2.0
//! Many readers and writers at one lock, of whom some become the other. All else is as in `storm`.

use super::storm::{ROUNDS, processes, soon, threads};
use fastrand::Rng;
use rfutex::sync::lock_api::{
    RwLock, RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard,
};
use rfutex::sync::{self, Private, RawRwLock, Scope, Shared};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::yield_now;

trials![
    rwlock_of_threads,
    rwlock_of_processes,
    upgrades_of_threads,
    upgrades_of_processes,
];

/// Two numbers that are always the same, and how often they were changed.
pub type Pair<S> = (RwLock<RawRwLock<S>, [u64; 2]>, AtomicU64);

pub const fn pair<S: Scope>() -> Pair<S> {
    let raw = <RawRwLock<S> as sync::lock_api::RawRwLock>::INIT;
    (RwLock::from_raw(raw, [0; 2]), AtomicU64::new(0))
}

pub fn read_and_write<S: Scope>(pair: &Pair<S>, worker: u32) {
    let rng = &mut Rng::with_seed(worker.into());
    (0..ROUNDS).for_each(|_| read_or_write(pair, rng));
}

fn read_or_write<S: Scope>((lock, writes): &Pair<S>, rng: &mut Rng) {
    let same = |pair: &[u64; 2]| assert_eq!(pair[0], pair[1], "a writer beside a reader");
    if rng.u8(..3) == 0 {
        let mut guard = if rng.bool() {
            lock.write()
        } else if let Some(guard) = lock.try_write_for(soon(rng)) {
            guard
        } else {
            return;
        };
        write(&mut guard, writes);
        match rng.u8(..4) {
            0 => RwLockWriteGuard::unlock_fair(guard),
            1 => same(&RwLockWriteGuard::downgrade(guard)),
            _ => drop(guard),
        }
    } else {
        let guard = if rng.bool() {
            lock.read()
        } else if let Some(guard) = lock.try_read_for(soon(rng)) {
            guard
        } else {
            return;
        };
        same(&guard);
        yield_now();
        same(&guard);
        match rng.u8(..4) {
            0 => RwLockReadGuard::unlock_fair(guard),
            1 => same(&lock.read_recursive()),
            _ => drop(guard),
        }
    }
}

/// Changes both numbers, so that others have time to see only one of them changed.
fn write(pair: &mut [u64; 2], writes: &AtomicU64) {
    pair[0] += 1;
    yield_now();
    pair[1] += 1;
    writes.fetch_add(1, Ordering::Relaxed);
}

pub fn all_were_written<S: Scope>((lock, writes): &Pair<S>) {
    let writes = writes.load(Ordering::Relaxed);
    let guard = lock.try_write().expect("free");
    assert_eq!(*guard, [writes; 2], "two writers");
}

fn rwlock_of_threads() {
    threads(pair(), read_and_write::<Private>, all_were_written);
    threads(pair(), read_and_write::<Shared>, all_were_written);
}

fn rwlock_of_processes() {
    processes(pair(), read_and_write::<Shared>, all_were_written);
}

fn upgrades_of_threads() {
    threads(pair(), read_and_upgrade::<Private>, all_were_written);
    threads(pair(), read_and_upgrade::<Shared>, all_were_written);
}

fn upgrades_of_processes() {
    processes(pair(), read_and_upgrade::<Shared>, all_were_written);
}

/// Readers of which some become writers: what they have read is true still when they write.
pub fn read_and_upgrade<S: Scope>(pair: &Pair<S>, worker: u32) {
    type Guard<'a, S> = RwLockUpgradableReadGuard<'a, RawRwLock<S>, [u64; 2]>;
    let (lock, writes) = pair;
    let rng = &mut Rng::with_seed(worker.into());
    for _ in 0..ROUNDS {
        let guard: Guard<'_, S> = match rng.u8(..4) {
            // Others than those that upgrade are there, too.
            0 => {
                read_or_write(pair, rng);
                continue;
            }
            1 => match lock.try_upgradable_read_for(soon(rng)) {
                Some(guard) => guard,
                None => continue,
            },
            _ => lock.upgradable_read(),
        };
        let before = guard[0];
        yield_now();
        assert_eq!(*guard, [before; 2], "a writer beside a reader");
        let mut guard = match rng.u8(..4) {
            0 => {
                assert_eq!(*Guard::downgrade(guard), [before; 2]);
                continue;
            }
            1 => {
                Guard::unlock_fair(guard);
                continue;
            }
            2 => match Guard::try_upgrade_for(guard, soon(rng)) {
                Ok(guard) => guard,
                Err(guard) => {
                    assert_eq!(*guard, [before; 2], "a writer beside a reader");
                    continue;
                }
            },
            _ => Guard::upgrade(guard),
        };
        assert_eq!(*guard, [before; 2], "another was faster");
        write(&mut guard, writes);
        if rng.bool() {
            let guard = RwLockWriteGuard::downgrade_to_upgradable(guard);
            assert_eq!(*guard, [before + 1; 2]);
        }
    }
}
