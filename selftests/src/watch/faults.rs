// SPDX-License-Identifier: GPL-2.0
//! Each allocation, and each access to the caller's memory, fails in turn. Nothing is armed then,
//! nobody was woken, no event is lost, and nothing is left.

use super::{add, add_repeat, counts, readable, set};
use crate::harness::{
    FailNth, Fault, Mapping, NO_MEMORY, PAGE, ReloadedModule, fx, lacked_memory, module_references,
    nr_waiters,
};
use rfutex::{Error, Event, Rfutex, WakeEntry, WatchOptions, Watches};
use std::cell::{Cell, RefCell};

trials![create, add_each, remove, read, wake_each; lab: lab_create, lab_add];

fn create() {
    let fail = FailNth::new();
    fx();
    let before = module_references();
    let without_memory = fail.each_allocation(|| Watches::new(fx()));
    // The request, the set, and the file; whatever else the kernel may allocate for that.
    assert!(without_memory >= 2, "{without_memory}");
    assert_eq!(module_references(), before);
}

/// Calls ADD on the first word of `map` with one failure after the other, each time in the set that
/// `set` returns. Returns how often there was no memory.
#[track_caller]
fn add_with_failures(
    device: &Rfutex,
    map: &Mapping,
    repeat: bool,
    set: impl Fn() -> Watches,
) -> u32 {
    let waiters = || device.key_info(map.word(0)).expect("a key").nr_waiters;
    let before = waiters();
    let options = WatchOptions {
        repeat,
        ..WatchOptions::default()
    };
    let used = RefCell::new(set());
    let mut without_memory = 0;
    FailNth::new().each(
        || used.borrow().add(map.word(0), 0, 1, options),
        |result, failed| {
            match result {
                Ok(id) => {
                    assert_eq!(waiters(), before + 1);
                    assert_eq!(used.borrow().remove(id), Ok(Some(0)));
                }
                Err(error) => {
                    without_memory += u32::from(lacked_memory(error, failed));
                    assert_eq!(waiters(), before);
                }
            }
            used.replace(set());
        },
    );
    without_memory
}

/// The first watch of a user needs an account, and the second one of a set a place for more than
/// one.
fn add_each() {
    let map = Mapping::shared(PAGE);
    let _module = ReloadedModule::with("watches=20");
    let device = Rfutex::open().expect("the device");
    for repeat in [false, true] {
        let empty = || Watches::nonblocking(&device).expect("a watch set");
        let nr = add_with_failures(&device, &map, repeat, empty);
        assert!(nr >= 3, "{nr}: the account, its node, the watch");
        let with_one = || {
            let set = empty();
            add(&set, map.word(64), 1);
            set
        };
        let nr = add_with_failures(&device, &map, repeat, with_one);
        // If there is no memory for a slot at first, the kernel tries once more.
        assert!(nr >= 1, "{nr}: the watch");
    }
    // Nothing was kept of what the user may have.
    let set = Watches::nonblocking(&device).expect("a watch set");
    let mut nr = 0;
    while set.add(map.word(0), 0, 1, WatchOptions::default()).is_ok() {
        nr += 1;
    }
    assert_eq!(nr, 20);
}

/// What cannot be removed stays.
fn remove() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let fail = FailNth::new();
    let id = Cell::new(add(&set, map.word(0), 1));
    fail.each(
        || set.remove(id.get()),
        |result, failed| {
            if result.is_err() {
                assert!(failed);
                assert_eq!(result, Err(Error::Fault));
                assert_eq!(nr_waiters(map.word(0)), 1);
            } else {
                assert_eq!(result, Ok(Some(0)));
                assert_eq!(nr_waiters(map.word(0)), 0);
                id.set(add(&set, map.word(0), 1));
            }
        },
    );
}

/// No event is lost, and their order stays.
fn read() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let fail = FailNth::new();
    for cookie in 0..20 {
        add(&set, map.word(0), cookie);
    }
    add_repeat(&set, map.word(0), 20);
    assert_eq!(fx().wake_all(map.word(0)), Ok(21));
    let mut seen = Vec::new();
    let mut some = [Event::default(); 3];
    // Each call comes one event further before it fails.
    while readable(&set) {
        let read = Cell::new(0);
        fail.each(
            || set.read(&mut some),
            |result, failed| match result {
                Ok(nr) => read.set(read.get() + nr),
                Err(error) => {
                    assert!(failed || error == Error::Again, "{error:?}");
                    assert!([Error::Fault, Error::Again].contains(&error));
                }
            },
        );
        seen.push(read.get());
    }
    assert_eq!(seen.iter().sum::<usize>(), 21);
    assert_eq!(counts(&set), []);
}

/// If the call fails, nobody was woken; if it does not, it tells the number of those who were.
fn wake_each() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let fail = FailNth::new();
    // So many that memory is allocated for them: if no slab has any, it is of whole pages.
    const NR: usize = 20;
    let words: [_; NR] = std::array::from_fn(|i| match map.word(64 * i) {
        word if i == 1 => word.private(),
        word => word,
    });
    for word in words {
        add_repeat(&set, word, 1);
    }
    let entries = words.map(|word| WakeEntry::new(word, 1));
    let mut results = [9; NR];
    let mut errors = 0;
    fail.each(
        || fx().wake_each(&entries, &mut results),
        |result, failed| {
            let told: u64 = counts(&set).iter().map(|(_, woken)| woken).sum();
            match result {
                Ok(woken) => assert_eq!((woken as usize, told as usize), (NR, NR)),
                Err(error) => {
                    lacked_memory(error, failed);
                    assert_eq!(told, 0);
                    errors += 1;
                }
            }
        },
    );
    assert!(errors >= 1, "the results: {errors}");
    assert_eq!(results, [1; NR]);
}

/// The same by the fault point of the lab, which fails the first allocation.
fn lab_create() {
    fx();
    let before = module_references();
    let fault = Fault::arm("allocate", 1);
    assert_eq!(Watches::new(fx()).err(), Some(NO_MEMORY));
    assert_eq!(fault.left(), 0);
    assert_eq!(module_references(), before);
    drop(Watches::new(fx()).expect("a watch set"));
}

fn lab_add() {
    let map = Mapping::shared(PAGE);
    let set = set();
    for _ in 0..3 {
        let fault = Fault::arm("allocate", 1);
        let result = set.add(map.word(0), 0, 1, WatchOptions::default());
        assert_eq!(result, Err(NO_MEMORY));
        assert_eq!(fault.left(), 0);
        assert_eq!(nr_waiters(map.word(0)), 0);
    }
    assert_eq!(add(&set, map.word(0), 1).0 as u32, 0);
}
