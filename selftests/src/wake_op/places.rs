// SPDX-License-Identifier: GPL-2.0
//! Where the two words may be, and how many are woken on each.

use super::{change, target};
use crate::harness::{
    Child, Fault, Mapping, PAGE, Service, Sleeper, Waiter, can_update, fx, nr_waiters, until_queued,
};
use crate::memory::{EachKind, Region, RegionWord, memfd};
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex::{Compare, Error, Op, WaitOptions, Word};
use std::sync::atomic::{AtomicU32, Ordering};

trials![
    counts,
    one_word,
    every_pair_of_kinds,
    processes,
    read_only_target,
    read_only_word,
    not_there_yet,
    copied_on_write,
    masks_do_not_matter;
    lab: faults,
];

const TRUE: Compare = Compare::Equal(0);
const FALSE: Compare = Compare::NotEqual(0);

fn counts() {
    let map = Mapping::shared(PAGE);
    let both = [map.word(0), map.word(64)];
    for [word, other] in [both, both.map(Word::private)] {
        for (nr, nr_target) in [(0, 0), (1, 0), (2, 1), (1, 9), (u32::MAX, 1 << 31)] {
            for compare in [TRUE, FALSE] {
                let on_word = Service::Ours.sleepers::<2>(word);
                let on_target = Service::Ours.sleepers::<2>(other);
                let here = nr.min(2);
                let there = if compare == TRUE { nr_target.min(2) } else { 0 };
                let woken = fx().wake_op(word, nr, target(other), nr_target, Op::Or(0), compare);
                assert_eq!(woken, Ok(here + there), "{nr}, {nr_target}, {compare:?}");
                assert_eq!(nr_waiters(word), 2 - here);
                assert_eq!(nr_waiters(other), 2 - there);
                assert_eq!(fx().wake_all(word), Ok(2 - here));
                assert_eq!(fx().wake_all(other), Ok(2 - there));
                on_word
                    .into_iter()
                    .chain(on_target)
                    .for_each(Sleeper::woken);
            }
        }
    }
}

/// Both words are one: it is woken on twice.
fn one_word() {
    let file = memfd(PAGE);
    let [one, two] = [(); 2].map(|()| Region::shared(&file, 0, PAGE));
    for [word, again] in [
        [one.word(0), one.word(0)],
        [one.word(0), two.word(0)],
        [one.word(0).private(), one.word(0).private()],
    ] {
        let mut sleepers: Vec<_> = (0..5)
            .map(|name| (name, Service::Ours.sleeper(word, 0)))
            .collect();
        let woken = fx().wake_op(word, 1, target(again), 2, Op::Set(0), TRUE);
        assert_eq!(woken, Ok(3));
        sleepers.drain(..3).for_each(|(_, sleeper)| sleeper.woken());
        let woken = fx().wake_op(word, 1, target(again), 9, Op::Set(0), FALSE);
        assert_eq!(woken, Ok(1));
        sleepers.remove(0).1.woken();
        assert_eq!(Service::Ours.wake_one_of(again, &mut sleepers), 4);
    }
}

fn every_pair_of_kinds() {
    let memory = EachKind::new();
    let words = memory.words();
    for word in &words {
        for other in words.iter().filter(|word| can_update(word.size())) {
            let [on_word, on_target] = [word, other].map(|word| Waiter::start(*word, 0));
            let woken = fx().wake_op(*word, 1, target(*other), 1, Op::Xor(0), TRUE);
            assert_eq!(woken, Ok(2), "{word:?}, {other:?}");
            on_word.woken();
            on_target.woken();
        }
    }
}

fn processes() {
    let (one, other) = (Mapping::shared(PAGE), Mapping::shared(PAGE));
    let child = Child::run(|| {
        assert_eq!(fx().wait(one.word(0), 0), Ok(()));
        // What the call changed is seen.
        assert_eq!(other.atomic::<AtomicU32>(8).load(Ordering::SeqCst), 5);
        assert_eq!(fx().wait(other.word(8), 5), Ok(()));
    });
    until_queued(one.word(0), 1);
    let woken = fx().wake_op(one.word(0), 1, target(other.word(8)), 1, Op::Add(5), TRUE);
    assert_eq!(woken, Ok(1));
    until_queued(other.word(8), 1);
    let woken = fx().wake_op(
        one.word(0),
        1,
        target(other.word(8)),
        1,
        Op::Add(1),
        Compare::Equal(5),
    );
    assert_eq!(woken, Ok(1));
    child.join();
}

/// Nobody is woken, neither there nor on the other word.
fn read_only_target() {
    let word = Mapping::private(PAGE);
    let file = memfd(PAGE);
    for prot in [ProtFlags::PROT_READ, ProtFlags::PROT_NONE] {
        let anonymous = Mapping::private(PAGE);
        anonymous.write(0, &[0; 8]);
        anonymous.protect(prot);
        let untouched = Mapping::anonymous(PAGE, prot, MapFlags::MAP_PRIVATE);
        let shared = Mapping::shared(PAGE);
        shared.write(0, &[0; 8]);
        shared.protect(prot);
        let mapped = [MapFlags::MAP_SHARED, MapFlags::MAP_PRIVATE]
            .map(|flags| Mapping::file(&file, 0, PAGE, prot, flags));
        for map in [&anonymous, &untouched, &shared].into_iter().chain(&mapped) {
            let waiter = Waiter::start(word.word(0), 0);
            for other in [map.word(0), map.word(0).private()] {
                let result = fx().wake_op(word.word(0), 1, target(other), 1, Op::Set(1), FALSE);
                assert_eq!(result, Err(Error::Fault), "{other:?}, {prot:?}");
                assert_eq!(nr_waiters(word.word(0)), 1);
            }
            assert_eq!(fx().wake_one(word.word(0)), Ok(1));
            waiter.woken();
        }
    }
    assert_eq!(Mapping::shared_file(&file, PAGE).read(0, 8), [0; 8]);
}

