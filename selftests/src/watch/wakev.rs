// SPDX-License-Identifier: GPL-2.0
//! WAKEV: many words of many kinds, and memory that is not there.

use super::{add, add_repeat, counts, set};
use crate::harness::command::call;
use crate::harness::{Mapping, PAGE, Task, Waiter, fx, nr_waiters};
use crate::memory::{Region, RegionWord, Uffd, memfd, rw};
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex::raw::{self, uapi};
use rfutex::{Error, WakeEntry, Word};

trials![
    most,
    bad_entry,
    bad_numbers,
    entries_not_there,
    results_not_there,
    results_of_one,
    wakes_before_it_writes,
    results_taken_away,
    entries_missing,
];

/// How many words there can be.
const MOST: usize = uapi::RFUTEX_WAKEV_MAX as usize;

/// The entry for up to `nr` waiters on `word`.
fn entry(word: Word<'_>, nr: u32) -> uapi::rfutex_wakev_entry {
    uapi::rfutex_wakev_entry {
        word: word.into(),
        mask: uapi::RFUTEX_MASK_ANY,
        nr,
        flags: 0,
    }
}

/// The call with entries and results at these addresses.
fn wakev(entries: u64, results: u64, nr: u32) -> Result<u32, Error> {
    let mut wakev = uapi::rfutex_wakev {
        entries,
        results,
        nr,
        entry_size: size_of::<uapi::rfutex_wakev_entry>() as u32,
        flags: 0,
        pad: 0,
    };
    call(fx(), uapi::RFUTEX_WAKEV, &mut wakev)
}

/// The call with these entries, and results at the address `results`.
fn wakev_to(entries: &[uapi::rfutex_wakev_entry], results: u64) -> Result<u32, Error> {
    wakev(
        entries.as_ptr().addr() as u64,
        results,
        entries.len() as u32,
    )
}

/// As many words as there can be, of all kinds, some of them the same.
fn most() {
    let shared = Mapping::shared(PAGE);
    let private = Mapping::private(PAGE);
    let file = Mapping::shared_file(memfd(PAGE), PAGE);
    let set = set();
    let words: Vec<_> = (0..MOST)
        .map(|i| match i % 4 {
            0 => shared.word(4 * i),
            1 => private.word(4 * i),
            2 => private.word(4 * i).private(),
            _ => file.word(4 * (i % 8)),
        })
        .collect();
    let nr_of = |i: usize| i % 3;
    for (i, word) in words.iter().enumerate().filter(|(i, _)| i % 4 != 3) {
        for _ in 0..nr_of(i) {
            add(&set, *word, i as u64);
        }
    }
    // On each of these two are 16 of the words. The watch is met once, by the first.
    let repeated = [3, 7].map(|i| add_repeat(&set, words[i], i as u64));
    let entries: Vec<_> = words.iter().map(|word| WakeEntry::new(*word, 9)).collect();
    let mut results = [7; MOST];
    let woken = fx().wake_each(&entries, &mut results).expect("wakev");
    let mut told = vec![];
    for (i, result) in results.into_iter().enumerate() {
        let expected = match i {
            3 | 7 => 1,
            _ if i % 4 == 3 => 0,
            _ => nr_of(i) as u32,
        };
        assert_eq!(result, expected, "{i}");
        told.extend((0..result).map(|_| (i as u64, 1)));
    }
    assert_eq!(woken, results.iter().sum());
    // The events are in the order of the words.
    assert_eq!(counts(&set), told);
    assert_eq!(repeated.map(|id| set.remove(id)), [Ok(Some(0)); 2]);
    let entries = [entries, vec![WakeEntry::new(words[0], 1)]].concat();
    let mut results = [7; MOST + 1];
    assert_eq!(fx().wake_each(&entries, &mut results), Err(Error::Invalid));
}

