// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locks that are made of words, for threads of one process or of several.
//!
//! All of them work in any memory that threads share: the process's own, and mappings that
//! processes share, at whatever addresses they have them. They contain no pointers, they are
//! valid when zeroed, and they can be made in a `const`. Where nobody has to sleep or to be
//! woken, there is no system call.
//!
//! ```
//! use rfutex::sync::{Mutex, RwLock};
//!
//! static COUNT: Mutex<u32> = Mutex::new(0);
//! static NAMES: RwLock<Vec<String>> = RwLock::new(Vec::new());
//!
//! *COUNT.lock() += 1;
//! NAMES.write().push("one".to_owned());
//! assert_eq!(NAMES.read().len(), 1);
//! ```
//!
//! [`Mutex`] and [`RwLock`] are those of the crate `lock_api` with a [`RawMutex`] of one byte
//! and a [`RawRwLock`] of eight. So they have guards that can be mapped and sent, time-outs, fair
//! unlocks, and no poisoning.
//!
//! # Which threads meet
//!
//! The type parameter says so. With [`Shared`], the default, all threads meet that have the
//! memory mapped. With [`Private`] only those of one process do: that is cheaper when threads
//! have to sleep, and makes no difference when they do not. [`PrivateMutex`] and
//! [`PrivateRwLock`] are short for it. All threads must use a lock as the same type.
//!
//! # Between processes
//!
//! Put the locks and what they protect into a struct of your own that is `#[repr(C)]`, in which
//! the raw locks are fields: the layout of [`Mutex`] itself is the same only within one program.
//! Zeroed memory, such as that of a new memfd, has every lock in its first state. All data in it
//! must be of types that need no pointers.
//!
//! # In an arena
//!
//! An [`Arena`](crate::Arena) is such memory, with a table that nobody else has, and the kernel finds
//! a lock there faster than elsewhere. The raw locks and the others lie there as atomics do. They
//! have to be `Shared`, and the arena has to be mapped as an `Arena`: a lock whose memory was
//! mapped in another way is not found. What a lock protects takes an `unsafe impl` of
//! [`InArena`](crate::InArena), by which the program promises to keep to the lock:
//!
//! ```no_run
//! use rfutex::sync::{Condvar, Mutex};
//! use rfutex::{Arena, Error, InArena, Rfutex, Table, TableOptions};
//!
//! #[repr(C)]
//! struct Mailbox {
//!     letters: Mutex<[u64; 8]>,
//!     arrived: Condvar,
//! }
//!
//! // SAFETY: Zeroes are valid, there are no pointers, and all processes that have the table
//! // have nothing else at the beginning of its arena.
//! unsafe impl InArena for Mailbox {}
//!
//! fn main() -> Result<(), Error> {
//!     let table = Table::create(&Rfutex::open()?, TableOptions::new().arena(4096))?;
//!     let arena = Arena::map(table)?;
//!     let mailbox: &Mailbox = arena.get(0).expect("it is large enough");
//!     mailbox.letters.lock()[0] = 7;
//!     mailbox.arrived.notify_one();
//!     Ok(())
//! }
//! ```
//!
//! If a process is killed while it has a lock, or while a thread of it is about to take one, the
//! others wait forever. This is what the time-outs are for, and [`RobustMutex`], which lies in an
//! [`Arena`](crate::Arena).
//!
//! # The device
//!
//! The first thread that has to sleep or to wake opens the device for its process. If that
//! fails, it panics. So a program should call [`init`] at its start, which returns the error.
//! Where the file system or the kernel cannot be asked for a key of the memory (a page that
//! is gone from a truncated file, for instance), a thread that would have to sleep panics too.
//! Locks in an arena need no device: they have their table.
//!
//! # Fair unlocks
//!
//! An unlock wakes a thread that sleeps, but any thread that comes meanwhile can take the lock
//! before it. That is fast, because the lock is in use while the other wakes up, but nothing
//! says how long a thread may have to wait. A *fair* unlock
//! ([`unlock_fair`](lock_api::MutexGuard::unlock_fair), [`bump`](lock_api::MutexGuard::bump))
//! hands the lock over: if threads sleep, one of them has it next. This is the first in the
//! order of the kernel, which means real-time priority first and then first come, first
//! served; with one exception. A thread that an earlier unlock has woken, and that has not run
//! since, can have it instead.
//!
//! Fairness is about threads that sleep. One that has come but still spins, or has not reached
//! the kernel, counts as not there.
//!
//! Of an [`RwLock`], every write unlock hands over to the readers that sleep, if there are any. So
//! they wait for one writer at most. New readers wait if a writer does, so it waits only for
//! readers that came before it. A fair unlock makes a difference between writers, and for
//! the last reader: a writer that sleeps has the lock next.
//!
//! # Upgrading
//!
//! With [`upgradable_read`](lock_api::RwLock::upgradable_read), one thread has an [`RwLock`] beside
//! any number of readers, and can become the writer without giving the lock up: what it has read
//! is true still. It comes before the writers that wait, when the last reader has left, and no new
//! readers enter meanwhile. Who wants the upgradable lock waits like a reader, for one writer at
//! most, and for others that have it.

mod barrier;
mod condvar;
mod guards;
mod latch;
mod mutex;
mod once;
mod os;
mod place;
mod robust;
mod rwlock;
mod semaphore;
mod traits;
mod upgrade;

