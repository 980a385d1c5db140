// SPDX-License-Identifier: GPL-2.0
//! Who is meant by a number and an id.

use super::{Place, living, nobody, owned, process, thread, waiter};
use crate::harness::{Child, Task, effort, fx, until};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, getpid, gettid};
use rfutex::{Error, Owner};
use std::collections::HashSet;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

trials![
    identity,
    identities_differ,
    oneself,
    thread_for_a_process,
    nobody_has_the_number,
    other_id,
    number_used_again,
    in_a_pid_namespace,
];

/// The result of a wait that would not sleep for long.
fn wait(place: &Place, owner: Owner) -> Result<(), Error> {
    let options = owned(owner).within(Duration::from_millis(1));
    fx().wait_with(place.word(), 0, options)
}

fn id(owner: Owner) -> NonZeroU64 {
    owner.id().expect("an id")
}

fn identity() {
    let main = fx().identity().expect("an identity");
    assert_eq!(main.thread.number(), gettid().as_raw() as u32);
    assert_eq!(main.process.number(), getpid().as_raw() as u32);
    assert_eq!(fx().identity(), Ok(main));
    assert!(id(main.thread).get() < 1 << 62);
    assert!(id(main.process).get() < 1 << 62);
    let (other, tid) = Task::spawn(|| (fx().identity().expect("an identity"), gettid())).join();
    assert_eq!(other.process, main.process);
    assert_eq!(other.thread.number(), tid.as_raw() as u32);
    assert_ne!(id(other.thread), id(main.thread));
}

/// No thread has the id of another one, be it dead or alive, and no process either.
fn identities_differ() {
    let mut ids = HashSet::new();
    for _ in 0..effort(500u32) {
        let identity = Task::spawn(|| fx().identity().expect("an identity")).join();
        assert!(ids.insert(id(identity.thread)));
    }
    let place = Place::new();
    for _ in 0..effort(50u32) {
        Child::run(|| place.tell()).join();
        for id in place.told() {
            assert!(ids.insert(id));
        }
    }
}

/// A thread that waits for itself would wait for ever. So would a process.
fn oneself() {
    let place = Place::new();
    let main = fx().identity().expect("an identity");
    for owner in [
        main.thread,
        main.process,
        thread(gettid()),
        process(getpid()),
    ] {
        assert_eq!(wait(&place, owner), Err(Error::Deadlock));
    }
    // To wait for another thread is no mistake.
    let result = Task::spawn({
        let word = place.word();
        move || fx().wait_with(word, 0, owned(main.thread).within(Duration::from_millis(1)))
    });
    assert_eq!(result.join(), Err(Error::TimedOut));
    nobody(place.word());
}

fn thread_for_a_process() {
    let place = Place::new();
    let (end, told) = std::sync::mpsc::channel::<()>();
    let task = Task::spawn(move || {
        let _ = told.recv();
    });
    assert_eq!(wait(&place, process(task.tid())), Err(Error::Invalid));
    assert_eq!(wait(&place, thread(task.tid())), Err(Error::TimedOut));
    let tid = task.tid();
    drop(end);
    task.join();
    // By now it is nobody's number.
    until("its number is free", || {
        wait(&place, process(tid)) == Err(Error::OwnerEnded)
    });
}

fn nobody_has_the_number() {
    let place = Place::new();
    for number in [4_194_304, i32::MAX as u32] {
        for owner in [Owner::thread(number), Owner::process(number)] {
            assert_eq!(wait(&place, owner), Err(Error::OwnerEnded));
        }
    }
    for number in [0, 1 << 31, u32::MAX] {
        for owner in [Owner::thread(number), Owner::process(number)] {
            assert_eq!(wait(&place, owner), Err(Error::Invalid));
        }
    }
}

/// Somebody has the number, but is not who is meant.
fn other_id() {
    let place = Place::new();
    let child = living(&place);
    let real = fx().identity().expect("an identity");
    let other = [1, (1 << 62) - 1].map(|id| NonZeroU64::new(id).expect("not 0"));
    for other in other.into_iter().chain([id(real.thread), id(real.process)]) {
        for owner in [process(child.pid()), thread(child.pid())] {
            assert_eq!(wait(&place, owner.with_id(other)), Err(Error::OwnerEnded));
        }
    }
    // Nor is the caller whoever once had his number.
    let other = NonZeroU64::new(id(real.thread).get() ^ 1 << 20).expect("not 0");
    assert_eq!(
        wait(&place, real.thread.with_id(other)),
        Err(Error::OwnerEnded)
    );
    place.set(0);
    child.join();
    nobody(place.word());
}

/// A number is used again. With the id, nobody takes the new one for the old.
fn number_used_again() {
    let place = Place::new();
    let begin = || {
        place.tell();
        place.set(1);
        place.until_set(2);
    };
    let ids = || {
        place.until_set(1);
        place.flag(1).store(0, Ordering::Relaxed);
        place.told()
    };
    let child = Child::run(begin);
    let pid = child.pid();
    let old = ids();
    let owners = |[thread_id, process_id]: [NonZeroU64; 2]| {
        [
            thread(pid).with_id(thread_id),
            process(pid).with_id(process_id),
        ]
    };
    for owner in owners(old) {
        assert_eq!(wait(&place, owner), Err(Error::TimedOut));
    }
    place.set(2);
    child.join();
    place.flag(2).store(0, Ordering::Relaxed);
    let child = Child::run_as(pid, begin);
    let new = ids();
    for owner in owners(old) {
        assert_eq!(wait(&place, owner), Err(Error::OwnerEnded));
    }
    for owner in owners(new).into_iter().chain([thread(pid), process(pid)]) {
        assert_eq!(wait(&place, owner), Err(Error::TimedOut));
    }
    place.set(2);
    child.join();
}

/// Numbers are those of the caller's namespace. Ids are the same everywhere.
fn in_a_pid_namespace() {
    let place = Place::new();
    let outside = fx().identity().expect("an identity");
    Child::run(|| {
        unshare(CloneFlags::CLONE_NEWPID).expect("unshare");
        // The first child is the namespace's first process, and its end is that of the others.
        Child::run(|| {
            let first = fx().identity().expect("an identity");
            assert_eq!((first.process.number(), first.thread.number()), (1, 1));
            assert_ne!(id(first.process), id(outside.process));
            // Who is outside has no number here.
            assert_eq!(wait(&place, outside.process), Err(Error::OwnerEnded));
            let child = living(&place);
            assert_eq!(child.pid(), Pid::from_raw(2));
            let task = waiter(place.word(), process(child.pid()));
            place.set(0);
            assert_eq!(task.join(), Err(Error::OwnerEnded));
            child.join();
        })
        .join();
    })
    .join();
    nobody(place.word());
}