/// The last of many entries is bad: nobody on the words before it is woken.
fn bad_entry() {
    type Change = fn(&mut uapi::rfutex_wakev_entry);
    let map = Mapping::shared(PAGE);
    let set = set();
    let changes: [(Change, Error); 8] = [
        (|entry| entry.flags = 1, Error::Invalid),
        (|entry| entry.mask = 0, Error::Invalid),
        (|entry| entry.word.flags = 1 << 31, Error::Invalid),
        (|entry| entry.word.size = 3, Error::Invalid),
        (|entry| entry.word.addr += 1, Error::Invalid),
        (|entry| entry.word.addr = 0, Error::Fault),
        (|entry| entry.word.addr = u64::MAX - 7, Error::Fault),
        (|entry| entry.word.addr = 1 << 63, Error::Fault),
    ];
    let waiter = Waiter::start(map.word(0), 0);
    add(&set, map.word(0), 1);
    for nr in [2, 16, 17, MOST] {
        let mut entries = vec![entry(map.word(0), 9); nr];
        let results = Mapping::private(PAGE);
        for (index, (change, error)) in changes.into_iter().enumerate() {
            entries[nr - 1] = entry(map.word(64), 9);
            change(&mut entries[nr - 1]);
            assert_eq!(
                wakev_to(&entries, results.addr()),
                Err(error),
                "{index} of {nr}"
            );
            assert_eq!(nr_waiters(map.word(0)), 2);
        }
    }
    assert!(!waiter.is_finished());
    assert_eq!(fx().wake_all(map.word(0)), Ok(2));
    waiter.woken();
}

fn bad_numbers() {
    type Change = fn(&mut uapi::rfutex_wakev);
    let map = Mapping::shared(PAGE);
    let set = set();
    add(&set, map.word(0), 1);
    let entries = [entry(map.word(0), 1)];
    let results = Mapping::private(PAGE);
    let good = uapi::rfutex_wakev {
        entries: entries.as_ptr().addr() as u64,
        results: results.addr(),
        nr: 1,
        entry_size: size_of_val(&entries) as u32,
        flags: 0,
        pad: 0,
    };
    let changes: [Change; 9] = [
        |call| call.nr = 0,
        |call| call.nr = MOST as u32 + 1,
        |call| call.nr = u32::MAX,
        |call| call.flags = 1,
        |call| call.flags = 1 << 31,
        |call| call.pad = 1,
        |call| call.entry_size = 0,
        |call| call.entry_size = u32::MAX,
        |call| call.entry_size = 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut bad = good;
        change(&mut bad);
        let result = call(fx(), uapi::RFUTEX_WAKEV, &mut bad);
        assert!(result.is_err(), "{index}: {result:?}");
        assert_eq!(nr_waiters(map.word(0)), 1);
    }
    assert_eq!(call(fx(), uapi::RFUTEX_WAKEV, &mut { good }), Ok(1));
}

/// The entries end where nothing is mapped.
fn entries_not_there() {
    let map = Mapping::shared(PAGE);
    let set = set();
    add(&set, map.word(0), 1);
    let place = Mapping::private(2 * PAGE);
    place.protect_part(PAGE, PAGE, ProtFlags::PROT_NONE);
    let entries = [entry(map.word(0), 1); 2];
    let at = PAGE - 32;
    place.write(at, raw::bytes_of(&entries[0]));
    let addr = place.addr() + at as u64;
    let results = Mapping::private(PAGE);
    for (addr, nr) in [
        (addr, 2),
        (addr, 128),
        (addr + 8, 1),
        (0, 1),
        (u64::MAX - 31, 1),
    ] {
        assert_eq!(wakev(addr, results.addr(), nr), Err(Error::Fault));
        assert_eq!(nr_waiters(map.word(0)), 1);
    }
    assert_eq!(wakev(addr, results.addr(), 1), Ok(1));
    assert_eq!(results.read(0, 4), 1u32.to_ne_bytes());
}

fn results_not_there() {
    let map = Mapping::shared(PAGE);
    let set = set();
    add(&set, map.word(0), 1);
    let read_only = Mapping::private(PAGE);
    read_only.write(0, &[7; 8]);
    read_only.protect(ProtFlags::PROT_READ);
    let cut = Mapping::private(2 * PAGE);
    cut.protect_part(PAGE, PAGE, ProtFlags::PROT_NONE);
    let entries = [entry(map.word(0), 1); 2];
    for results in [
        0,
        8,
        u64::MAX - 7,
        read_only.addr(),
        cut.addr() + PAGE as u64 - 4,
    ] {
        assert_eq!(
            wakev_to(&entries, results),
            Err(Error::Fault),
            "{results:#x}"
        );
        assert_eq!(nr_waiters(map.word(0)), 1);
    }
    assert_eq!(read_only.read(0, 8), [7; 8]);
    assert_eq!(wakev_to(&entries, cut.addr() + PAGE as u64 - 8), Ok(1));
    assert_eq!(cut.read(PAGE - 8, 8), [1, 0, 0, 0, 0, 0, 0, 0]);
}

