// SPDX-License-Identifier: GPL-2.0
//! Who meets whom: those who have the table, and nobody else.

use super::{nr_waiters, table, waiter, with_arena, word};
use crate::harness::{Child, Mapping, PAGE, Waiter, fx, receive_file, send_file, until};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use rfutex::{Hold, Resolver, Table, TableOptions, WatchOptions, Watches, Word};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

trials![
    tables_never_meet,
    arenas_never_meet,
    table_of_a_table,
    duplicate,
    child,
    over_a_socket,
    closed_by_exec,
    made_as_asked_for,
    resolver_stays,
    watches,
    outlived_by_a_set,
];

/// The same words in three tables: each wake finds the waiter of its own table.
fn tables_never_meet() {
    let map = Mapping::shared(PAGE);
    for word in [map.word(0), map.word(0).private()] {
        let tables = [table(), table()];
        let own = tables.each_ref().map(|table| waiter(table, word));
        assert_eq!(fx().wake_all(word), Ok(0));
        let shared = Waiter::start(word, 0);
        for (table, own) in tables.iter().zip(own) {
            assert_eq!(nr_waiters(table, word), 1);
            assert_eq!(table.wake_all(word), Ok(1));
            assert_eq!(own.join(), Ok(()));
            assert_eq!(table.wake_all(word), Ok(0));
        }
        assert_eq!(fx().wake_all(word), Ok(1));
        shared.woken();
    }
}

fn arenas_never_meet() {
    let tables = [with_arena(1), with_arena(1)];
    let waiters = tables.each_ref().map(|table| waiter(table, word(64)));
    let objects = tables
        .each_ref()
        .map(|table| table.key_info(word(64)).expect("a key").object);
    assert_ne!(objects[0], objects[1]);
    for (table, waiter) in tables.iter().zip(waiters) {
        assert!(!waiter.is_finished());
        assert_eq!(table.wake_all(word(64)), Ok(1));
        assert_eq!(waiter.join(), Ok(()));
    }
}

/// A table that was made on the file of another one is none of that.
fn table_of_a_table() {
    let map = Mapping::shared(PAGE);
    let first = table();
    let second = Arc::new(Table::create(&first, TableOptions::new()).expect("a table"));
    let task = waiter(&second, map.word(0));
    assert_eq!(first.wake_all(map.word(0)), Ok(0));
    drop(first);
    assert_eq!(second.wake_all(map.word(0)), Ok(1));
    assert_eq!(task.join(), Ok(()));
}

fn duplicate() {
    let map = Mapping::shared(PAGE);
    let table = with_arena(1);
    let fd = table.as_fd().try_clone_to_owned().expect("dup");
    let other = Table::try_from(fd).expect("a table");
    for word in [map.word(0), word(8)] {
        let task = waiter(&table, word);
        assert_eq!(other.wake_all(word), Ok(1));
        assert_eq!(task.join(), Ok(()));
    }
}

/// A child of fork(2) has the table, and the mapping of the arena too.
fn child() {
    let map = Mapping::shared(PAGE);
    let table = with_arena(1);
    for word in [map.word(0), word(8)] {
        let child = Child::run(|| assert_eq!(table.wait(word, 0), Ok(())));
        until("the child waits", || nr_waiters(&table, word) == 1);
        assert_eq!(fx().wake_all(map.word(0)), Ok(0));
        assert_eq!(table.wake_all(word), Ok(1));
        child.join();
    }
}

/// A process that shares nothing else gets the table in a message.
fn over_a_socket() {
    let (here, there) = UnixDatagram::pair().expect("socketpair");
    let child = Child::run(|| {
        let table = Table::try_from(receive_file(&there)).expect("a table");
        assert_eq!(table.wait(word(16), 0), Ok(()));
    });
    let table = with_arena(1);
    send_file(&here, &table);
    until("the child waits", || nr_waiters(&table, word(16)) == 1);
    assert_eq!(table.wake_one(word(16)), Ok(1));
    child.join();
}

fn closed_by_exec() {
    let flags = fcntl(table().as_fd(), FcntlArg::F_GETFD).expect("fcntl");
    assert!(FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC));
}

fn made_as_asked_for() {
    let create = |options| Table::create(fx(), options).expect("a table");
    let query = create(TableOptions::new()).query().expect("query");
    assert_eq!((query.nr_buckets, query.hold), (64, Hold::Nothing));
    assert_eq!((query.resolver, query.arena_size), (Resolver::Page, 0));
    let options = TableOptions::new().buckets(100).resolver(Resolver::Vma);
    let query = create(options.arena(3 * PAGE as u64))
        .query()
        .expect("query");
    assert_eq!((query.nr_buckets, query.resolver), (128, Resolver::Vma));
    assert_eq!(query.arena_size, 3 * PAGE as u64);
    // The tests are root.
    let options = TableOptions::new().buckets(8192).hold(Hold::Inode);
    let query = create(options).query().expect("query");
    assert_eq!((query.nr_buckets, query.hold), (8192, Hold::Inode));
    assert_eq!(fx().query().expect("query").arena_size, 0);
}

/// What one who has the file does cannot change the keys of the others.
fn resolver_stays() {
    for resolver in [Resolver::Page, Resolver::Vma] {
        let options = TableOptions::new().resolver(resolver);
        let table = Table::create(fx(), options).expect("a table");
        for other in [Resolver::Page, Resolver::Vma] {
            assert_eq!(table.set_resolver(other), Err(rfutex::Error::Invalid));
        }
        assert_eq!(table.query().expect("query").resolver, resolver);
        let below = Table::create(&table, TableOptions::new()).expect("a table");
        assert_eq!(below.query().expect("query").resolver, resolver);
    }
}

/// The words of a watch set are those of the table on whose file it was opened.
fn watches() {
    let map = Mapping::shared(PAGE);
    let table = with_arena(1);
    let set = Watches::nonblocking(&table).expect("a watch set");
    for (cookie, word) in [(1, map.word(0)), (2, word(8)), (3, Word::in_arena(16, 8))] {
        set.add(word, 0, cookie, WatchOptions::default())
            .expect("a watch");
        assert_eq!(fx().wake_all(map.word(0)), Ok(0));
        assert_eq!(table.wake_all(word), Ok(1));
        let mut events = [rfutex::Event::default(); 2];
        assert_eq!(set.read(&mut events), Ok(1));
        assert_eq!((events[0].cookie, events[0].woken), (cookie, 1));
    }
    let options = WatchOptions::default();
    assert_eq!(set.add(word(8), 1, 0, options), Err(rfutex::Error::Again));
    let beyond = Word::in_arena(PAGE as u64, 4);
    assert_eq!(set.add(beyond, 0, 0, options), Err(rfutex::Error::Fault));
}

/// The file of the table is closed before a set that has watches on words of its arena.
fn outlived_by_a_set() {
    let table = with_arena(1);
    let set = Watches::nonblocking(&table).expect("a watch set");
    for cookie in 0..10 {
        set.add(word(8 * cookie), 0, cookie, WatchOptions::default())
            .expect("a watch");
    }
    drop(table);
    // Nobody can wake them any more. The arena is still compared with.
    let id = set
        .add(word(0), 0, 10, WatchOptions::default())
        .expect("a watch");
    assert_eq!(
        set.add(word(0), 1, 0, WatchOptions::default()),
        Err(rfutex::Error::Again)
    );
    assert_eq!(set.remove(id), Ok(Some(0)));
}
