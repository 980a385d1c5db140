// SPDX-License-Identifier: GPL-2.0
//! Processes that share an address space without being threads of one process: they were made by
//! clone(2) with `CLONE_VM`, or by vfork(2). They meet on private words, and on private memory.

use crate::harness::{
    BOTH, CALLS, Child, Mapping, PAGE, SHARINGS, SharedChild, Sharing, Task, Waiter, fx,
    nr_waiters, until, until_queued,
};
use crate::memory::{Region, RegionWord};
use crate::wake_op::target;
use nix::unistd::{getpid, getppid};
use rfutex::{Compare, Error, Op, WaitEntry, Word};

trials![
    same_keys,
    wait_and_wake,
    move_and_wake,
    both_words,
    the_child_ends,
    the_parent_ends,
];

/// Runs `test` with each way to share, on words that are identified by the address space.
fn on_each(test: impl Fn(Sharing, [Word<'static>; 2])) {
    let region = Region::private(PAGE);
    let words = [region.word(0), region.word(64)];
    for sharing in SHARINGS {
        test(sharing, words);
        test(sharing, words.map(Word::private));
    }
}

/// A process of the test's address space that sleeps in the call `sleep`, as the only one on
/// `word`.
#[track_caller]
fn sleeper(
    sharing: Sharing,
    word: Word<'static>,
    sleep: impl FnOnce() -> Result<(), Error> + Send + 'static,
) -> SharedChild {
    let child = SharedChild::run(sharing, move || assert_eq!(sleep(), Ok(())));
    until_queued(word, 1);
    child
}

/// KEY_INFO says the same in both processes, and every call works in the child.
fn same_keys() {
    on_each(|sharing, [word, other]| {
        let ours = fx().key_info(word).expect("a key");
        let parent = getpid();
        SharedChild::run(sharing, move || {
            assert_ne!(getpid(), parent);
            assert_eq!(fx().key_info(word), Ok(ours));
            for call in CALLS {
                assert_eq!(call.run(fx(), word, other), Ok(0), "{}", call.name);
            }
        })
        .join();
    });
}

/// Each wakes the other, as with futex(2).
fn wait_and_wake() {
    on_each(|sharing, [word, _]| {
        for service in BOTH {
            let waiter = service.sleeper(word, 0);
            SharedChild::run(sharing, move || {
                assert_eq!(service.wake(word, 1), Ok(1), "{service:?}");
            })
            .join();
            waiter.woken();

            let child = SharedChild::run(sharing, move || {
                assert_eq!(service.wait(word, 0), 0, "{service:?}");
            });
            until("the child is woken", || service.wake(word, 1) == Ok(1));
            child.join();
        }
    });
}

/// Either process moves the waiters of both, to words that no third process has.
fn move_and_wake() {
    on_each(|sharing, [word, other]| {
        let child = sleeper(sharing, word, move || fx().wait(word, 0));
        let waiter = Waiter::start(word, 0);
        for [from, to] in [[word, other], [other, word]] {
            assert_eq!(fx().requeue_if(from, 0, to, 0, 2), Ok(2));
            assert_eq!([nr_waiters(from), nr_waiters(to)], [0, 2]);
        }
        SharedChild::run(sharing, move || {
            assert_eq!(fx().requeue(word, other, 1, 1), Ok(2));
        })
        .join();
        // The first that came was woken, and the second moved.
        child.join();
        assert_eq!(fx().wake_one(other), Ok(1));
        waiter.woken();
    });
}

/// The calls about two words or more.
fn both_words() {
    on_each(|sharing, [word, other]| {
        let child = sleeper(sharing, word, move || {
            let entries = [other, word].map(|word| WaitEntry::new(word, 0));
            fx().wait_any(&entries, None).map(drop)
        });
        let woken = fx().wake_op(other, 0, target(word), 1, Op::Add(0), Compare::Equal(0));
        assert_eq!(woken, Ok(1));
        child.join();

        let waiter = Waiter::start(other, 0);
        let child = sleeper(sharing, word, move || fx().swap(word, 0, other));
        waiter.woken();
        let answer = Task::spawn(move || fx().swap(other, 0, word));
        child.join();
        until_queued(other, 1);
        SharedChild::run(sharing, move || {
            let woken = fx().wake_op(other, 1, target(word), 0, Op::Set(0), Compare::Equal(0));
            assert_eq!(woken, Ok(1));
        })
        .join();
        assert_eq!(answer.join(), Ok(()));
    });
}

/// When one of the processes ends, the address space stays, and the waiters of the other sleep on.
fn the_child_ends() {
    on_each(|sharing, [word, _]| {
        let waiter = Waiter::start(word, 0);
        SharedChild::run(sharing, || ()).join();
        let child = SharedChild::run(sharing, move || {
            fx().wait(word, 0).expect("nothing");
        });
        until_queued(word, 2);
        child.kill();
        assert_eq!(nr_waiters(word), 1);
        assert!(!waiter.is_finished());
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    });
}

/// The same when it is the process that made the other one. The keys stay what they are.
fn the_parent_ends() {
    for sharing in SHARINGS {
        let told = Mapping::shared(PAGE);
        let (asleep, awake) = (told.word(0), told.word(4));
        for private in [false, true] {
            asleep.store(0);
            awake.store(0);
            let parent = Child::run(|| {
                let region = Region::private(PAGE);
                let word = region.word(0);
                let word = if private { word.private() } else { word };
                let parent = getpid();
                let orphan = SharedChild::run(sharing, move || {
                    let waiter = Task::spawn(move || fx().wait(word, 0));
                    until_queued(word, 1);
                    asleep.store(1);
                    // It gets another parent when the first one is gone.
                    until("the parent ends", || getppid() != parent);
                    assert_eq!(nr_waiters(word), 1);
                    assert_eq!(fx().wake_all(word), Ok(1));
                    assert_eq!(waiter.join(), Ok(()));
                    awake.store(1);
                });
                until("a waiter is there", || asleep.load() == 1);
                std::mem::forget((orphan, region));
            });
            parent.join();
            until("the other goes on", || awake.load() == 1);
        }
    }
}
