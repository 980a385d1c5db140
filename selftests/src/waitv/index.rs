// SPDX-License-Identifier: GPL-2.0
//! Which word was woken; as futex_waitv(2), which is asked too.

use super::{FEW, MAX, NUMBERS, Waiter, assert_nobody, words, zeros};
use crate::harness::{
    Child, Mapping, PAGE, Task, futex, fx, nr_waiters, set_priority, stay_on, until,
    until_in_syscall, until_queued,
};
use crate::memory::{Region, memfd};
use nix::unistd::getpid;
use rfutex::raw::uapi::RFUTEX_MASK_ANY;
use rfutex::{Error, WaitEntry, Word};

trials![
    each_alone,
    how_many_words,
    kinds_and_sizes,
    masks,
    the_same_word_twice,
    last_of_several,
    not_in_time,
    processes,
    requeued,
    as_futex,
];

fn each_alone() {
    let map = Mapping::shared(PAGE);
    for nr in NUMBERS {
        let words = words(map.addr(), nr);
        for woken in [0, nr / 2, nr - 1] {
            let waiter = Waiter::start(&words);
            assert!(words.iter().all(|word| nr_waiters(*word) == 1));
            assert_eq!(fx().wake(words[woken], 9, RFUTEX_MASK_ANY), Ok(1));
            assert_eq!(waiter.join(), Ok(woken), "of {nr}");
            assert_nobody(&words);
        }
    }
}

fn how_many_words() {
    let map = Mapping::shared(PAGE);
    let words = words(map.addr(), MAX + 1);
    for nr in [0, MAX + 1] {
        let result = fx().wait_any(&zeros(&words[..nr]), None);
        assert_eq!(result, Err(Error::Invalid), "{nr} words");
        let theirs: Vec<_> = words[..nr]
            .iter()
            .map(|word| futex::waitv_entry(word.addr(), 0, false))
            .collect();
        assert_eq!(futex::waitv(&theirs, None), Err(nix::Error::EINVAL));
    }
    assert_nobody(&words);
}

fn kinds_and_sizes() {
    let (private, shared) = (Mapping::private(PAGE), Mapping::shared(PAGE));
    let file = Region::shared(memfd(PAGE), 0, PAGE);
    let mut words: Vec<Word<'static>> = vec![file.word(0), file.word(8).private()];
    for (at, size) in [(0, 1), (16, 2), (32, 4), (48, 8)] {
        for map in [&private, &shared] {
            let word = map.sized_word(at, size);
            words.extend([word, word.private()]);
        }
    }
    for (index, word) in words.iter().enumerate() {
        let waiter = Waiter::start(&words);
        assert_eq!(fx().wake_one(*word), Ok(1), "{word:?}");
        assert_eq!(waiter.join(), Ok(index));
        assert_nobody(&words);
    }
}

/// Each word has one of its own.
fn masks() {
    let map = Mapping::private(PAGE);
    let words = words(map.addr(), 3);
    let masks = [1, 1 << 63, 0b11];
    for (index, mask) in masks.into_iter().enumerate() {
        let entries = words
            .iter()
            .zip(masks)
            .map(|(word, mask)| WaitEntry::new(*word, 0).mask(mask))
            .collect();
        let waiter = Waiter::start_with(&words, entries, None);
        for word in &words {
            assert_eq!(fx().wake(*word, 1, !(1 | 1 << 63 | 0b11)), Ok(0));
        }
        assert_eq!(fx().wake(words[index], 1, !mask), Ok(0));
        assert_eq!(fx().wake(words[index], 1, mask), Ok(1));
        assert_eq!(waiter.join(), Ok(index));
    }
}

/// It counts twice, and is woken first as what came first.
fn the_same_word_twice() {
    let map = Mapping::shared(PAGE);
    for word in [map.word(0), map.word(0).private()] {
        for (nr, index) in [(1, 0), (2, 1), (9, 2)] {
            let words = [word; 3];
            let waiter = Waiter::start(&words);
            assert_eq!(fx().wake(word, nr, RFUTEX_MASK_ANY), Ok(nr.min(3)));
            assert_eq!(waiter.join(), Ok(index));
            assert_nobody(&words);
        }
    }
}

/// The last in the array of those that were woken before it could leave, in whatever order.
fn last_of_several() {
    // All on one processor, where no ordinary thread interrupts a real-time one: what is woken runs
    // when the waker lets it.
    stay_on(0);
    let map = Mapping::shared(PAGE);
    for nr in [4, FEW, MAX] {
        let words = words(map.addr(), nr);
        let shared: Vec<_> = words.iter().map(|word| word.shared()).collect();
        for order in [[0, 1], [1, 0], [nr - 1, 0], [nr - 2, 1]] {
            let last = order[0].max(order[1]);
            let ours = Waiter::start(&words);
            set_priority(1);
            let woken = order.map(|index| fx().wake_one(words[index]));
            set_priority(0);
            assert_eq!(woken, [Ok(1); 2]);
            assert_eq!(ours.join(), Ok(last), "{order:?} of {nr}");

            let theirs = futex_waiter(&shared);
            set_priority(1);
            let woken = order.map(|index| futex::wake(shared[index].addr(), 1, false));
            set_priority(0);
            assert_eq!(woken, [Ok(1); 2]);
            assert_eq!(theirs.join(), Ok(last as u32), "{order:?} of {nr}");
        }
    }
}

