// SPDX-License-Identifier: GPL-2.0
//! From each kind of word to each other, and between processes.

use crate::harness::{
    Child, Mapping, PAGE, Task, Waiter, fx, holds_inode, nr_waiters, until_queued,
};
use crate::memory::{Mount, Region, file_in, memfd};
use nix::sys::signal::Signal;
use rfutex::{Error, Word};

trials![
    every_pair,
    of_another_process_to_a_file,
    to_a_page_that_it_has_not,
    of_another_process_to_private,
    of_another_process_to_another_file,
];

/// Two words of each kind, of different sizes. Two files.
fn words(private: &Mapping, shared: &Mapping, file: &Region) -> Vec<Word<'static>> {
    let sized = |map: &Mapping, at, size| map.sized_word(at, size);
    vec![
        sized(private, 0, 1).private(),
        sized(private, 64, 8).private(),
        sized(private, 0, 2),
        sized(private, 64, 4),
        sized(shared, 0, 8),
        sized(shared, 64, 1),
        sized(shared, 0, 4).private(),
        file.word(0),
    ]
}

fn every_pair() {
    let (private, shared) = (Mapping::private(PAGE), Mapping::shared(PAGE));
    let file = Region::shared(memfd(PAGE), 0, PAGE);
    let words = words(&private, &shared, &file);
    for from in &words {
        let waiters = [(); 2].map(|()| Waiter::start(*from, 0));
        for to in words.iter().filter(|to| *to != from) {
            // One after the other there, and both back.
            assert_eq!(
                fx().requeue_if(*from, 0, *to, 0, 1),
                Ok(1),
                "{from:?} to {to:?}"
            );
            assert_eq!(
                [nr_waiters(*from), nr_waiters(*to)],
                [1, 1],
                "{from:?} to {to:?}"
            );
            assert_eq!(fx().requeue(*from, *to, 0, 1), Ok(1), "{from:?} to {to:?}");
            assert_eq!(fx().wake_all(*from), Ok(0), "{from:?} to {to:?}");
            assert_eq!(
                fx().requeue_if(*to, 0, *from, 0, 9),
                Ok(2),
                "{to:?} to {from:?}"
            );
            assert_eq!(
                [nr_waiters(*from), nr_waiters(*to)],
                [2, 0],
                "{to:?} to {from:?}"
            );
        }
        let to = words[usize::from(*from == words[0])];
        assert_eq!(fx().requeue(*from, to, 1, 1), Ok(2));
        assert_eq!(fx().wake_all(to), Ok(1));
        waiters.into_iter().for_each(Waiter::woken);
    }
}

/// A child that waits on `word`, and must be woken.
fn waiting_child(word: Word<'static>) -> Child {
    let nr = nr_waiters(word);
    let child = Child::run(|| assert_eq!(fx().wait(word, 0), Ok(())));
    until_queued(word, nr + 1);
    child
}

/// Another word of the same file is as good.
fn of_another_process_to_a_file() {
    let map = Mapping::shared(PAGE);
    let (from, to) = (map.word(0), map.word(8));
    // It is moved by us, woken by itself.
    let child = Child::run(|| {
        let task = Task::spawn(move || fx().wait(from, 0));
        until_queued(to, 1);
        assert_eq!(fx().wake_all(from), Ok(0));
        assert_eq!(fx().wake_all(to), Ok(1));
        assert_eq!(task.join(), Ok(()));
    });
    until_queued(from, 1);
    assert_eq!(fx().requeue(from, to, 0, 1), Ok(1));
    child.join();
    // Moved by another, woken by us.
    let waiter = Waiter::start(from, 0);
    Child::run(|| assert_eq!(fx().requeue(from, to, 0, 1), Ok(1))).join();
    assert_eq!(fx().wake_all(to), Ok(1));
    waiter.woken();
}

