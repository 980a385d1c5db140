// SPDX-License-Identifier: GPL-2.0
//! SWAP: wakes one, and sleeps.

use crate::harness::{
    Child, Fault, Handler, Mapping, PAGE, Service, Sleeper, Task, Waiter, fx, nr_waiters,
    signal_thread, until, until_queued,
};
use crate::memory::{EachKind, Region, RegionWord, memfd};
use nix::sys::mman::ProtFlags;
use nix::sys::signal::{SaFlags, Signal};
use rfutex::raw::uapi::RFUTEX_MASK_ANY;
use rfutex::{Clock, Deadline, Error, WaitOptions, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

trials![
    wakes_one,
    every_pair_of_kinds,
    mismatch,
    bad_words,
    word_not_there_yet,
    masks,
    onto_itself,
    ring_on_one_word,
    deadlines,
    interrupted,
    stopped,
    killed,
    ping_pong_private,
    ping_pong_files,
    ping_pong_processes,
    answers_and_deadlines;
    lab: faults,
];

/// A thread in a SWAP; queued when this returns, and then the wake has been made. Nobody else may
/// come to or leave `word` meanwhile.
#[track_caller]
fn swap_with(
    word: Word<'static>,
    wake: Word<'static>,
    options: WaitOptions,
) -> Task<Result<(), Error>> {
    let nr = nr_waiters(word) + 1;
    let task = Task::spawn(move || fx().swap_with(word, 0, wake, options));
    until("it is queued, or has failed", || {
        task.is_finished() || nr_waiters(word) == nr
    });
    if task.is_finished() {
        panic!("it ended at once: {:?}", task.join());
    }
    task
}

#[track_caller]
fn swap(word: Word<'static>, wake: Word<'static>) -> Task<Result<(), Error>> {
    swap_with(word, wake, WaitOptions::default())
}

fn wakes_one() {
    let map = Mapping::shared(PAGE);
    let both = [map.word(0), map.word(64)];
    for [word, other] in [both, both.map(Word::private)] {
        let [first, second] = Service::Ours.sleepers(other);
        let task = swap(word, other);
        first.woken();
        assert_eq!(nr_waiters(other), 1);
        assert_eq!(fx().wake(word, 9, RFUTEX_MASK_ANY), Ok(1));
        assert_eq!(task.join(), Ok(()));
        // With nobody there it sleeps as well; the wake is not remembered.
        assert_eq!(fx().wake_all(other), Ok(1));
        second.woken();
        let task = swap(word, other);
        let late = Waiter::start(other, 0);
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(task.join(), Ok(()));
        assert_eq!(fx().wake_one(other), Ok(1));
        late.woken();
    }
}

fn every_pair_of_kinds() {
    let memory = EachKind::new();
    let words = memory.words();
    for word in words {
        for other in words.into_iter().filter(|other| *other != word) {
            let waiter = Waiter::start(other, 0);
            let task = swap(word, other);
            waiter.woken();
            assert_eq!(fx().wake_one(word), Ok(1), "{word:?}, {other:?}");
            assert_eq!(task.join(), Ok(()));
        }
    }
}

/// Nobody is woken, and the caller is not queued.
fn mismatch() {
    let map = Mapping::shared(PAGE);
    let waiter = Waiter::start(map.word(64), 0);
    for size in [1, 2, 4, 8] {
        for word in [map.sized_word(8, size), map.sized_word(8, size).private()] {
            for bit in 0..8 * size {
                let result = fx().swap(word, 1 << bit, map.word(64));
                assert_eq!(result, Err(Error::Again), "bit {bit} of {size} bytes");
            }
            assert_eq!([nr_waiters(word), nr_waiters(map.word(64))], [0, 1]);
        }
    }
    assert_eq!(fx().wake_one(map.word(64)), Ok(1));
    waiter.woken();
}

/// Either of them.
fn bad_words() {
    let map = Mapping::shared(PAGE);
    let good = map.word(0);
    let hole = Mapping::nothing(PAGE);
    let read_only = Mapping::anonymous(
        PAGE,
        ProtFlags::PROT_READ,
        nix::sys::mman::MapFlags::MAP_PRIVATE,
    );
    let end = Word::at(Mapping::beyond_user_space(), 4);
    for (bad, error) in [
        (hole.word(0), Error::Fault),
        (read_only.word(0), Error::Fault),
        (end, Error::Fault),
        (end.private(), Error::Fault),
        (map.sized_word(1, 4), Error::Invalid),
        (map.sized_word(0, 3), Error::Invalid),
    ] {
        assert_eq!(fx().swap(good, 0, bad), Err(error), "{bad:?}");
        assert_eq!(nr_waiters(good), 0);
        let waiter = Waiter::start(good, 0);
        assert_eq!(fx().swap(bad, 0, good), Err(error), "{bad:?}");
        assert_eq!(nr_waiters(good), 1);
        // The word to sleep on has another value, but that comes after.
        assert_eq!(fx().swap(good, 1, bad), Err(error), "{bad:?}");
        assert_eq!(fx().wake_one(good), Ok(1));
        waiter.woken();
    }
    // A private word to wake on need not be there, one to sleep on has to.
    let task = swap(good, hole.word(0).private());
    assert_eq!(
        fx().swap(hole.word(0).private(), 0, good),
        Err(Error::Fault)
    );
    assert_eq!(fx().wake_one(good), Ok(1));
    assert_eq!(task.join(), Ok(()));
}

/// The wake is made once, when the word has come.
fn word_not_there_yet() {
    let map = Mapping::private(PAGE);
    let other = Mapping::private(PAGE);
    let [first, second] = Service::Ours.sleepers(other.word(0));
    let task = swap(map.word(0).private(), other.word(0));
    first.woken();
    assert_eq!(nr_waiters(other.word(0)), 1);
    assert_eq!(fx().wake_one(map.word(0).private()), Ok(1));
    assert_eq!(task.join(), Ok(()));
    let map = Mapping::private(PAGE);
    let result = fx().swap(map.word(0).private(), 1, other.word(0));
    assert_eq!(result, Err(Error::Again));
    assert_eq!(fx().wake(other.word(0), 9, RFUTEX_MASK_ANY), Ok(1));
    second.woken();
}

/// Its own is for who wakes it; it wakes whatever mask one has.
fn masks() {
    let map = Mapping::private(PAGE);
    let [word, other] = [map.word(0), map.word(64)];
    let waiter = Waiter::start_with(other, 0, WaitOptions::default().mask(1 << 63));
    let task = swap_with(word, other, WaitOptions::default().mask(2));
    waiter.woken();
    assert_eq!(fx().wake(word, 1, !2), Ok(0));
    assert_eq!(fx().wake(word, 1, 2), Ok(1));
    assert_eq!(task.join(), Ok(()));
    let result = fx().swap_with(word, 0, other, WaitOptions::default().mask(0));
    assert_eq!(result, Err(Error::Invalid));
}

/// One word for both: it wakes another one, never itself, and sleeps.
fn onto_itself() {
    let file = memfd(PAGE);
    let [one, two] = [(); 2].map(|()| Region::shared(&file, 0, PAGE));
    let private = Mapping::private(PAGE);
    for [word, again] in [
        [one.word(0), one.word(0)],
        [one.word(0), two.word(0)],
        [private.word(0); 2],
        [private.word(0).private(); 2],
    ] {
        let alone = swap(word, again);
        assert_eq!(nr_waiters(word), 1);
        assert!(!alone.is_finished());
        // The next wakes the one before it.
        let next = Task::spawn(move || fx().swap(again, 0, word));
        assert_eq!(alone.join(), Ok(()));
        until_queued(word, 1);
        assert_eq!(fx().swap(again, 1, word), Err(Error::Again));
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(next.join(), Ok(()));
    }
}

/// Threads that wake each other on one word, round and round: always all but one are asleep, or on
/// their way.
fn ring_on_one_word() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 200;
    let map = Arc::new(Mapping::private(PAGE));
    let (word, stop) = (map.word(0).private(), map.word(64));
    let threads = [(); THREADS as usize].map(|()| {
        Task::spawn(move || {
            let mut woken = 0;
            while stop.load() < ROUNDS {
                match fx().swap(word, 0, word) {
                    Ok(()) => woken += 1,
                    Err(Error::Again) => break,
                    Err(error) => panic!("{error}"),
                }
                stop.cell().fetch_add(1, Ordering::SeqCst);
            }
            woken
        })
    });
    // All of them asleep is all right: then nobody has been woken. One wake sets it off again.
    until("it went round", || {
        if nr_waiters(word) == THREADS {
            assert_eq!(fx().wake_one(word), Ok(1));
        }
        stop.load() >= ROUNDS
    });
    word.store(1);
    let mut left = Vec::from(threads);
    until("they end", || {
        fx().wake_all(word).expect("wake");
        left.iter().all(Task::is_finished)
    });
    let woken: u32 = left.drain(..).map(Task::join).sum();
    assert!(woken >= ROUNDS);
}

