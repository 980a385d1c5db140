// SPDX-License-Identifier: GPL-2.0
//! What `/proc/PID/fdinfo` shows of the module's files.

use super::{ENTRY, listing};
use crate::harness::{Child, Mapping, PAGE, Waiter, fx, holds_inode};
use rfutex::{Event, Hold, Resolver, Rfutex, Table, TableOptions, WatchOptions, Watches};
use std::fs;
use std::os::fd::{AsFd, AsRawFd};

trials![
    device,
    own_tables,
    watch_set,
    of_a_listing,
    of_another_process
];

/// The lines of the module for the file `fd` of the process `pid`.
fn lines_of(pid: &str, fd: impl AsFd) -> Vec<(String, String)> {
    let path = format!("/proc/{pid}/fdinfo/{}", fd.as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).expect(&path);
    text.lines()
        .filter_map(|line| line.strip_prefix("rfutex-"))
        .map(|line| {
            let (name, value) = line.split_once(":\t").expect("a name and a value");
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn lines(fd: impl AsFd) -> Vec<(String, String)> {
    lines_of("self", fd)
}

#[track_caller]
fn check(fd: impl AsFd, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    assert_eq!(lines(fd), expected);
}

fn device() {
    let map = Mapping::shared(PAGE);
    let device = Rfutex::open().expect("the device");
    let hold = if holds_inode() { "inode" } else { "nothing" };
    for (resolver, name) in [(Resolver::Page, "page"), (Resolver::Vma, "vma")] {
        device.set_resolver(resolver).expect("a resolver");
        for nr in 0..4 {
            let waiters: Vec<_> = (0..nr)
                .map(|index| Waiter::start(map.word(64 * index), 0))
                .collect();
            check(
                &device,
                &[
                    ("table", "default"),
                    ("resolver", name),
                    ("hold", hold),
                    ("waiters", &nr.to_string()),
                ],
            );
            for (index, waiter) in waiters.into_iter().enumerate() {
                assert_eq!(fx().wake_one(map.word(64 * index)), Ok(1));
                waiter.woken();
            }
        }
    }
}

/// A table is known by a number that all its files show, and no other.
fn own_tables() {
    let map = Mapping::shared(PAGE);
    let create = |options| Table::create(fx(), options).expect("a table");
    let one = create(TableOptions::new().hold(Hold::Inode));
    let other = create(TableOptions::new().resolver(Resolver::Vma));
    let name = |fd: std::os::fd::BorrowedFd<'_>| {
        let lines = lines(fd);
        let (table, name) = lines.first().expect("a line").clone();
        assert_eq!(table, "table");
        let number = name.strip_prefix("own-").expect("a table of one's own");
        assert!(number.len() == 16 && number.chars().all(|digit| digit.is_ascii_hexdigit()));
        name
    };
    let names = [one.as_fd(), other.as_fd()].map(name);
    assert_ne!(names[0], names[1]);
    let sets = [&one, &other].map(|table| Watches::nonblocking(table).expect("a watch set"));
    assert_eq!(sets.each_ref().map(|set| name(set.as_fd())), names);
    let id = sets[0].add(map.word(0), 0, 1, WatchOptions::default());
    check(
        &one,
        &[
            ("table", &names[0]),
            ("resolver", "page"),
            ("hold", "inode"),
            ("waiters", "1"),
        ],
    );
    check(
        &other,
        &[
            ("table", &names[1]),
            ("resolver", "vma"),
            ("hold", "nothing"),
            ("waiters", "0"),
        ],
    );
    id.expect("a watch");
}

/// How many watches wait, and of how many there is something to be read.
fn watch_set() {
    let map = Mapping::shared(PAGE);
    let set = Watches::nonblocking(fx()).expect("a watch set");
    let counts = |armed: u32, pending: u32| {
        check(
            &set,
            &[
                ("table", "default"),
                ("resolver", "page"),
                ("armed", &armed.to_string()),
                ("pending", &pending.to_string()),
            ],
        );
    };
    let word = map.word(0);
    let add = |options| set.add(word, 0, 1, options).expect("a watch");
    let mut some = [Event::default(); 9];
    counts(0, 0);
    let first = add(WatchOptions::default());
    counts(1, 0);
    let repeated = add(WatchOptions::default().repeat());
    counts(2, 0);
    // The first is met, and waits no more.
    assert_eq!(fx().wake_one(word), Ok(1));
    counts(1, 1);
    assert_eq!(fx().wake_one(word), Ok(1));
    counts(1, 2);
    assert_eq!(fx().wake_one(word), Ok(1));
    counts(1, 2);
    assert_eq!(set.read(&mut some), Ok(2));
    counts(1, 0);
    // One that was read is gone, and one that was not is withdrawn.
    assert_eq!(set.remove(first), Ok(None));
    let second = add(WatchOptions::default());
    assert_eq!(fx().wake_all(word), Ok(2));
    counts(1, 2);
    assert_eq!(set.remove(second), Ok(Some(1)));
    counts(1, 1);
    assert_eq!(set.remove(repeated), Ok(Some(1)));
    counts(0, 0);
    // One that was removed while it waited.
    let third = add(WatchOptions::default());
    assert_eq!(set.remove(third), Ok(Some(0)));
    counts(0, 0);
    // An attempt that fails.
    assert!(set.add(word, 1, 1, WatchOptions::default()).is_err());
    counts(0, 0);
}

fn of_a_listing() {
    let file = listing(fx(), ENTRY).expect("a listing");
    check(&file, &[("table", "default")]);
}

/// Another process shows its files to who may look at it.
fn of_another_process() {
    let device = Rfutex::open().expect("the device");
    let child = Child::run(|| {
        loop {
            nix::unistd::pause();
        }
    });
    let lines = lines_of(&child.pid().to_string(), &device);
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], ("table".to_owned(), "default".to_owned()));
}
