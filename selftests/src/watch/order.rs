// SPDX-License-Identifier: GPL-2.0
//! Watches among the threads that wait on the same word.

use super::{add, add_repeat, counts, set};
use crate::harness::{Child, Mapping, PAGE, Waiter, fx, holds_inode, nr_waiters};
use crate::memory::memfd;
use rfutex::raw::uapi::RFUTEX_EVENT_MOVED;
use rfutex::{Compare, Error, Op, Target, WakeEntry, Word};
use std::sync::atomic::AtomicU32;

trials![
    first_come,
    repeat_takes_turns,
    met_once,
    wake_op_on_one_word,
    wake_each,
    wake_each_on_one_word,
    swap,
    requeue,
    requeue_repeat,
    requeue_of_strangers,
];

fn first_come() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let word = map.word(0);
    add(&set, word, 1);
    let first = Waiter::start(word, 0);
    add(&set, word, 2);
    let second = Waiter::start(word, 0);
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(counts(&set), [(1, 1)]);
    assert_eq!(fx().wake_one(word), Ok(1));
    first.woken();
    assert_eq!(counts(&set), []);
    assert_eq!(fx().wake(word, 2, u64::MAX), Ok(2));
    second.woken();
    assert_eq!(counts(&set), [(2, 1)]);
}

fn repeat_takes_turns() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let word = map.word(0);
    add_repeat(&set, word, 1);
    let thread = Waiter::start(word, 0);
    add_repeat(&set, word, 2);
    let mut woken = vec![];
    for _ in 0..5 {
        assert_eq!(fx().wake_one(word), Ok(1));
        woken.push(counts(&set));
    }
    thread.woken();
    let one = |cookie| vec![(cookie, 1)];
    assert_eq!(woken, [one(1), vec![], one(2), one(1), one(2)]);
}

fn met_once() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let word = map.word(0);
    for cookie in 0..4 {
        add_repeat(&set, word, cookie);
    }
    for nr in [4, 5, u32::MAX] {
        assert_eq!(fx().wake(word, nr, u64::MAX), Ok(4));
        assert_eq!(counts(&set), [(0, 1), (1, 1), (2, 1), (3, 1)]);
    }
    // Those that were met are behind the others.
    assert_eq!(fx().wake(word, 2, u64::MAX), Ok(2));
    assert_eq!(counts(&set), [(0, 1), (1, 1)]);
    assert_eq!(fx().wake(word, 3, u64::MAX), Ok(3));
    assert_eq!(counts(&set), [(2, 1), (3, 1), (0, 1)]);
    assert_eq!(nr_waiters(word), 4);
}

fn wake_op_on_one_word() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let word = map.word(0);
    add_repeat(&set, word, 1);
    add(&set, word, 2);
    let target = Target::new(map.atomic::<AtomicU32>(0));
    let wake =
        |nr, nr_target| fx().wake_op(word, nr, target, nr_target, Op::Or(0), Compare::Equal(0));
    assert_eq!(wake(1, 9), Ok(2));
    assert_eq!(counts(&set), [(1, 1), (2, 1)]);
    assert_eq!(wake(9, 9), Ok(1));
    assert_eq!(counts(&set), [(1, 1)]);
}

fn wake_each() {
    let map = Mapping::shared(PAGE);
    let private = Mapping::private(PAGE);
    let set = set();
    let words = [
        map.word(0),
        private.word(0),
        private.word(0).private(),
        map.word(64),
    ];
    let threads = words.map(|word| [Waiter::start(word, 0), Waiter::start(word, 0)]);
    for (cookie, word) in words.iter().enumerate() {
        add(&set, *word, cookie as u64);
    }
    let entries = [2, 3, 0, 9].into_iter().zip(words);
    let entries: Vec<_> = entries.map(|(nr, word)| WakeEntry::new(word, nr)).collect();
    let mut results = [7; 4];
    assert_eq!(fx().wake_each(&entries, &mut results), Ok(8));
    assert_eq!(results, [2, 3, 0, 3]);
    assert_eq!(counts(&set), [(1, 1), (3, 1)]);
    assert_eq!(fx().wake_all(words[0]), Ok(1));
    assert_eq!(fx().wake_all(words[2]), Ok(3));
    threads.into_iter().flatten().for_each(Waiter::woken);
    // Nobody is woken if there is an error, not even on the words before it.
    add(&set, words[0], 9);
    let bad = [
        WakeEntry::new(words[0], 1),
        WakeEntry::new(Word::at(0, 4), 1),
    ];
    assert_eq!(fx().wake_each(&bad, &mut [0; 2]), Err(Error::Fault));
    let bad = [
        WakeEntry::new(words[0], 1),
        WakeEntry::new(words[3], 1).mask(0),
    ];
    assert_eq!(fx().wake_each(&bad, &mut [0; 2]), Err(Error::Invalid));
    assert_eq!(fx().wake_each(&[], &mut []), Err(Error::Invalid));
    assert_eq!(nr_waiters(words[0]), 1);
}