/// The wake has been made, however late it is.
fn deadlines() {
    let map = Mapping::shared(PAGE);
    let [word, other] = [map.word(0), map.word(64)];
    for clock in Clock::ALL {
        for after in [None, Some(1), Some(3_000_000)] {
            let deadline = match after {
                None => Deadline { clock, ns: 0 },
                Some(ns) => Deadline::after(clock, Duration::from_nanos(ns)),
            };
            let [first, second] = Service::Ours.sleepers(other);
            let options = WaitOptions::default().deadline(deadline);
            assert_eq!(
                fx().swap_with(word, 0, other, options),
                Err(Error::TimedOut)
            );
            assert!(clock.now() >= deadline.ns);
            first.woken();
            assert_eq!([nr_waiters(word), nr_waiters(other)], [0, 1]);
            // The value comes first.
            assert_eq!(fx().swap_with(word, 1, other, options), Err(Error::Again));
            assert_eq!(fx().wake(other, 9, RFUTEX_MASK_ANY), Ok(1));
            second.woken();
        }
        let far = WaitOptions::default().deadline(Deadline {
            clock,
            ns: i64::MAX,
        });
        let task = swap_with(word, other, far);
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(task.join(), Ok(()));
    }
}

const SIGNAL: Signal = Signal::SIGUSR1;