/// A thread in futex_waitv(2) on these words, to be zero; asleep when this returns.
fn futex_waiter(words: &[Word<'static>]) -> Task<nix::Result<u32>> {
    let entries: Vec<_> = words
        .iter()
        .map(|word| futex::waitv_entry(word.addr(), 0, word.is_private()))
        .collect();
    let task = Task::spawn(move || futex::waitv(&entries, None));
    until_in_syscall(getpid(), task.tid(), libc::SYS_futex_waitv);
    task
}

/// Who comes after the wake that ended the wait is not answered by this one.
fn not_in_time() {
    let map = Mapping::private(PAGE);
    let words = words(map.addr(), 4);
    let first = Waiter::start(&words);
    let second = Waiter::start(&words);
    assert_eq!(fx().wake_one(words[2]), Ok(1));
    assert_eq!(first.join(), Ok(2));
    assert!(words.iter().all(|word| nr_waiters(*word) == 1));
    assert_eq!(fx().wake_one(words[1]), Ok(1));
    assert_eq!(second.join(), Ok(1));
    assert_nobody(&words);
}

fn processes() {
    let map = Mapping::shared(PAGE);
    let words: Vec<_> = (0..MAX).map(|at| map.word(at * 8)).collect();
    let child = Child::run(|| {
        assert_eq!(fx().wait_any(&zeros(&words), None), Ok(77));
        assert_eq!(fx().wait_any(&zeros(&words[..3]), None), Ok(1));
    });
    until_queued(words[MAX - 1], 1);
    assert_eq!(fx().wake_one(words[77]), Ok(1));
    // The first wait has left all words, the last one last; only then is it the second's turn.
    until_queued(words[MAX - 1], 0);
    until_queued(words[2], 1);
    assert_eq!(fx().wake_one(words[1]), Ok(1));
    child.join();
}

/// Moved to another word, it still is the word of its index.
fn requeued() {
    let (private, shared) = (Mapping::private(PAGE), Mapping::shared(PAGE));
    let targets = [private.word(8), shared.word(2048), shared.word(0)];
    for nr in NUMBERS {
        let words = words(shared.addr(), nr);
        for to in targets {
            let waiter = Waiter::start(&words);
            let from = words[nr / 2];
            let before = nr_waiters(to);
            assert_eq!(fx().requeue_if(from, 0, to, 0, 9), Ok(1));
            if from != to {
                assert_eq!([nr_waiters(from), nr_waiters(to)], [0, before + 1]);
            }
            assert_eq!(
                fx().wake(to, 9, RFUTEX_MASK_ANY),
                Ok(nr_waiters_of(&words, from, to))
            );
            assert_eq!(waiter.join(), Ok(nr / 2));
            assert_nobody(&words);
            assert_nobody(&targets);
        }
    }
}

/// How many of those that wait on each of `words` are on `to`, when that of `from` went there.
fn nr_waiters_of(words: &[Word<'static>], from: Word<'static>, to: Word<'static>) -> u32 {
    1 + u32::from(from != to && words.contains(&to))
}

/// Random words and wakes: the same indices.
fn as_futex() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed:#x}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let maps = [(); 2].map(|()| Mapping::shared(PAGE));
    for round in 0..12 {
        let nr = [1, 2, FEW, FEW + 1, 20, MAX][rng.usize(..6)];
        // Some words more than once.
        let places: Vec<_> = (0..nr).map(|_| rng.usize(..nr) * 8).collect();
        let private = rng.bool();
        let [ours, theirs] = maps.each_ref().map(|map| {
            let word = |at| {
                if private {
                    map.word(at).private()
                } else {
                    map.word(at)
                }
            };
            places.iter().map(|at| word(*at)).collect::<Vec<_>>()
        });
        let at = rng.usize(..nr);
        let count = rng.u32(1..4);
        let what = format!("round {round}: {count} on word {at} of {places:?}");

        // The last of the array may be a word twice.
        let waiter = Task::spawn({
            let entries = zeros(&ours);
            move || fx().wait_any(&entries, None)
        });
        until("all are queued", || {
            ours.iter().all(|word| {
                let times = ours.iter().filter(|other| *other == word).count();
                nr_waiters(*word) as usize == times
            })
        });
        let other = futex_waiter(&theirs);
        let woken = fx().wake(ours[at], count, RFUTEX_MASK_ANY).expect("wake");
        let by_futex = futex::wake(theirs[at].addr(), count as i32, private).expect("wake");
        assert_eq!(woken, by_futex, "{what}");
        let [ours, theirs] = [
            waiter.join().expect("woken"),
            other.join().expect("woken") as usize,
        ];
        assert_eq!(ours, theirs, "{what}");
        assert_eq!(places[ours], places[at], "{what}");
    }
}