/// Who is moved to a word that it cannot reach sleeps there as well, and can be killed.
fn to_a_page_that_it_has_not() {
    let file = memfd(2 * PAGE);
    let here = Region::shared(&file, 0, PAGE);
    let from = here.word(0);
    let children = [waiting_child(from), waiting_child(from)];
    // The children have only the first page.
    let there = Region::shared(&file, PAGE, PAGE);
    let to = there.word(0);
    assert_eq!(fx().requeue(from, to, 0, 2), Ok(2));
    let [first, second] = children;
    first.kill(Signal::SIGKILL);
    first.status();
    assert_eq!(nr_waiters(to), 1);
    assert_eq!(fx().wake_all(to), Ok(1));
    second.join();
}

/// Nobody is moved, and nobody woken, if one of those to be moved is of another process: its
/// memory could end under the key.
fn of_another_process_to_private() {
    let (shared, own) = (Mapping::shared(PAGE), Mapping::private(PAGE));
    let from = shared.word(0);
    for to in [own.word(0), own.word(0).private(), shared.word(0).private()] {
        check_refused(from, to);
    }
}

/// Likewise, if it would be made to hold a file that it has nothing to do with. Where waiters hold
/// nothing, it is moved.
fn of_another_process_to_another_file() {
    let mounts = [Mount::tmpfs("size=1m"), Mount::tmpfs("size=1m")];
    let file = |mount: &Mount, name| {
        let file = file_in(mount.path(), name, PAGE);
        Region::shared(file, 0, PAGE)
    };
    let [one, same_mount] = ["one", "other"].map(|name| file(&mounts[0], name));
    let other_mount = file(&mounts[1], "one");
    let (shared, memfd) = (Mapping::shared(PAGE), Region::shared(memfd(PAGE), 0, PAGE));
    for (from, to) in [
        (one.word(0), same_mount.word(0)),
        (one.word(0), other_mount.word(0)),
        (one.word(0), shared.word(0)),
        (shared.word(0), one.word(0)),
        (shared.word(0), memfd.word(0)),
    ] {
        if holds_inode() {
            check_refused(from, to);
        } else {
            check_moved(from, to);
        }
    }
    // Through another mapping, it is the same file.
    let again = one.duplicate();
    check_moved(one.word(0), again.word(64));
}

#[track_caller]
fn check_moved(from: Word<'static>, to: Word<'static>) {
    let child = waiting_child(from);
    assert_eq!(fx().requeue_if(from, 0, to, 0, 1), Ok(1));
    assert_eq!([nr_waiters(from), nr_waiters(to)], [0, 1]);
    assert_eq!(fx().wake_all(from), Ok(0));
    assert_eq!(fx().wake_all(to), Ok(1));
    child.join();
}

#[track_caller]
fn check_refused(from: Word<'static>, to: Word<'static>) {
    // Ours, the child's, ours, in this order.
    let first = Waiter::start(from, 0);
    let child = waiting_child(from);
    let last = Waiter::start(from, 0);
    for (nr_wake, nr_move) in [(0, 2), (1, 1), (1, 2), (0, u32::MAX), (1, u32::MAX)] {
        let result = fx().requeue(from, to, nr_wake, nr_move);
        assert_eq!(result, Err(Error::Invalid), "{nr_wake}, {nr_move}");
        assert_eq!([nr_waiters(from), nr_waiters(to)], [3, 0]);
    }
    // The value is looked at before.
    assert_eq!(fx().requeue_if(from, 1, to, 0, 2), Err(Error::Again));
    // It does not matter if the child is not one of those.
    assert_eq!(fx().requeue(from, to, 0, 1), Ok(1));
    assert_eq!(fx().wake_all(to), Ok(1));
    first.woken();
    assert_eq!(fx().requeue(from, to, 1, 1), Ok(2));
    child.join();
    assert_eq!(fx().wake_all(to), Ok(1));
    last.woken();
    assert_eq!([nr_waiters(from), nr_waiters(to)], [0, 0]);
}