/// Nothing is written beside the results, and nobody there is a result too.
fn results_of_one() {
    let map = Mapping::shared(PAGE);
    let results = Mapping::private(PAGE);
    results.write(0, &[7; 64]);
    let entries = [entry(map.word(0), 1), entry(map.word(64).private(), 1)];
    assert_eq!(wakev_to(&entries, results.addr() + 4), Ok(0));
    let mut expected = [7; 64];
    expected[4..12].fill(0);
    assert_eq!(results.read(0, 64), expected);
}

/// A call that has just begun to set its results to zero. They lie on two pages: it has written to
/// the first one, and is kept from writing to the second one.
struct Held {
    map: Mapping,
    waiters: [Waiter; 2],
    first: Region,
    second: Region,
    protected: Uffd,
    call: Task<Result<u32, Error>>,
}

impl Held {
    #[track_caller]
    fn new() -> Self {
        let map = Mapping::shared(PAGE);
        let waiters = [0, 64].map(|at| Waiter::start(map.word(at), 0));
        let mut first = Region::private(2 * PAGE);
        let protected = Uffd::write_protect(&first);
        let second = first.split_off(PAGE);
        protected.protect(second.base() as u64, true);
        // Somebody waits on two of the words.
        let mut entries = vec![entry(map.word(128), 1); MOST];
        entries[0] = entry(map.word(0), 1);
        entries[1] = entry(map.word(64), 1);
        let results = (second.base() - MOST / 2 * size_of::<u32>()) as u64;
        let call = Task::spawn(move || wakev_to(&entries, results));
        assert_eq!(protected.next_write(), second.base() as u64);
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        assert_eq!([0, 64].map(|at| nr_waiters(map.word(at))), [1, 1]);
        Self {
            map,
            waiters,
            first,
            second,
            protected,
            call,
        }
    }

    /// Lets the call go on.
    fn go_on(&self) {
        self.protected.protect(self.second.base() as u64, false);
    }
}

/// The page of the results is protected after they were set to zero. Those who were woken run, and
/// others can wake and be woken, while the call waits for that page.
fn wakes_before_it_writes() {
    let held = Held::new();
    let page = held.first.base() as u64;
    held.protected.protect(page, true);
    held.go_on();
    let addr = held.protected.next_write();
    assert_eq!(addr / PAGE as u64, page / PAGE as u64);
    let Held {
        map,
        waiters,
        first,
        second: _second,
        protected,
        call,
    } = held;
    waiters.into_iter().for_each(Waiter::woken);
    assert!(!call.is_finished(), "it waits for the page");
    let set = set();
    let again = Waiter::start(map.word(0), 0);
    add(&set, map.word(0), 1);
    assert_eq!(fx().wake_all(map.word(0)), Ok(2));
    again.woken();
    assert_eq!(counts(&set), [(1, 1)]);
    let at = PAGE - MOST / 2 * size_of::<u32>();
    assert_eq!(first.word(at).load(), 0);
    protected.protect(page, false);
    assert_eq!(call.join(), Ok(2));
    let results = [0, 4, 8].map(|more| first.word(at + more).load());
    assert_eq!(results, [1, 1, 0]);
}

/// The memory of the results goes after they were set to zero. Those who were woken stay so, and the
/// caller is told of their number.
fn results_taken_away() {
    let held = Held::new();
    held.first.protect(ProtFlags::PROT_NONE);
    held.go_on();
    assert_eq!(held.call.join(), Ok(2));
    held.waiters.into_iter().for_each(Waiter::woken);
}

/// The memory of the entries goes while the call waits for it: nobody is woken.
fn entries_missing() {
    let map = Mapping::shared(PAGE);
    let waiter = Waiter::start(map.word(0), 0);
    let results = Mapping::private(PAGE);
    results.write(0, &[7; 8]);
    let entries = Region::anonymous(PAGE, rw(), MapFlags::MAP_PRIVATE);
    let missing = Uffd::new(&entries);
    let addrs = [entries.base() as u64, results.addr()];
    let call = Task::spawn(move || wakev(addrs[0], addrs[1], 2));
    assert_eq!(missing.next_fault() / PAGE as u64, addrs[0] / PAGE as u64);
    entries.map_nothing_over();
    drop(missing);
    assert_eq!(call.join(), Err(Error::Fault));
    assert!(!waiter.is_finished());
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    waiter.woken();
}