/// It is never made again, or it would wake a second one: `EINTR`, whatever the handler's flags.
fn interrupted() {
    let map = Mapping::shared(PAGE);
    let [word, other] = [map.word(0), map.word(64)];
    for flags in [SaFlags::empty(), SaFlags::SA_RESTART] {
        let handler = Handler::counting(SIGNAL, flags);
        for there in [true, false] {
            let sleepers = there.then(|| Service::Ours.sleepers::<2>(other));
            let task = swap(word, other);
            signal_thread(task.tid(), SIGNAL);
            assert_eq!(task.join(), Err(Error::Interrupted), "{flags:?}");
            assert_eq!(nr_waiters(word), 0);
            if let Some([first, second]) = sleepers {
                first.woken();
                assert_eq!(fx().wake(other, 9, RFUTEX_MASK_ANY), Ok(1));
                second.woken();
            }
        }
        assert_eq!(handler.count(), 2);
    }
}

/// Nor after a stop, which has no handler.
fn stopped() {
    let map = Mapping::shared(PAGE);
    let [word, other] = [map.word(0), map.word(64)];
    let [first, second] = Service::Ours.sleepers(other);
    let child = Child::run(|| {
        assert_eq!(fx().swap(word, 0, other), Err(Error::Interrupted));
    });
    until_queued(word, 1);
    child.stop();
    child.go_on();
    child.join();
    first.woken();
    assert_eq!([nr_waiters(word), nr_waiters(other)], [0, 1]);
    assert_eq!(fx().wake_one(other), Ok(1));
    second.woken();
}

fn killed() {
    let map = Mapping::shared(PAGE);
    let [word, other] = [map.word(0), map.word(64)];
    let [first, second] = Service::Ours.sleepers(other);
    let child = Child::run(|| panic!("{:?}", fx().swap(word, 0, other)));
    until_queued(word, 1);
    child.kill(Signal::SIGKILL);
    child.status();
    first.woken();
    assert_eq!([nr_waiters(word), nr_waiters(other)], [0, 1]);
    assert_eq!(fx().wake_one(other), Ok(1));
    second.woken();
}

const ROUNDS: u32 = 400;

