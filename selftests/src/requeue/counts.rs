// SPDX-License-Identifier: GPL-2.0
//! How many are woken and moved, which ones, and on what condition.

use crate::harness::{BOTH, Mapping, PAGE, Service, Sleeper, Waiter, errno, futex, fx, nr_waiters};
use nix::errno::Errno;
use rfutex::raw::uapi::RFUTEX_MASK_ANY;
use rfutex::{Error, WaitOptions, Word};
use std::sync::atomic::{AtomicU32, Ordering};

trials![
    woken_and_moved,
    extremes,
    compare,
    compare_every_size,
    word_not_there_yet,
    first_come_first_moved,
    behind_those_who_wait_there,
    masks,
    onto_itself,
    two_mappings_of_one_word,
    round_the_table,
];

/// Two words of `map`, shared and private.
fn words(map: &Mapping) -> [[Word<'static>; 2]; 2] {
    let words = [map.word(0), map.word(64)];
    [words, words.map(Word::private)]
}

fn woken_and_moved() {
    let map = Mapping::shared(PAGE);
    for service in BOTH {
        for [from, to] in words(&map) {
            // With (3, 1), just one is left to be moved.
            for (nr_wake, nr_move) in [
                (0, 0),
                (1, 0),
                (0, 1),
                (1, 2),
                (3, 1),
                (2, 9),
                (4, 1),
                (9, 1),
            ] {
                let sleepers = service.sleepers::<4>(from);
                let woken = nr_wake.min(4);
                let moved = nr_move.min(4 - woken);
                let what = format!("{service:?}, {nr_wake}, {nr_move}");
                let result = service.requeue(from, None, to, [nr_wake, nr_move]);
                assert_eq!(result, Ok(woken + moved), "{what}");
                assert_eq!(service.wake(to, u32::MAX), Ok(moved), "{what}");
                assert_eq!(
                    service.wake(from, u32::MAX),
                    Ok(4 - woken - moved),
                    "{what}"
                );
                sleepers.into_iter().for_each(Sleeper::woken);
                // And with nobody there.
                assert_eq!(service.requeue(from, None, to, [nr_wake, nr_move]), Ok(0));
            }
        }
    }
}

/// Any number is right, and none of them is negative (CVE-2018-6927). futex(2), of which they are
/// signed, has forbidden negative ones since.
fn extremes() {
    let map = Mapping::private(PAGE);
    let [from, to] = [map.word(0), map.word(64)];
    let numbers = [0, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX];
    for nr_wake in numbers {
        for nr_move in numbers {
            let waiters = [(); 2].map(|()| Waiter::start(from, 0));
            let all = if nr_wake == 0 && nr_move == 0 { 0 } else { 2 };
            assert_eq!(fx().requeue(from, to, nr_wake, nr_move), Ok(all));
            let moved = if nr_wake == 0 { all } else { 0 };
            assert_eq!(nr_waiters(to), moved, "{nr_wake:#x}, {nr_move:#x}");
            assert_eq!(fx().wake_all(to), Ok(moved));
            assert_eq!(fx().wake_all(from), Ok(2 - all));
            waiters.into_iter().for_each(Waiter::woken);

            let nrs = [nr_wake as i32, nr_move as i32];
            let theirs = futex::requeue([from.addr(), to.addr()], None, nrs, false);
            let negative = nrs.iter().any(|nr| *nr < 0);
            assert_eq!(theirs, if negative { Err(Errno::EINVAL) } else { Ok(0) });
        }
    }
}

/// Nothing happens if the first word has another value; of the other, it does not matter.
fn compare() {
    let map = Mapping::shared(PAGE);
    for service in BOTH {
        for [from, to] in words(&map) {
            for (here, there) in [(7, 0), (u32::MAX, 7), (0, u32::MAX)] {
                map.atomic::<AtomicU32>(0).store(here, Ordering::SeqCst);
                map.atomic::<AtomicU32>(64).store(there, Ordering::SeqCst);
                let sleepers = [(); 3].map(|()| service.sleeper(from, here));
                for other in [here ^ 1, here ^ 1 << 31, there] {
                    assert_eq!(
                        service.requeue(from, Some(other), to, [1, 1]),
                        Err(libc::EAGAIN)
                    );
                }
                assert_eq!(service.wake(to, u32::MAX), Ok(0), "nobody was moved");
                assert_eq!(service.requeue(from, Some(here), to, [0, 1]), Ok(1));
                assert_eq!(service.wake(to, u32::MAX), Ok(1));
                // Without the comparison no value matters.
                map.atomic::<AtomicU32>(0).store(!here, Ordering::SeqCst);
                assert_eq!(service.requeue(from, None, to, [1, 1]), Ok(2));
                assert_eq!(service.wake(to, u32::MAX), Ok(1));
                sleepers.into_iter().for_each(Sleeper::woken);
            }
        }
    }
}

fn compare_every_size() {
    let map = Mapping::private(PAGE);
    let to = map.sized_word(64, 8);
    for size in [1_u32, 2, 4, 8] {
        for word in [map.sized_word(8, size), map.sized_word(8, size).private()] {
            let value = 0x8192_a3b4_c5d6_e7f8 & (u64::MAX >> (64 - 8 * size));
            // What is beside the word is another value.
            map.write(0, &[0x5a; 32]);
            map.write(8, &value.to_ne_bytes()[..size as usize]);
            assert_eq!(fx().requeue_if(word, value, to, 1, 1), Ok(0));
            for bit in 0..8 * size {
                let other = value ^ 1 << bit;
                let result = fx().requeue_if(word, other, to, 1, 1);
                assert_eq!(result, Err(Error::Again), "bit {bit} of {size} bytes");
            }
        }
    }
}

/// A private word is read without its page being looked for, so the read is what brings it.
fn word_not_there_yet() {
    let map = Mapping::private(2 * PAGE);
    let [from, to] = [map.word(0), map.word(PAGE)].map(Word::private);
    assert_eq!(fx().requeue_if(from, 1, to, 1, 1), Err(Error::Again));
    let map = Mapping::private(2 * PAGE);
    let [from, to] = [map.word(0), map.word(PAGE)].map(Word::private);
    assert_eq!(fx().requeue_if(from, 0, to, 1, 1), Ok(0));
}

/// The first are woken, the next are moved, and both in their order.
fn first_come_first_moved() {
    let map = Mapping::shared(PAGE);
    for service in BOTH {
        for [from, to] in words(&map) {
            let mut on_from: Vec<_> = (0..6)
                .map(|name| (name, service.sleeper(from, 0)))
                .collect();
            assert_eq!(
                service.requeue(from, None, to, [1, 3]),
                Ok(4),
                "{service:?}"
            );
            on_from.remove(0).1.woken();
            let mut on_to: Vec<_> = on_from.drain(..3).collect();
            for expected in [1, 2, 3] {
                assert_eq!(service.wake_one_of(to, &mut on_to), expected, "{service:?}");
            }
            for expected in [4, 5] {
                assert_eq!(
                    service.wake_one_of(from, &mut on_from),
                    expected,
                    "{service:?}"
                );
            }
        }
    }
}

/// Who was there is ahead of who is moved there, whichever came first to its word.
fn behind_those_who_wait_there() {
    let map = Mapping::shared(PAGE);
    for [from, to] in words(&map) {
        let service = Service::Ours;
        let mut sleepers: Vec<_> = [(0, from), (1, to), (2, from), (3, to), (4, from)]
            .map(|(name, word)| (name, service.sleeper(word, 0)))
            .into();
        assert_eq!(fx().requeue(from, to, 0, 2), Ok(2));
        // Somebody who comes later is behind the moved ones.
        sleepers.push((5, service.sleeper(to, 0)));
        for expected in [1, 3, 0, 2, 5] {
            assert_eq!(service.wake_one_of(to, &mut sleepers), expected);
        }
        assert_eq!(service.wake_one_of(from, &mut sleepers), 4);
    }
}

/// They do not matter to the requeue, and are kept.
fn masks() {
    let map = Mapping::private(PAGE);
    let [from, to] = [map.word(0), map.word(64)];
    let [low, middle, high] = [1, 1 << 32, 1 << 63]
        .map(|mask| Waiter::start_with(from, 0, WaitOptions::default().mask(mask)));
    assert_eq!(fx().requeue(from, to, 1, u32::MAX), Ok(3));
    low.woken();
    assert_eq!(fx().wake(to, u32::MAX, 1), Ok(0));
    assert_eq!(fx().wake(to, u32::MAX, 1 << 63), Ok(1));
    high.woken();
    assert_eq!(fx().wake(to, u32::MAX, RFUTEX_MASK_ANY), Ok(1));
    middle.woken();
}

/// The moved are counted, and stay where they are.
fn check_onto_itself(service: Service, word: Word<'static>, again: Word<'static>) {
    let mut sleepers: Vec<_> = (0..5)
        .map(|name| (name, service.sleeper(word, 0)))
        .collect();
    assert_eq!(
        service.requeue(word, None, again, [1, 2]),
        Ok(3),
        "{service:?}"
    );
    sleepers.remove(0).1.woken();
    assert_eq!(service.requeue(word, Some(0), again, [0, u32::MAX]), Ok(4));
    assert_eq!(
        service.requeue(again, Some(1), word, [0, 1]),
        Err(libc::EAGAIN)
    );
    for expected in [1, 2, 3, 4] {
        let word = if expected % 2 == 0 { word } else { again };
        assert_eq!(
            service.wake_one_of(word, &mut sleepers),
            expected,
            "{service:?}"
        );
    }
}

fn onto_itself() {
    for map in [Mapping::private(PAGE), Mapping::shared(PAGE)] {
        for word in [map.word(8), map.word(8).private()] {
            for service in BOTH {
                check_onto_itself(service, word, word);
            }
        }
    }
}

fn two_mappings_of_one_word() {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(PAGE as u64).expect("a page");
    let [one, two] = [0; 2].map(|_| Mapping::shared_file(&file, PAGE));
    for service in BOTH {
        check_onto_itself(service, one.word(8), two.word(8));
    }
    // By address they are two.
    let [from, to] = [one.word(8), two.word(8)].map(Word::private);
    let waiter = Waiter::start(from, 0);
    assert_eq!(fx().requeue(from, to, 0, 1), Ok(1));
    assert_eq!([nr_waiters(from), nr_waiters(to)], [0, 1]);
    assert_eq!(fx().wake_all(to), Ok(1));
    waiter.woken();
}

/// From word to word, of which some queue in one place: so that each pair of places is met that
/// there can be, the same one twice included, in a small table; of a large one it meets some.
fn round_the_table() {
    let buckets = fx().query().expect("query").nr_buckets.min(512) as usize;
    let map = Mapping::private((buckets * 32).max(PAGE));
    let words: Vec<_> = (0..buckets * 4)
        .map(|at| map.word(at * 8).private())
        .collect();
    let other = map.word(4).private();
    let (waiters, stays) = (
        [(); 3].map(|()| Waiter::start(words[0], 0)),
        Waiter::start(other, 0),
    );
    for pair in words.windows(2) {
        assert_eq!(fx().requeue(pair[0], pair[1], 0, 3), Ok(3));
        assert_eq!(errno(fx().requeue(pair[0], other, 1, 1)), 0);
    }
    let last = words[words.len() - 1];
    assert_eq!(
        [nr_waiters(words[0]), nr_waiters(last), nr_waiters(other)],
        [0, 3, 1]
    );
    assert_eq!(fx().wake_all(last), Ok(3));
    assert_eq!(fx().wake_all(other), Ok(1));
    waiters.into_iter().for_each(Waiter::woken);
    stays.woken();
}
