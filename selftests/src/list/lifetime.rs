// SPDX-License-Identifier: GPL-2.0
//! The file of a listing: what it keeps in existence, and what becomes of waiters meanwhile.

use super::{ENTRY, listing, nr_waiters, on, rest};
use crate::harness::{
    Child, Mapping, PAGE, ReloadedModule, UnloadedModule, fx, module_references, until,
};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, delete_module};
use nix::sys::signal::Signal;
use rfutex::{Error, Rfutex, Table, TableOptions, WatchOptions, Watches, Word};
use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};

trials![
    keeps_the_module,
    module_goes_after_it,
    keeps_the_table,
    closed_half_way,
    waiters_that_end,
    waiters_that_execute,
];

/// A set with `nr` watches on `word`.
fn watched(device: &Rfutex, word: Word<'_>, nr: u64) -> Watches {
    let set = Watches::nonblocking(device).expect("a watch set");
    for cookie in 0..nr {
        set.add(word, 0, cookie, WatchOptions::default())
            .expect("a watch");
    }
    set
}

/// Reads one record, which there must be.
#[track_caller]
fn read_one(mut file: &File) {
    let mut bytes = [0; ENTRY];
    assert_eq!(file.read(&mut bytes).expect("read"), ENTRY);
}

fn keeps_the_module() {
    fx();
    let before = module_references();
    let file = listing(fx(), ENTRY).expect("a listing");
    assert_eq!(module_references(), before + 1);
    drop(file);
    assert_eq!(module_references(), before);
}

/// Nothing but a listing uses the module, which cannot be unloaded until that is closed.
fn module_goes_after_it() {
    let map = Mapping::shared(PAGE);
    let device = Rfutex::open().expect("the device");
    let set = watched(&device, map.word(0), 100);
    let file = listing(&device, ENTRY).expect("a listing");
    read_one(&file);
    drop((set, device));
    let result = delete_module(c"rfutex", DeleteModuleFlags::O_NONBLOCK);
    assert_eq!(result, Err(Errno::EWOULDBLOCK));
    read_one(&file);
    drop(file);
    drop(UnloadedModule::new());
}

/// A table exists as long as a listing of it.
fn keeps_the_table() {
    let _module = ReloadedModule::with("tables=1");
    let device = Rfutex::open().expect("the device");
    let create = || Table::create(&device, TableOptions::new().arena(PAGE as u64));
    for _ in 0..5 {
        let table = create().expect("a table");
        let set = watched(&table, Word::in_arena(0, 4), 100);
        let file = listing(&table, ENTRY).expect("a listing");
        read_one(&file);
        drop(table);
        drop(set);
        assert_eq!(create().err(), Some(Error::Os(libc::ENOSPC)));
        // The watches that were found are shown still; the rest is gone.
        assert_eq!(rest(&file).len() / ENTRY, 63);
        drop(file);
        drop(create().expect("a table"));
    }
}

/// The marks of a listing are gone with it, wherever it has come to.
fn closed_half_way() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    for nr in [1, 63, 64, 65, 150, 200] {
        let set = watched(fx(), word, 200);
        let file = listing(fx(), ENTRY).expect("a listing");
        (0..nr).for_each(|_| read_one(&file));
        if nr % 2 == 0 {
            assert_eq!(fx().wake(word, 150, u64::MAX), Ok(150));
        }
        drop(file);
        assert_eq!(on(fx(), word).len(), nr_waiters(fx(), word) as usize);
        drop(set);
        assert_eq!(nr_waiters(fx(), word), 0);
        assert_eq!(fx().wake_all(word), Ok(0));
    }
}

/// A process with `nr` threads that wait on `word`.
#[track_caller]
fn threads(word: Word<'static>, nr: u32, then: fn()) -> Child {
    let before = nr_waiters(fx(), word);
    let child = Child::run(|| {
        for _ in 0..nr {
            std::thread::spawn(move || fx().wait(word, 0));
        }
        until("they may end", || {
            crate::memory::RegionWord::load(word) != 0
        });
        then();
    });
    until("they wait", || nr_waiters(fx(), word) == before + nr);
    child
}

/// Threads that end after they were found, and before they are shown, are not shown.
fn waiters_that_end() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let first = watched(fx(), word, 1);
    // A main thread keeps its number until its parent has heard of its end.
    let main = Child::run(|| {
        let _ = fx().wait(word, 0);
    });
    until("it waits", || nr_waiters(fx(), word) == 2);
    let child = threads(word, 101, || ());
    // It is not known in which buckets others wait, but a record of this one is the first here.
    let file = listing(fx(), ENTRY).expect("a listing");
    let object = crate::harness::object_of(word).to_ne_bytes();
    let mut bytes = [0; ENTRY];
    while bytes[24..32] != object {
        assert_eq!((&file).read(&mut bytes).expect("read"), ENTRY);
    }
    for child in [&main, &child] {
        child.kill(Signal::SIGKILL);
        until("they have ended", || child.is_finished());
    }
    let left = rest(&file);
    let shown = left.chunks(ENTRY).filter(|record| record[24..32] == object);
    assert_eq!(shown.count(), 0);
    drop((main, child, first));
}

/// Others list while processes with waiters execute programs, and end.
fn waiters_that_execute() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let rounds = map.atomic::<AtomicU32>(64);
    let child = Child::run(|| {
        while rounds.load(Ordering::SeqCst) < 100 {
            for waiter in fx().waiters().expect("a listing") {
                waiter.expect("it is read");
            }
            rounds.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut nr = 0;
    while !child.is_finished() {
        let end: fn() = if nr % 2 == 0 {
            || crate::harness::execute()
        } else {
            || ()
        };
        let waiting = threads(word, 5, end);
        map.atomic::<AtomicU32>(0).store(1, Ordering::SeqCst);
        until("they are gone", || nr_waiters(fx(), word) == 0);
        map.atomic::<AtomicU32>(0).store(0, Ordering::SeqCst);
        drop(waiting);
        nr += 1;
    }
    child.join();
    assert!(nr > 0);
}
