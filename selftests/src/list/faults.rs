// SPDX-License-Identifier: GPL-2.0
//! Each allocation, and each access to the caller's memory, fails in turn. Nothing is left then, and
//! nobody is lost.

use super::{ENTRY, listing};
use crate::harness::{
    FailNth, Fault, Mapping, NO_MEMORY, PAGE, Waiter, fx, lacked_memory, module_references,
    nr_waiters,
};
use nix::errno::Errno;
use rfutex::{Error, WaitEntry, WatchOptions, Watches};
use std::cell::RefCell;

trials![open, read, wait_for_an_owner; lab: lab_open];

fn open() {
    let fail = FailNth::new();
    fx();
    let before = module_references();
    let without_memory = fail.each_allocation(|| fx().waiters());
    // The account and its node, the cursor, what was seen, the listing, and the file.
    assert!(without_memory >= 4, "{without_memory}");
    assert_eq!(module_references(), before);
}

/// No record is lost. A read of more than one ends where the failure is, and the next one goes on
/// there.
fn read() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let set = Watches::nonblocking(fx()).expect("a watch set");
    for cookie in 0..20 {
        set.add(word, 0, cookie, WatchOptions::default())
            .expect("a watch");
    }
    let waiters = [(); 3].map(|()| Waiter::start(word, 0));
    let object = crate::harness::object_of(word).to_ne_bytes();
    let fail = FailNth::new();
    let file = listing(fx(), ENTRY).expect("a listing");
    let mut shown = 0;
    let mut left = true;
    while left {
        let bytes = RefCell::new(vec![0; 3 * ENTRY]);
        fail.each(
            || nix::unistd::read(&file, &mut bytes.borrow_mut()),
            |result, failed| match result {
                Ok(nr) => {
                    let bytes = bytes.borrow();
                    let records = bytes[..nr].chunks(ENTRY);
                    shown += records.filter(|record| record[24..32] == object).count();
                    left = nr != 0;
                }
                Err(error) => {
                    assert!(failed);
                    assert_eq!(error, Errno::EFAULT);
                }
            },
        );
    }
    assert_eq!(shown, 23);
    assert_eq!(fx().wake_all(word), Ok(23));
    waiters.into_iter().for_each(Waiter::woken);
}

/// A wait on several words notes the owner of each.
fn wait_for_an_owner() {
    fx();
    let map = Mapping::shared(PAGE);
    let words = [map.word(0), map.word(64), map.word(128)];
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let owner = crate::harness::Task::spawn(move || {
        let _ = told.recv();
    });
    let named = rfutex::Owner::thread(owner.tid().as_raw() as u32);
    let mut without_memory = 0;
    FailNth::new().each(
        || {
            let entries = [
                WaitEntry::new(words[0], 0),
                WaitEntry::new(words[1], 0).owner(named),
                // Not its value, so that nobody sleeps: the kernel's checks of timers allocate as well, and
                // do without if that fails.
                WaitEntry::new(words[2], 1).owner(named),
            ];
            fx().wait_any(&entries, None).map(drop)
        },
        |result, failed| {
            let error = result.expect_err("a word has another value");
            if error != Error::Again {
                without_memory += u32::from(lacked_memory(error, failed));
            }
            assert_eq!(words.map(nr_waiters), [0; 3]);
        },
    );
    assert!(without_memory >= 2, "{without_memory}");
    drop(tell);
    owner.join();
}

fn lab_open() {
    fx();
    let before = module_references();
    let fault = Fault::arm("allocate", 1);
    assert_eq!(fx().waiters().err(), Some(NO_MEMORY));
    assert_eq!(fault.left(), 0);
    drop(fault);
    assert_eq!(module_references(), before);
    drop(fx().waiters().expect("a listing"));
}