/// One of two who hand a turn to each other, each by a single call. The first begins.
///
/// Who has the turn makes its own word 0, to sleep on, and then the other's 1. The other answers at
/// once, when this one is not asleep yet: the wake must not be lost.
fn take_turns(mine: Word<'static>, other: Word<'static>, first: bool) {
    let options = || WaitOptions::default().within(crate::harness::LIMIT);
    if !first {
        while mine.load() == 0 {
            match fx().wait_with(mine, 0, options()) {
                Ok(()) | Err(Error::Again) => {}
                Err(error) => panic!("at first: {error}"),
            }
        }
    }
    for round in 0..ROUNDS {
        mine.store(0);
        other.store(1);
        match fx().swap_with(mine, 0, other, options()) {
            Ok(()) => assert_eq!(mine.load(), 1, "round {round}"),
            // The other had not slept when its turn came, and has answered already. Nobody is to be
            // woken: it may sleep by now, until it is its turn again.
            Err(Error::Again) => {}
            Err(error) => panic!("round {round}: {error}"),
        }
    }
    // The other's last call sleeps still.
    other.store(1);
    fx().wake_one(other).expect("wake");
}

fn ping_pong(ping: Word<'static>, pong: Word<'static>) {
    let other = Task::spawn(move || take_turns(pong, ping, false));
    take_turns(ping, pong, true);
    other.join();
    assert_eq!([nr_waiters(ping), nr_waiters(pong)], [0, 0]);
}

fn ping_pong_private() {
    let region = Region::private(PAGE);
    ping_pong(region.word(0).private(), region.word(64).private());
    region.touch();
    ping_pong(region.word(0), region.word(64).private());
}

fn ping_pong_files() {
    let [ping, pong] = [memfd(PAGE), memfd(PAGE)].map(|file| Region::shared(file, 0, PAGE));
    ping_pong(ping.word(0), pong.word(0));
}

fn ping_pong_processes() {
    let region = Region::shared(memfd(PAGE), 0, PAGE);
    let [ping, pong] = [region.word(0), region.word(64)];
    let child = Child::run(|| take_turns(pong, ping, false));
    take_turns(ping, pong, true);
    child.join();
}

/// Deadlines and signals against answers: as many calls end with a wake as the waker counted.
fn answers_and_deadlines() {
    const TIMES: u32 = 200;
    let map = Arc::new(Mapping::private(PAGE));
    let [word, other, stop] = [map.word(0), map.word(64), map.word(128)];
    let handler = Handler::counting(SIGNAL, SaFlags::SA_RESTART);
    let swapper = Task::spawn(move || {
        let mut woken = 0;
        for _ in 0..TIMES {
            let after = Duration::from_micros(fastrand::u64(0..1000));
            let options = WaitOptions::default().within(after);
            match fx().swap_with(word, 0, other, options) {
                Ok(()) => woken += 1,
                Err(Error::TimedOut | Error::Interrupted) => {}
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(1);
        woken
    });
    let waiter = Task::spawn(move || {
        let mut woken = 0;
        while stop.load() == 0 {
            let options = WaitOptions::default().within(Duration::from_millis(20));
            woken += u32::from(fx().wait_with(other, 0, options).is_ok());
        }
        woken
    });
    let mut counted = 0;
    while stop.load() == 0 {
        counted += fx().wake_one(word).expect("wake");
        if fastrand::u8(..8) == 0 {
            // It may have ended by now.
            let _ = crate::harness::try_signal_thread(swapper.tid(), SIGNAL);
        }
    }
    assert_eq!(swapper.join(), counted);
    // Each call woke one, or found nobody.
    assert!(waiter.join() <= TIMES);
    drop(handler);
    assert_eq!(map.atomic::<AtomicU32>(0).load(Ordering::SeqCst), 0);
}

/// Each attempt is made again whole; one is woken, and the caller is queued once.
fn faults() {
    let file = Region::shared(memfd(PAGE), 0, PAGE);
    let [word, other] = [file.word(0), file.word(64)];
    for point in Fault::retries_of_a_wait() {
        let [first, second]: [Sleeper; 2] = Service::Ours.sleepers(other);
        let fault = Fault::arm(point, 4);
        let task = Task::spawn(move || fx().swap(word, 0, other));
        until("it came through", || fault.left() == 0);
        first.woken();
        until_queued(word, 1);
        assert_eq!(nr_waiters(other), 1, "{point}");
        assert_eq!(fx().wake(word, 9, RFUTEX_MASK_ANY), Ok(1), "{point}");
        assert_eq!(task.join(), Ok(()));
        assert_eq!(fx().wake_one(other), Ok(1));
        second.woken();
    }
}
