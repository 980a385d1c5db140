// SPDX-License-Identifier: GPL-2.0
//! Real-time tasks: woken and moved by priority, then first come, first served. As futex(2) does,
//! which is asked too.

pub mod latency;

use crate::harness::{
    BOTH, Mapping, PAGE, Service, Sleeper, Task, Waiter, fx, nr_waiters, set_deadline,
    set_priority, set_priority_of, until_queued,
};
use crate::wake_op::target;
use rfutex::{Compare, Op, Word};

trials![
    wake,
    requeue,
    requeue_onto_itself,
    wake_op,
    swap,
    as_it_was_when_it_began,
    deadlines,
];

/// Threads of these priorities that wait on `word`, in this order; named by their places.
fn sleepers(
    service: Service,
    word: Word<'static>,
    priorities: impl IntoIterator<Item = (usize, i32)>,
) -> Vec<(usize, Sleeper)> {
    priorities
        .into_iter()
        .map(|(name, priority)| {
            let sleeper = service.sleeper_after(word, 0, move || set_priority(priority));
            (name, sleeper)
        })
        .collect()
}

fn words(map: &Mapping) -> [[Word<'static>; 2]; 2] {
    let words = [map.word(0), map.word(64)];
    [words, words.map(Word::private)]
}

/// Priorities, and in which order a wake finds those who have them.
const PRIORITIES: [i32; 9] = [0, 10, 99, 0, 20, 99, 10, 1, 20];
const ORDER: [usize; 9] = [2, 5, 4, 8, 1, 6, 7, 0, 3];

fn wake() {
    let map = Mapping::shared(PAGE);
    for service in BOTH {
        for [word, _] in words(&map) {
            let mut sleepers = sleepers(service, word, PRIORITIES.into_iter().enumerate());
            for expected in ORDER {
                assert_eq!(
                    service.wake_one_of(word, &mut sleepers),
                    expected,
                    "{service:?}"
                );
            }
        }
    }
}

/// The most urgent are woken, the next are moved, and find their places among those that are there.
fn requeue() {
    let map = Mapping::shared(PAGE);
    for service in BOTH {
        for [from, to] in words(&map) {
            // Of futex(2), words that share a hash bucket keep the order of all that wait there.
            let there = [(10, 0), (11, 20), (12, 10), (13, 50)];
            let mut on_to = sleepers(service, to, there);
            let mut on_from = sleepers(service, from, PRIORITIES.into_iter().enumerate());
            assert_eq!(
                service.requeue(from, None, to, [2, 6]),
                Ok(8),
                "{service:?}"
            );
            for woken in [2, 5] {
                let at = on_from.iter().position(|(name, _)| *name == woken);
                on_from.remove(at.expect("there")).1.woken();
            }
            let at = on_from.iter().position(|(name, _)| *name == 3);
            let stays = on_from.remove(at.expect("there")).1;
            on_to.append(&mut on_from);
            for expected in [13, 11, 4, 8, 12, 1, 6, 7, 10, 0] {
                assert_eq!(service.wake_one_of(to, &mut on_to), expected, "{service:?}");
            }
            assert_eq!(service.wake(from, u32::MAX), Ok(1));
            stays.woken();
        }
    }
}

fn requeue_onto_itself() {
    let map = Mapping::shared(PAGE);
    for service in BOTH {
        for [word, _] in words(&map) {
            let mut sleepers = sleepers(service, word, [(0, 0), (1, 5), (2, 0), (3, 9)]);
            assert_eq!(service.requeue(word, None, word, [0, 3]), Ok(3));
            for expected in [3, 1, 0, 2] {
                assert_eq!(
                    service.wake_one_of(word, &mut sleepers),
                    expected,
                    "{service:?}"
                );
            }
        }
    }
}

fn wake_op() {
    let map = Mapping::private(PAGE);
    let [word, other] = [map.word(0), map.word(64)];
    let mut on_word = sleepers(Service::Ours, word, [(0, 0), (1, 7), (2, 8)]);
    let mut on_target = sleepers(Service::Ours, other, [(0, 3), (1, 0), (2, 4)]);
    let woken = fx().wake_op(word, 2, target(other), 1, Op::Or(0), Compare::Equal(0));
    assert_eq!(woken, Ok(3));
    let [first, second] = [on_word.remove(0), on_target.remove(2)];
    on_word.into_iter().for_each(|(_, sleeper)| sleeper.woken());
    second.1.woken();
    assert_eq!([nr_waiters(word), nr_waiters(other)], [1, 2]);
    assert!(!first.1.is_finished());
    assert_eq!(fx().wake_one(word), Ok(1));
    first.1.woken();
    for expected in [0, 1] {
        assert_eq!(Service::Ours.wake_one_of(other, &mut on_target), expected);
    }
}

/// A caller that is more urgent than those who wait does not wake itself in their place.
fn swap() {
    let map = Mapping::private(PAGE);
    let word = map.word(0);
    let waiters = [(); 2].map(|()| Waiter::start(word, 0));
    let urgent = Task::spawn(move || {
        set_priority(50);
        fx().swap(word, 0, word)
    });
    let [first, second] = waiters;
    first.woken();
    until_queued(word, 2);
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(urgent.join(), Ok(()));
    assert_eq!(fx().wake_one(word), Ok(1));
    second.woken();
}

/// A priority that is given to a sleeping task counts from its next wait on; so it is with
/// futex(2).
fn as_it_was_when_it_began() {
    let map = Mapping::private(PAGE);
    let word = map.word(0);
    for service in BOTH {
        let mut sleepers = sleepers(service, word, [(0, 0), (1, 0), (2, 3)]);
        set_priority_of(sleepers[1].1.tid(), 9);
        for expected in [2, 0, 1] {
            assert_eq!(
                service.wake_one_of(word, &mut sleepers),
                expected,
                "{service:?}"
            );
        }
    }
}

/// One of `SCHED_DEADLINE` goes before all others, whatever its deadline is: first come, first
/// served among its like.
fn deadlines() {
    let map = Mapping::shared(PAGE);
    for service in BOTH {
        let [word, to] = [map.word(0), map.word(64)];
        let mut sleepers: Vec<_> = (0..5)
            .map(|name| {
                let class = move || match name {
                    0 => {}
                    1 => set_priority(99),
                    3 => set_priority(1),
                    _ => set_deadline(),
                };
                (name, service.sleeper_after(word, 0, class))
            })
            .collect();
        assert_eq!(service.wake_one_of(word, &mut sleepers), 2, "{service:?}");
        // Moved, they are in the same order.
        assert_eq!(service.requeue(word, None, to, [0, 4]), Ok(4));
        for expected in [4, 1, 3, 0] {
            assert_eq!(
                service.wake_one_of(to, &mut sleepers),
                expected,
                "{service:?}"
            );
        }
    }
}
