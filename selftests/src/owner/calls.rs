// SPDX-License-Identifier: GPL-2.0
//! The calls that can name an owner, and what else may end them.

use super::{Place, living, nobody, owned, process, thread, waiter};
use crate::harness::{
    Child, Handler, Task, Waiter, fx, nr_waiters, signal_thread, until, until_queued,
};
use nix::sys::signal::{SaFlags, Signal};
use nix::unistd::{getpid, gettid};
use rfutex::raw::{self, uapi};
use rfutex::{Error, Owner, Rfutex, WaitEnd, WaitEntry, Word};
use std::os::fd::AsFd;
use std::time::Duration;

trials![
    woken,
    deadline,
    interrupted,
    all_sizes,
    moved,
    swap_has_woken,
    swap_with_oneself,
    any_of_several,
    any_of_many_owners,
    any_with_one_owner,
    any_and_a_wake,
    not_in_a_request,
];

/// An owner that has ended.
fn ended() -> Owner {
    let child = Child::run(|| ());
    let pid = child.pid();
    child.join();
    process(pid)
}

fn woken() {
    let place = Place::new();
    let child = living(&place);
    for owner in [process(child.pid()), thread(child.pid())] {
        let task = waiter(place.word(), owner);
        assert_eq!(fx().wake_one(place.word()), Ok(1));
        assert_eq!(task.join(), Ok(()));
    }
    place.set(0);
    child.join();
}

fn deadline() {
    let place = Place::new();
    let child = living(&place);
    for owner in [process(child.pid()), thread(child.pid())] {
        let options = owned(owner).within(Duration::from_millis(20));
        let result = fx().wait_with(place.word(), 0, options);
        assert_eq!(result, Err(Error::TimedOut));
    }
    // The end of the owner comes before a deadline that has passed.
    let options = owned(ended()).within(Duration::ZERO);
    assert_eq!(
        fx().wait_with(place.word(), 0, options),
        Err(Error::OwnerEnded)
    );
    place.set(0);
    child.join();
    nobody(place.word());
}

fn interrupted() {
    for flags in [SaFlags::SA_RESTART, SaFlags::empty()] {
        let handler = Handler::counting(Signal::SIGUSR1, flags);
        let place = Place::new();
        let child = living(&place);
        let task = waiter(place.word(), process(child.pid()));
        signal_thread(task.tid(), Signal::SIGUSR1);
        until("the handler runs", || handler.count() == 1);
        if flags.contains(SaFlags::SA_RESTART) {
            until_queued(place.word(), 1);
            place.set(0);
            assert_eq!(task.join(), Err(Error::OwnerEnded));
        } else {
            assert_eq!(task.join(), Err(Error::Interrupted));
            place.set(0);
        }
        child.join();
    }
}

fn all_sizes() {
    for size in [1, 2, 4, 8] {
        let place = Place::new();
        let child = living(&place);
        let word = place.map.sized_word(0, size);
        let task = waiter(word, process(child.pid()));
        child.kill(Signal::SIGKILL);
        assert_eq!(task.join(), Err(Error::OwnerEnded));
        child.status();
    }
}

/// A waiter that was moved to another word leaves that one.
fn moved() {
    let place = Place::new();
    let child = living(&place);
    let (from, to) = (place.word(), place.map.word(32));
    let task = waiter(from, process(child.pid()));
    assert_eq!(fx().requeue(from, to, 0, 1), Ok(1));
    assert_eq!((nr_waiters(from), nr_waiters(to)), (0, 1));
    place.set(0);
    assert_eq!(task.join(), Err(Error::OwnerEnded));
    assert_eq!(nr_waiters(to), 0);
    child.join();
}

/// The wake has been made, even if the owner had ended before.
fn swap_has_woken() {
    let place = Place::new();
    let wake = place.map.word(32);
    let other = Waiter::start(wake, 0);
    let result = fx().swap_with(place.word(), 0, wake, owned(ended()));
    assert_eq!(result, Err(Error::OwnerEnded));
    other.woken();
    // Not if the word has another value.
    let other = Waiter::start(wake, 0);
    let result = fx().swap_with(place.word(), 1, wake, owned(ended()));
    assert_eq!(result, Err(Error::Again));
    assert_eq!(nr_waiters(wake), 1);
    let child = living(&place);
    let word = place.word();
    let owner = process(child.pid());
    let task = Task::spawn(move || fx().swap_with(word, 0, wake, owned(owner)));
    other.woken();
    until_queued(word, 1);
    child.kill(Signal::SIGKILL);
    assert_eq!(task.join(), Err(Error::OwnerEnded));
    child.status();
}

fn swap_with_oneself() {
    let place = Place::new();
    let wake = place.map.word(32);
    let other = Waiter::start(wake, 0);
    for owner in [thread(gettid()), process(getpid())] {
        let result = fx().swap_with(place.word(), 0, wake, owned(owner));
        assert_eq!(result, Err(Error::Deadlock));
    }
    assert_eq!(nr_waiters(wake), 1);
    assert_eq!(fx().wake_one(wake), Ok(1));
    other.woken();
}

