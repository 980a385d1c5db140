// SPDX-License-Identifier: GPL-2.0
//! A frozen waiter of WAITV, a frozen caller of SWAP, and a frozen one that was moved.

use super::Group;
use crate::harness::{Child, Mapping, PAGE, Waiter, fx, nr_waiters, until_queued};
use nix::sys::signal::Signal;
use rfutex::{Error, WaitEntry, Word};

trials![
    in_place,
    moved_while_frozen,
    thawed_and_restarted,
    killed_while_frozen
];

/// More than fit the stack.
const WORDS: usize = 9;

fn words(map: &Mapping) -> Vec<Word<'static>> {
    (0..WORDS).map(|at| map.word(at * 8)).collect()
}

/// A child that waits on all of these; it must be woken on the word `index`.
fn waiting_child(words: &[Word<'static>], index: usize) -> Child {
    let child = Child::run(|| {
        let entries: Vec<_> = words.iter().map(|word| WaitEntry::new(*word, 0)).collect();
        assert_eq!(fx().wait_any(&entries, None), Ok(index));
    });
    until_queued(words[words.len() - 1], 1);
    child
}

/// A child that wakes on `other` and waits on `word`; it must end so.
fn swapping_child(word: Word<'static>, other: Word<'static>, end: Result<(), Error>) -> Child {
    let child = Child::run(|| assert_eq!(fx().swap(word, 0, other), end));
    until_queued(word, 1);
    child
}

/// The freezer of suspend does not disturb them: they stay queued, can be woken, and return when
/// they are thawed.
fn in_place() {
    let map = Mapping::shared(PAGE);
    let words = words(&map);
    let [word, other] = [map.word(1024), map.word(2048)];
    let group = Group::legacy();
    let waiting = waiting_child(&words, 5);
    let swapping = swapping_child(word, other, Ok(()));
    group.add(&waiting);
    group.add(&swapping);
    group.set_frozen(true);
    group.set_frozen(false);
    group.set_frozen(true);
    assert!(words.iter().all(|word| nr_waiters(*word) == 1));
    assert_eq!(fx().wake_one(words[3]), Ok(1));
    assert_eq!(fx().wake_one(words[5]), Ok(1));
    assert_eq!(fx().wake_one(word), Ok(1));
    assert!(!waiting.is_finished() && !swapping.is_finished());
    group.set_frozen(false);
    waiting.join();
    swapping.join();
    assert!(words.iter().all(|word| nr_waiters(*word) == 0));
}

fn moved_while_frozen() {
    let map = Mapping::shared(PAGE);
    let words = words(&map);
    let [word, other] = [map.word(1024), map.word(2048)];
    let group = Group::legacy();
    let waiting = waiting_child(&words, 0);
    let swapping = swapping_child(word, other, Ok(()));
    group.add(&waiting);
    group.add(&swapping);
    group.set_frozen(true);
    assert_eq!(fx().requeue(words[0], other, 0, 9), Ok(1));
    assert_eq!(fx().requeue(word, other, 0, 9), Ok(1));
    assert_eq!(fx().wake(other, 9, !0), Ok(2));
    group.set_frozen(false);
    waiting.join();
    swapping.join();
}

/// The freezer of cgroup v2 ends a wait: it goes on after, but a SWAP is not made again.
fn thawed_and_restarted() {
    let map = Mapping::shared(PAGE);
    let words = words(&map);
    let [word, other] = [map.word(1024), map.word(2048)];
    let group = Group::new();
    let waiting = waiting_child(&words, WORDS - 1);
    let waiter = Waiter::start(other, 0);
    let swapping = swapping_child(word, other, Err(Error::Interrupted));
    waiter.woken();
    group.add(&waiting);
    group.add(&swapping);
    let later = Waiter::start(other, 0);
    group.set_frozen(true);
    assert_eq!(nr_waiters(word), 0);
    group.set_frozen(false);
    swapping.join();
    assert_eq!(nr_waiters(other), 1, "it woke one, once");
    assert_eq!(fx().wake_one(other), Ok(1));
    later.woken();
    until_queued(words[WORDS - 1], 1);
    assert_eq!(fx().wake_one(words[WORDS - 1]), Ok(1));
    waiting.join();
}

fn killed_while_frozen() {
    let map = Mapping::shared(PAGE);
    let words = words(&map);
    let [word, other] = [map.word(1024), map.word(2048)];
    let group = Group::legacy();
    let waiting = waiting_child(&words, 0);
    let swapping = swapping_child(word, other, Ok(()));
    group.add(&waiting);
    group.add(&swapping);
    assert_eq!(fx().requeue(word, other, 0, 1), Ok(1));
    group.set_frozen(true);
    waiting.kill(Signal::SIGKILL);
    swapping.kill(Signal::SIGKILL);
    // It dies when it is thawed.
    group.set_frozen(false);
    waiting.status();
    swapping.status();
    assert!(
        words
            .iter()
            .chain([&word, &other])
            .all(|word| nr_waiters(*word) == 0)
    );
}