pub use barrier::Barrier;
pub use condvar::Condvar;
pub use guards::WaitTimeoutResult;
pub use latch::Latch;
pub use lock_api;
pub use mutex::RawMutex;
pub use once::Once;
pub use os::{Private, Scope, Shared};
pub use place::{init, init_per_thread, init_with};
pub use robust::{Member, RobustGuard, RobustMutex};
pub use rwlock::RawRwLock;
pub use semaphore::Semaphore;

/// A mutex for the threads of any processes that have its memory mapped.
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;
/// What [`Mutex::lock`](lock_api::Mutex::lock) returns: it unlocks when it is dropped.
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, RawMutex, T>;
/// A mutex for the threads of one process.
pub type PrivateMutex<T> = lock_api::Mutex<RawMutex<Private>, T>;

/// A lock for one writer or many readers, in any processes that have its memory mapped.
pub type RwLock<T> = lock_api::RwLock<RawRwLock, T>;
/// What [`RwLock::read`](lock_api::RwLock::read) returns.
pub type RwLockReadGuard<'a, T> = lock_api::RwLockReadGuard<'a, RawRwLock, T>;
/// What [`RwLock::write`](lock_api::RwLock::write) returns.
pub type RwLockWriteGuard<'a, T> = lock_api::RwLockWriteGuard<'a, RawRwLock, T>;
/// What [`RwLock::upgradable_read`](lock_api::RwLock::upgradable_read) returns.
pub type RwLockUpgradableReadGuard<'a, T> = lock_api::RwLockUpgradableReadGuard<'a, RawRwLock, T>;
/// A lock for one writer or many readers, which are threads of one process.
pub type PrivateRwLock<T> = lock_api::RwLock<RawRwLock<Private>, T>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_they_are_said_to_be() {
        assert_eq!(size_of::<RawMutex>(), 1);
        assert_eq!(size_of::<Once>(), 1);
        assert_eq!(size_of::<Semaphore>(), 4);
        assert_eq!(size_of::<Latch>(), 4);
        assert_eq!(size_of::<RawRwLock>(), 8);
        assert_eq!(size_of::<Condvar>(), 12);
        assert_eq!(size_of::<Barrier>(), 16);
    }

    #[test]
    fn guards_can_be_sent() {
        fn is_send<T: Send>() {}
        is_send::<MutexGuard<'_, u32>>();
        is_send::<RwLockReadGuard<'_, u32>>();
        is_send::<RwLockWriteGuard<'_, u32>>();
        is_send::<RwLockUpgradableReadGuard<'_, u32>>();
    }

    /// There is no device where these tests run, so a system call would be a panic.
    #[test]
    fn nobody_contends() {
        let mutex = Mutex::new(0);
        *mutex.lock() += 1;
        lock_api::MutexGuard::unlock_fair(mutex.lock());
        let mut guard = mutex.try_lock().expect("free");
        assert!(mutex.is_locked() && mutex.try_lock().is_none());
        lock_api::MutexGuard::bump(&mut guard);
        drop(guard);
        assert!(!mutex.is_locked());

        let lock = RwLock::new(0);
        let (one, two) = (lock.read(), lock.read_recursive());
        assert!(lock.try_write().is_none());
        drop(one);
        lock_api::RwLockReadGuard::unlock_fair(two);
        let guard = lock_api::RwLockWriteGuard::downgrade(lock.write());
        assert!(lock.is_locked() && !lock.is_locked_exclusive());
        drop(guard);
        lock_api::RwLockWriteGuard::unlock_fair(lock.write());
        assert!(!lock.is_locked());

        let guard = lock.upgradable_read();
        assert!(lock.try_upgradable_read().is_none() && lock.try_write().is_none());
        let reader = lock.read();
        let guard = RwLockUpgradableReadGuard::try_upgrade(guard).expect_err("a reader is there");
        drop(reader);
        let guard = RwLockUpgradableReadGuard::upgrade(guard);
        assert!(lock.is_locked_exclusive());
        let guard = lock_api::RwLockWriteGuard::downgrade_to_upgradable(guard);
        let guard = RwLockUpgradableReadGuard::downgrade(guard);
        RwLockUpgradableReadGuard::unlock_fair(lock.upgradable_read());
        drop(guard);
        assert!(!lock.is_locked());

        let condvar = Condvar::<Shared>::new();
        condvar.notify_one();
        condvar.notify_all();
        condvar.notify_all_with(&mutex.lock());

        let semaphore = Semaphore::<Shared>::new(1);
        semaphore.acquire();
        assert!(!semaphore.try_acquire());
        semaphore.release(2);
        assert_eq!(semaphore.available(), 2);
    }

    #[test]
    fn once_more_after_a_panic() {
        let once = Once::<Shared>::new();
        let call = || once.call_once(|| panic!("not this time"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
        assert!(!once.is_completed());
        let mut done = 0;
        once.call_once(|| done += 1);
        once.call_once(|| done += 1);
        assert!(once.is_completed() && done == 1);
    }

    #[test]
    #[should_panic(expected = "too many permits")]
    fn too_many_permits() {
        Semaphore::<Shared>::new(Semaphore::<Shared>::MAX).release(1);
    }

    #[test]
    #[should_panic(expected = "has counted to zero already")]
    fn below_zero() {
        Latch::<Shared>::new(1).count_down(2);
    }
}