/// Entries for `nr` words of `place`.
fn entries<'a>(words: &[Word<'a>]) -> Vec<WaitEntry<'a>> {
    words.iter().map(|&word| WaitEntry::new(word, 0)).collect()
}

fn words(place: &Place, nr: usize) -> Vec<Word<'static>> {
    (0..nr).map(|i| place.map.word(1024 + 4 * i)).collect()
}

/// The index says whose owner it was.
fn any_of_several() {
    for nr in [3, 20] {
        let place = Place::new();
        let words = words(&place, nr);
        let children = [(); 3].map(|()| living(&place));
        for (dead, child) in children.iter().enumerate() {
            let mut entries = entries(&words);
            for (entry, child) in entries.iter_mut().zip(&children).skip(dead) {
                *entry = entry.owner(process(child.pid()));
            }
            let task = Task::spawn(move || fx().wait_any_or_end(&entries, None));
            until_queued(words[nr - 1], 1);
            child.kill(Signal::SIGKILL);
            assert_eq!(task.join(), Ok(WaitEnd::OwnerEnded(dead)));
            words
                .iter()
                .for_each(|&word| assert_eq!(nr_waiters(word), 0));
        }
        children.into_iter().for_each(|child| {
            child.status();
        });
    }
}

fn any_of_many_owners() {
    let place = Place::new();
    let words = words(&place, 20);
    let children: Vec<_> = (0..9).map(|_| living(&place)).collect();
    let soon = || {
        Some(rfutex::Deadline::after(
            rfutex::Clock::Monotonic,
            Duration::from_millis(1),
        ))
    };
    let mut entries = entries(&words);
    for (entry, child) in entries.iter_mut().zip(&children).take(Rfutex::MAX_OWNERS) {
        *entry = entry.owner(process(child.pid()));
    }
    // The same ones again are no others.
    for (entry, child) in entries[10..].iter_mut().zip(&children).take(8) {
        *entry = entry.owner(process(child.pid()));
    }
    assert_eq!(fx().wait_any(&entries, soon()), Err(Error::TimedOut));
    entries[8] = entries[8].owner(process(children[8].pid()));
    assert_eq!(fx().wait_any(&entries, soon()), Err(Error::Invalid));
    // A thread is another owner than its process.
    entries[8] = WaitEntry::new(words[8], 0).owner(thread(children[0].pid()));
    assert_eq!(fx().wait_any(&entries, soon()), Err(Error::Invalid));
    place.set(0);
    children.into_iter().for_each(Child::join);
}

/// All words have the same owner.
fn any_with_one_owner() {
    let place = Place::new();
    let words = words(&place, 128);
    let child = living(&place);
    let entries: Vec<_> = entries(&words)
        .into_iter()
        .map(|entry| entry.owner(process(child.pid())))
        .collect();
    let again = entries.clone();
    let task = Task::spawn(move || fx().wait_any_or_end(&entries, None));
    until_queued(words[127], 1);
    place.set(0);
    assert_eq!(task.join(), Ok(WaitEnd::OwnerEnded(0)));
    child.join();
    assert_eq!(fx().wait_any(&again, None), Err(Error::OwnerEnded));
    let oneself = WaitEntry::new(words[0], 0).owner(process(getpid()));
    assert_eq!(fx().wait_any(&[oneself], None), Err(Error::Deadlock));
    let other = WaitEntry::new(words[0], 1).owner(process(getpid()));
    assert_eq!(fx().wait_any(&[other], None), Err(Error::Deadlock));
}

/// A wake counts, whatever has become of the owner.
fn any_and_a_wake() {
    let place = Place::new();
    let words = words(&place, 2);
    let child = living(&place);
    let mut entries = entries(&words);
    entries[0] = entries[0].owner(process(child.pid()));
    let task = Task::spawn(move || fx().wait_any_or_end(&entries, None));
    until_queued(words[1], 1);
    assert_eq!(fx().wake_one(words[1]), Ok(1));
    assert_eq!(task.join(), Ok(WaitEnd::Woken(1)));
    place.set(0);
    child.join();
}

/// An older program's structs have no owner.
fn not_in_a_request() {
    let place = Place::new();
    let mut wait = uapi::rfutex_wait {
        word: place.word().into(),
        val: 1,
        mask: 1,
        flags: uapi::RFUTEX_OWNER_PROCESS,
        owner: 1,
        ..Default::default()
    };
    let mut call = |len: usize| {
        let bytes = &mut raw::bytes_of_mut(&mut wait)[..len];
        // SAFETY: The command writes nothing.
        unsafe { raw::call_bytes(fx().as_fd(), uapi::RFUTEX_WAIT, bytes) }
    };
    assert_eq!(call(64), Err(Error::Again));
    assert_eq!(call(56), Err(Error::Again));
    assert_eq!(call(52), Err(Error::Invalid));
}
