// SPDX-License-Identifier: GPL-2.0
//! How many tables and how much arena memory a user can have.

use super::with_arena;
use crate::harness::{
    Child, FailNth, Fault, Group, Mapping, NO_MEMORY, PAGE, ReloadedModule, fx, until,
};
use nix::unistd::{Uid, setresuid};
use rfutex::{Error, Rfutex, Table, TableOptions, WatchOptions, Watches, Word};
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

trials![
    tables,
    pages,
    of_each_user,
    given_back,
    largest,
    memory,
    charged,
    no_memory;
    lab: lab_no_memory
];

const FULL: Error = Error::Os(libc::ENOSPC);

/// As many tables as can be had with arenas of `pages` pages each.
#[track_caller]
fn fill(device: &Rfutex, pages: usize) -> Vec<Table> {
    let options = TableOptions::new().arena((pages * PAGE) as u64);
    let mut all = Vec::new();
    loop {
        match Table::create(device, options) {
            Ok(table) => all.push(table),
            Err(error) => {
                assert_eq!(error, FULL);
                return all;
            }
        }
    }
}

fn tables() {
    let _module = ReloadedModule::with("tables=5");
    let device = Rfutex::open().expect("the device");
    assert_eq!(device.query().expect("query").max_tables, 5);
    let mut all = fill(&device, 1);
    assert_eq!(all.len(), 5);
    for _ in 0..10 {
        drop(all.pop());
        all.append(&mut fill(&device, 0));
        assert_eq!(all.len(), 5);
    }
}

fn pages() {
    let _module = ReloadedModule::with("arena_pages=100");
    let device = Rfutex::open().expect("the device");
    assert_eq!(device.query().expect("query").max_arena_pages, 100);
    let all = fill(&device, 30);
    assert_eq!(all.len(), 3);
    let rest = fill(&device, 1);
    assert_eq!(rest.len(), 10);
    // A table without memory is none of this.
    Table::create(&device, TableOptions::new()).expect("a table");
    drop(all);
    let one = TableOptions::new().arena(91 * PAGE as u64);
    assert_eq!(Table::create(&device, one).err(), Some(FULL));
    let one = TableOptions::new().arena(90 * PAGE as u64);
    drop(Table::create(&device, one).expect("a table"));
    drop(rest);
}

/// Users do not take from each other. What counts is who has made the table, not who has it.
fn of_each_user() {
    let _module = ReloadedModule::with("tables=5");
    let device = Rfutex::open().expect("the device");
    let all = fill(&device, 0);
    for uid in [65534, 1000].map(Uid::from_raw) {
        Child::run(|| {
            setresuid(uid, uid, uid).expect("setresuid");
            assert_eq!(fill(&device, 0).len(), 5);
        })
        .join();
    }
    drop(all);
}

/// All is given back with the last of what keeps the table: its file, a mapping, or a watch set.
fn given_back() {
    let _module = ReloadedModule::with("tables=1");
    let device = Rfutex::open().expect("the device");
    let create = || Table::create(&device, TableOptions::new().arena(PAGE as u64));
    for _ in 0..20 {
        let set = Watches::nonblocking(&create().expect("a table")).expect("a watch set");
        let word = Word::in_arena(0, 4);
        set.add(word, 0, 0, WatchOptions::default())
            .expect("a watch");
        assert_eq!(create().err(), Some(FULL));
        drop(set);
        let arena = rfutex::Arena::map(create().expect("a table")).expect("it is mapped");
        assert_eq!(create().err(), Some(FULL));
        drop(arena);
        // A user who is killed.
        let map = Mapping::shared(PAGE);
        let ready = map.atomic::<AtomicU32>(0);
        let child = Child::run(|| {
            let arena = rfutex::Arena::map(create().expect("a table")).expect("it is mapped");
            ready.store(1, Ordering::Relaxed);
            let _ = arena.table().wait(Word::in_arena(0, 4), 0);
        });
        until("the child has it", || ready.load(Ordering::Relaxed) == 1);
        assert_eq!(create().err(), Some(FULL));
        drop(child);
        until("it is given back", || create().is_ok());
    }
}

/// The largest arena, and one that is larger than the limit of the user.
fn largest() {
    let max = fx().query().expect("query").max_arena_pages;
    let options = TableOptions::new().arena((max + 1) * PAGE as u64);
    assert_eq!(Table::create(fx(), options).err(), Some(FULL));
    drop(with_arena(max as usize / 4));
}

/// The bytes of memory that the kernel has allocated by vmalloc().
fn vmalloc_used() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("meminfo");
    let line = text.lines().find(|line| line.starts_with("VmallocUsed:"));
    let mut fields = line.expect("a line").split_whitespace();
    fields
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        * 1024
}

/// The memory is there while the table is, and no longer.
fn memory() {
    const PAGES: usize = 4096;
    drop(with_arena(PAGES));
    let size = (PAGES * PAGE) as u64;
    until("other memory is given back", || {
        let before = vmalloc_used();
        let table = with_arena(PAGES);
        let during = vmalloc_used();
        drop(table);
        let after = vmalloc_used();
        during >= before + size && after < before + size / 2
    });
}

/// The buckets and the memory are charged to the cgroup of who has made the table.
fn charged() {
    // More than a processor keeps in stock of what it has charged.
    const BYTES: i64 = 8 << 20;
    let options = TableOptions::new();
    for options in [
        options.arena(BYTES as u64),
        // A bucket has a cache line.
        options.buckets(BYTES as u32 / 64),
    ] {
        let group = Group::new();
        Child::run(|| {
            group.enter();
            let before = group.memory();
            let table = Table::create(fx(), options).expect("a table");
            let taken = group.memory() - before;
            assert!(taken > BYTES / 2, "{taken}");
            drop(table);
            until("it is given back", || group.memory() - before < BYTES / 2);
        })
        .join();
    }
}

/// Each allocation fails in turn. Nothing is left behind.
fn no_memory() {
    let _module = ReloadedModule::with("tables=2");
    let device = Rfutex::open().expect("the device");
    let options = TableOptions::new().arena(4 * PAGE as u64);
    let without_memory = FailNth::new().each_allocation(|| Table::create(&device, options));
    // The account, the memory, the buckets, the table, the open file.
    assert!(without_memory >= 5, "{without_memory}");
    assert_eq!(fill(&device, 1).len(), 2);
}

/// The module's own points fail, of which each stands for an allocation.
fn lab_no_memory() {
    let _module = ReloadedModule::with("tables=1");
    let device = Rfutex::open().expect("the device");
    let options = TableOptions::new().arena(PAGE as u64);
    let fault = Fault::arm("allocate", 1);
    assert_eq!(Table::create(&device, options).err(), Some(NO_MEMORY));
    drop(fault);
    assert_eq!(fill(&device, 1).len(), 1);
}
