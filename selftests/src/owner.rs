// SPDX-License-Identifier: GPL-2.0
//! Waits that name an owner, and end with it.

mod calls;
mod commands;
mod end;
mod exec;
mod names;
mod storm;

use crate::harness::{Child, Mapping, PAGE, Task, execute, fx, nr_waiters, until, until_queued};
use nix::unistd::{Pid, gettid};
use rfutex::{Error, Owner, WaitOptions, Word};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The tests of owners.
pub fn trials() -> Vec<libtest_mimic::Trial> {
    let all = [
        end::trials(),
        exec::trials(),
        names::trials(),
        calls::trials(),
        commands::trials(),
        storm::trials(),
    ];
    all.into_iter().flatten().collect()
}

/// A wait for `owner`, without a deadline.
fn owned(owner: Owner) -> WaitOptions {
    WaitOptions::default().owner(owner)
}

/// A thread that waits for `owner` on `word` while that is 0. Returns when it is queued, or has
/// failed.
#[track_caller]
fn waiter(word: Word<'static>, owner: Owner) -> Task<Result<(), Error>> {
    let before = nr_waiters(word);
    let task = Task::spawn(move || fx().wait_with(word, 0, owned(owner)));
    until("a waiter is queued, or has failed", || {
        task.is_finished() || nr_waiters(word) == before + 1
    });
    task
}

/// The thread with this id.
fn thread(tid: Pid) -> Owner {
    Owner::thread(tid.as_raw() as u32)
}

/// The process with this id.
fn process(pid: Pid) -> Owner {
    Owner::process(pid.as_raw() as u32)
}

/// Something that others wait for: memory that they share with their children.
struct Place {
    map: Mapping,
}

impl Place {
    fn new() -> Self {
        Self {
            map: Mapping::shared(PAGE),
        }
    }

    /// The word that others wait on.
    fn word(&self) -> Word<'static> {
        self.map.word(0)
    }

    /// A word on which nobody waits but by looking at it.
    fn flag(&self, nr: usize) -> &AtomicU32 {
        self.map.atomic(64 + 4 * nr)
    }

    /// A number to be passed on.
    fn number(&self, nr: usize) -> &AtomicU64 {
        self.map.atomic(512 + 8 * nr)
    }

    /// Says what the caller is, to those who call [`Self::told`].
    fn tell(&self) {
        let identity = fx().identity().expect("an identity");
        for (nr, owner) in [identity.thread, identity.process].into_iter().enumerate() {
            let id = owner.id().expect("an id").get();
            self.number(nr).store(id, Ordering::Relaxed);
        }
    }

    /// The ids of the thread and of the process that have told what they are.
    fn told(&self) -> [NonZeroU64; 2] {
        [0, 1].map(|nr| NonZeroU64::new(self.number(nr).load(Ordering::Relaxed)).expect("an id"))
    }

    /// Says that something has happened.
    fn set(&self, nr: usize) {
        self.flag(nr).store(1, Ordering::Release);
    }

    /// Waits until it has.
    #[track_caller]
    fn until_set(&self, nr: usize) {
        until("the other side goes on", || {
            self.flag(nr).load(Ordering::Acquire) == 1
        });
    }
}

/// A child that lives until it is killed, or `flag` 0 of `place` is set.
fn living(place: &Place) -> Child {
    Child::run(|| {
        while place.flag(0).load(Ordering::Acquire) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    })
}

/// A child that lives until `flag` 0 of `place` is set. Then another thread than its main one executes
/// a program. Returns the number of that thread, too. The main thread has told what it is.
#[track_caller]
fn living_until_it_executes(place: &Place) -> (Child, Pid) {
    let child = Child::run(|| {
        place.tell();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let tid = gettid().as_raw() as u64;
                place.number(2).store(tid, Ordering::Relaxed);
                place.set(1);
                place.until_set(0);
                execute()
            });
        });
    });
    place.until_set(1);
    let tid = place.number(2).load(Ordering::Relaxed);
    (child, Pid::from_raw(tid as i32))
}

/// Whether the process runs another program by now.
fn runs_busybox(pid: Pid) -> bool {
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    comm.is_ok_and(|comm| comm == "busybox\n")
}

/// Checks that nobody waits any more.
#[track_caller]
fn nobody(word: Word<'_>) {
    until_queued(word, 0);
}