fn wake_each_on_one_word() {
    let file = memfd(PAGE);
    let maps = [(); 2].map(|()| Mapping::shared_file(&file, PAGE));
    let set = set();
    let [word, again] = maps.each_ref().map(|map| map.word(0));
    add_repeat(&set, word, 1);
    add_repeat(&set, word, 2);
    let entries = [(word, 1), (again, 9), (word, 9)].map(|(word, nr)| WakeEntry::new(word, nr));
    let mut results = [0; 3];
    assert_eq!(fx().wake_each(&entries, &mut results), Ok(2));
    assert_eq!(results, [1, 1, 0]);
    assert_eq!(counts(&set), [(1, 1), (2, 1)]);
}

fn swap() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let [word, other] = [map.word(0), map.word(64)];
    for (id, woken) in [(add(&set, other, 1), 1), (add_repeat(&set, other, 2), 1)] {
        let options = rfutex::WaitOptions::default().within(std::time::Duration::ZERO);
        let result = fx().swap_with(word, 0, other, options);
        assert_eq!(result, Err(Error::TimedOut));
        assert_eq!(counts(&set).len(), woken);
        let _ = set.remove(id);
    }
    assert_eq!(nr_waiters(word), 0);
}

fn requeue() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let [from, to] = [map.word(0), map.word(64)];
    let id = add(&set, from, 1);
    add(&set, from, 2);
    add(&set, to, 3);
    assert_eq!(fx().requeue(from, to, 1, 9), Ok(2));
    assert_eq!(counts(&set), [(1, 1)]);
    assert_eq!(set.remove(id), Ok(None));
    assert_eq!(fx().wake_all(from), Ok(0));
    assert_eq!(fx().wake_all(to), Ok(2));
    assert_eq!(counts(&set), [(3, 1), (2, 1)]);
}

fn requeue_repeat() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let [from, to] = [map.word(0), map.word(64)];
    let id = add_repeat(&set, from, 1);
    let thread = Waiter::start(from, 0);
    // It is counted as moved, once, and stays.
    assert_eq!(fx().requeue(from, to, 0, u32::MAX), Ok(2));
    assert_eq!([nr_waiters(from), nr_waiters(to)], [1, 1]);
    let [event] = super::events(&set)[..] else {
        panic!("one event");
    };
    assert_eq!(
        (event.woken, event.moved, event.what),
        (0, 1, RFUTEX_EVENT_MOVED)
    );
    // To its own word it is not moved, so there is nothing to tell.
    assert_eq!(fx().requeue(from, from, 0, u32::MAX), Ok(1));
    assert_eq!(counts(&set), []);
    // One that is woken is not moved as well.
    assert_eq!(fx().requeue(from, to, 1, u32::MAX), Ok(1));
    assert_eq!(counts(&set), [(1, 1)]);
    assert_eq!(fx().wake_all(to), Ok(1));
    thread.woken();
    assert_eq!(set.remove(id), Ok(Some(0)));
}

/// A watch of another process holds nothing, so it may be moved to another file, but not to a word
/// on which only this process can wake it.
fn requeue_of_strangers() {
    let [from, to] = [(); 2].map(|()| Mapping::shared_file(memfd(PAGE), PAGE));
    let private = Mapping::private(PAGE);
    let set = set();
    Child::run(|| {
        add(&set, from.word(0), 1);
    })
    .join();
    for word in [private.word(0), private.word(0).private()] {
        assert_eq!(fx().requeue(from.word(0), word, 0, 1), Err(Error::Invalid));
    }
    assert_eq!(fx().requeue(from.word(0), to.word(0), 0, 1), Ok(1));
    let child = Child::run(|| {
        let _ = fx().wait(from.word(0), 0);
    });
    crate::harness::until_queued(from.word(0), 1);
    let result = fx().requeue(from.word(0), to.word(0), 0, 1);
    let moved = u32::from(result == Ok(1));
    assert_eq!(
        result,
        if holds_inode() {
            Err(Error::Invalid)
        } else {
            Ok(1)
        }
    );
    assert_eq!(fx().wake_all(to.word(0)), Ok(1 + moved));
    assert_eq!(fx().wake_all(from.word(0)), Ok(1 - moved));
    child.join();
    assert_eq!(counts(&set), [(1, 1)]);
}
