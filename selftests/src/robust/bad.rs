// SPDX-License-Identifier: GPL-2.0
//! What is refused.

use super::arena;
use crate::harness::{Child, FailNth, PAGE, ReloadedModule, Task, command, fx};
use nix::unistd::{Uid, setresuid};
use rfutex::raw::uapi;
use rfutex::sync::{Member, RobustMutex};
use rfutex::{Arena, Error, Rfutex, Table, TableOptions};

trials![sizes, without_robust_words, offsets, limit, no_memory];

fn create(arena: u64, robust: u64) -> Result<Table, Error> {
    Table::create(fx(), TableOptions::new().arena(arena).robust(robust))
}

fn sizes() {
    let page = PAGE as u64;
    for robust in [0, 8, 64, page] {
        let table = create(page, robust).expect("a table");
        let query = table.query().expect("query");
        assert_eq!(u64::from(query.robust_size), robust);
    }
    for (arena, robust) in [
        (0, 8),
        (page, page + 8),
        (page, 1),
        (page, 4),
        (page, 12),
        (page, u64::MAX - 7),
        (page, 1 << 32),
    ] {
        assert_eq!(create(arena, robust).err(), Some(Error::Invalid));
    }
    let device = fx();
    Child::run(|| {
        let nobody = Uid::from_raw(65534);
        setresuid(nobody, nobody, nobody).expect("setresuid");
        let options = TableOptions::new().arena(128 << 10);
        let create = |size| Table::create(device, options.robust(size)).err();
        assert_eq!(create(64 << 10), None);
        assert_eq!(create((64 << 10) + 8), Some(Error::Os(libc::EPERM)));
    })
    .join();
    drop(create(128 << 10, 128 << 10).expect("a table"));
}

fn without_robust_words() {
    let table = create(PAGE as u64, 0).expect("a table");
    for device in [fx(), &table] {
        let result = command::call_addr(device, uapi::RFUTEX_JOIN, 0);
        assert_eq!(result, Err(Error::Invalid));
    }
    let arena = Arena::map(table).expect("it is mapped");
    assert_eq!(Member::join(&arena).err(), Some(Error::Invalid));
    let robust = create(PAGE as u64, 8).expect("a table");
    for arg in [1, 8, u64::MAX] {
        let result = command::call_addr(&robust, uapi::RFUTEX_JOIN, arg);
        assert_eq!(result, Err(Error::Invalid));
    }
}

fn offsets() {
    let arena = arena();
    for offset in [0, 8, PAGE - 8] {
        assert!(RobustMutex::at(&arena, offset).is_some());
    }
    for offset in [1, 4, PAGE - 4, PAGE, 2 * PAGE, usize::MAX - 7] {
        assert!(RobustMutex::at(&arena, offset).is_none());
    }
}

/// Members count as watches do, until they end or the table is closed.
fn limit() {
    let _module = ReloadedModule::with("watches=3");
    let device = Rfutex::open().expect("the device");
    let arenas: Vec<_> = (0..4)
        .map(|_| {
            let options = TableOptions::new().arena(PAGE as u64).robust(64);
            let table = Table::create(&device, options).expect("a table");
            Arena::map(table).expect("it is mapped")
        })
        .collect();
    let full = Some(Error::Os(libc::ENOSPC));
    let fill = || {
        for (nr, arena) in arenas.iter().enumerate() {
            let error = Member::join(arena).err();
            assert_eq!(error, if nr < 3 { None } else { full });
        }
        // Whoever is a member stays one, and is not counted again.
        assert!(Member::join(&arenas[0]).is_ok());
    };
    Child::run(fill).join();
    // Each of them is given back on its own.
    for arena in &arenas[..3] {
        crate::harness::until("one has ended", || Member::join(arena).is_ok());
    }
    fill();
    let [first, ..] = &arenas[..] else {
        unreachable!();
    };
    assert!(Member::join(first).is_ok());
    drop(arenas);
}

/// Each allocation fails in turn. Whoever has not joined is no member.
fn no_memory() {
    let arena = arena();
    // It asks the device for the thread's id as well, which is an access to its memory.
    let failures = FailNth::new().each_allocation(|| {
        let theirs = arena.clone();
        Member::join(&theirs).map(drop)
    });
    assert!(failures > 0);
    let task = Task::spawn(move || Member::join(&arena).map(drop));
    assert_eq!(task.join(), Ok(()));
}