/// The first word is not written to, nor read.
fn read_only_word() {
    let file = memfd(PAGE);
    let [shared, writable] = [(); 2].map(|()| Mapping::shared_file(&file, PAGE));
    shared.protect(ProtFlags::PROT_READ);
    let waiter = Waiter::start(writable.word(0), 0);
    let woken = fx().wake_op(
        shared.word(0),
        1,
        target(writable.word(0)),
        1,
        Op::Set(1),
        FALSE,
    );
    assert_eq!(woken, Ok(1));
    waiter.woken();
    assert_eq!(shared.atomic::<AtomicU32>(0).load(Ordering::SeqCst), 1);
    // Private, there need not be anything.
    let hole = Mapping::nothing(PAGE);
    let woken = fx().wake_op(
        hole.word(0).private(),
        1,
        target(writable.word(8)),
        1,
        Op::Set(1),
        TRUE,
    );
    assert_eq!(woken, Ok(0));
    let woken = fx().wake_op(
        hole.word(0),
        1,
        target(writable.word(8)),
        1,
        Op::Set(2),
        TRUE,
    );
    assert_eq!(woken, Err(Error::Fault));
    assert_eq!(writable.atomic::<AtomicU32>(8).load(Ordering::SeqCst), 1);
}

/// The page comes in as for any write.
fn not_there_yet() {
    let file = memfd(2 * PAGE);
    let read_then = |map: &Mapping| assert_eq!(map.read(0, 1), [0]);
    for private in [false, true] {
        let maps = || {
            vec![
                Mapping::private(PAGE),
                Mapping::shared(PAGE),
                Mapping::shared_file(&file, PAGE),
                Mapping::file(
                    &file,
                    0,
                    PAGE,
                    ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                    MapFlags::MAP_PRIVATE,
                ),
            ]
        };
        for touched in [false, true] {
            for map in maps() {
                if touched {
                    // The zero page, or the file's page without the right to write.
                    read_then(&map);
                }
                let word = map.word(16);
                let word = if private { word.private() } else { word };
                let result = fx().wake_op(word, 1, target(word), 1, Op::Add(3), TRUE);
                assert_eq!(result, Ok(0));
                assert_eq!(map.atomic::<AtomicU32>(16).load(Ordering::SeqCst), 3);
                map.atomic::<AtomicU32>(16).store(0, Ordering::SeqCst);
            }
        }
    }
}

/// After a fork the page is a copy from the first change on, and the other process keeps its own.
fn copied_on_write() {
    let map = Mapping::private(PAGE);
    map.atomic::<AtomicU32>(0).store(1, Ordering::SeqCst);
    for word in [map.word(0), map.word(0).private()] {
        let before = map.atomic::<AtomicU32>(0).load(Ordering::SeqCst);
        Child::run(|| {
            assert_eq!(change(word, Op::Add(10)), Ok(0));
            assert_eq!(
                map.atomic::<AtomicU32>(0).load(Ordering::SeqCst),
                before + 10
            );
        })
        .join();
        assert_eq!(map.atomic::<AtomicU32>(0).load(Ordering::SeqCst), before);
        Child::run(|| assert_eq!(change(word, Op::Set(7)), Ok(0))).join();
        assert_eq!(change(word, Op::Add(1)), Ok(0));
        assert_eq!(
            map.atomic::<AtomicU32>(0).load(Ordering::SeqCst),
            before + 1
        );
    }
}

/// It wakes whatever mask one waits with.
fn masks_do_not_matter() {
    let map = Mapping::private(PAGE);
    let waiters = [(0, 1), (0, 1 << 63), (64, 2)]
        .map(|(at, mask)| Waiter::start_with(map.word(at), 0, WaitOptions::default().mask(mask)));
    let woken = fx().wake_op(map.word(0), 2, target(map.word(64)), 1, Op::Set(1), TRUE);
    assert_eq!(woken, Ok(3));
    waiters.into_iter().for_each(Waiter::woken);
}

/// The change is made once, however often it has to be tried.
fn faults() {
    let region = Region::shared(memfd(PAGE), 0, PAGE);
    for point in ["read-word", "mapping-changed", "host-gone", "no-mapping"] {
        region.word(0).store(0);
        let [on_word, on_target] = [64, 0].map(|at| Waiter::start(region.word(at), 0));
        let fault = Fault::arm(point, 3);
        let woken = fx().wake_op(
            region.word(64),
            1,
            target(region.word(0)),
            1,
            Op::Add(1),
            TRUE,
        );
        assert_eq!(woken, Ok(2), "{point}");
        assert_eq!(fault.left(), 0, "{point}");
        assert_eq!(region.word(0).load(), 1, "{point}");
        on_word.woken();
        on_target.woken();
    }
}
