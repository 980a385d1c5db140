// SPDX-License-Identifier: GPL-2.0
//! `rfutexctl doctor` finds each kind of trouble, made on purpose, and nothing where there is none.

use super::{Shm, run};
use crate::harness::{Child, PAGE, Task, Waiter, fx, holds_inode, nr_waiters, until_queued};
use crate::memory::{Mount, Overlay, Region, RegionWord, map_new};
use nix::mount::MntFlags;
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex::{Owner, Rfutex, Table, TableOptions, WaitOptions, Word};
use serde::Deserialize;
use std::fs::File;
use std::sync::mpsc;

trials![
    nothing_wrong,
    private_and_shared,
    private_in_two_processes,
    private_mapping,
    copy_up,
    copy_after_fork,
    two_tables,
    cycle,
    changed,
    unmounted,
];

/// A finding, as `doctor --json` shows it.
#[derive(Debug, Deserialize)]
struct Finding {
    trouble: String,
    text: String,
}

/// What it finds: the kinds of trouble, and all of its text.
#[track_caller]
fn doctor() -> (Vec<String>, String) {
    let said = run(&["doctor", "--older-than", "0", "--json"]);
    assert_eq!(said.err, "", "{said:?}");
    let findings: Vec<Finding> = super::parse(&said.out);
    let status = if findings.is_empty() { 0 } else { 3 };
    assert_eq!(said.status, Some(status), "{said:?}");
    let texts: Vec<_> = findings.iter().map(|one| one.text.as_str()).collect();
    let text = texts.join("\n");
    (findings.into_iter().map(|one| one.trouble).collect(), text)
}

/// It finds `trouble` and no other, and says `why`.
#[track_caller]
fn finds(trouble: &str, why: &str) -> String {
    let (troubles, text) = doctor();
    assert_eq!(troubles, [trouble], "{text}");
    assert!(text.contains(why), "{text}");
    text
}

#[track_caller]
fn wake(waiters: impl IntoIterator<Item = (Word<'static>, Waiter)>) {
    for (word, waiter) in waiters {
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    }
}

fn nothing_wrong() {
    let shm = Shm::new("nothing-wrong");
    let other = shm.region.duplicate();
    let words = [shm.region.word(0), shm.region.word(4), other.word(8)];
    let waiters = words.map(|word| (word, Waiter::start(word, 0)));
    let said = run(&["doctor", "--older-than", "0"]).well();
    assert_eq!(said, "3 waiters were looked at, and nothing looks wrong.\n");
    wake(waiters);
}

fn private_and_shared() {
    let shm = Shm::new("private-and-shared");
    let memory = Region::private(PAGE);
    for word in [shm.region.word(8), memory.word(8)] {
        let words = [word, word.private()];
        let waiters = words.map(|word| (word, Waiter::start(word, 0)));
        finds(
            "do-not-meet",
            "is private (RFUTEX_WORD_PRIVATE), the other is",
        );
        wake(waiters);
    }
}

/// A child that waits on `word`, killed at the end of the test.
#[track_caller]
fn child_on(word: Word<'static>) -> Child {
    let child = Child::run(move || {
        let _ = Rfutex::open().expect("the device").wait(word, 0);
    });
    let number = child.pid().as_raw().to_string();
    crate::harness::until("the child waits", || {
        super::list::listed(&["--process", &number]).len() == 1
    });
    child
}

fn private_in_two_processes() {
    let shm = Shm::new("private-in-two");
    let word = shm.region.word(0).private();
    let waiter = Waiter::start(word, 0);
    let child = child_on(word);
    let text = finds("do-not-meet", "both are private");
    assert!(text.contains(&child.pid().to_string()), "{text}");
    assert!(
        text.contains("/dev/shm/private-in-two") || text.contains("0x"),
        "{text}"
    );
    drop(child);
    wake([(word, waiter)]);
}

fn private_mapping() {
    let shm = Shm::new("private-mapping");
    let file = File::open(&shm.path).expect("the file");
    let rw = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let copy = Region::file(file, 0, PAGE, rw, MapFlags::MAP_PRIVATE);
    copy.touch();
    let words = [shm.region.word(16), copy.word(16)];
    let waiters = words.map(|word| (word, Waiter::start(word, 0)));
    finds("do-not-meet", "mapped privately (MAP_PRIVATE)");
    wake(waiters);
}

fn copy_up() {
    let overlay = Overlay::new("file", PAGE);
    let path = overlay.path().join("file");
    let file = File::open(&path).expect("the file");
    let before = Region::file(file, 0, PAGE, ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
    let file = File::options().read(true).write(true).open(&path);
    let after = Region::shared(file.expect("the file"), 0, PAGE);
    let words = [before.word(0), after.word(0)];
    let waiters = words.map(|word| (word, Waiter::start(word, 0)));
    finds("do-not-meet", "overlayfs");
    wake(waiters);
}

fn copy_after_fork() {
    let memory = Region::private(PAGE);
    let word = memory.word(0);
    let waiter = Waiter::start(word, 0);
    let child = child_on(word);
    let why = format!("process {} is a child of process", child.pid());
    finds("do-not-meet", &why);
    drop(child);
    wake([(word, waiter)]);
}

fn two_tables() {
    let shm = Shm::new("two-tables");
    let word = shm.region.word(0);
    let table = Table::create(fx(), TableOptions::new()).expect("a table");
    let table: &'static Table = Box::leak(Box::new(table));
    let waiter = Waiter::start(word, 0);
    let task = Task::spawn(move || table.wait(word, 0));
    crate::harness::until("a thread waits in the table", || {
        table.key_info(word).expect("a key").nr_waiters == 1
    });
    finds("do-not-meet", "the other in the table");
    assert_eq!(table.wake_all(word), Ok(1));
    assert_eq!(task.join(), Ok(()));
    wake([(word, waiter)]);
}

/// Two threads name each other; a third that waits for one of them is in no circle.
fn cycle() {
    let shm = Shm::new("cycle");
    let words = [0, 4, 8].map(|offset| shm.region.word(offset));
    let owned = |thread: i32| {
        let thread = u32::try_from(thread).expect("a number");
        WaitOptions::default().owner(Owner::thread(thread))
    };
    let (tell, told) = mpsc::channel();
    let first = Task::spawn(move || {
        let other = told.recv().expect("the other thread");
        fx().wait_with(words[0], 0, owned(other))
    });
    let second = Waiter::start_with(words[1], 0, owned(first.tid().as_raw()));
    let third = Waiter::start_with(words[2], 0, owned(second.tid().as_raw()));
    tell.send(second.tid().as_raw()).expect("it listens");
    until_queued(words[0], 1);
    let text = finds("cycle", "none of them can go on");
    for tid in [first.tid(), second.tid()] {
        assert!(text.contains(&format!("thread {tid} of process")), "{text}");
    }
    let third_waits = format!("thread {} of process", third.tid());
    assert!(!text.contains(&third_waits), "{text}");
    assert_eq!(fx().wake_all(words[0]), Ok(1));
    assert_eq!(first.join(), Ok(()));
    // Its end has ended the wait for it.
    assert_eq!(second.join(), Err(rfutex::Error::OwnerEnded));
    assert_eq!(third.join(), Err(rfutex::Error::OwnerEnded));
}

fn changed() {
    let shm = Shm::new("changed");
    let word = shm.region.word(32);
    let waiter = Waiter::start(word, 0);
    assert_eq!(doctor().0, [""; 0]);
    word.store(5);
    finds("changed", "was 0x0, which is 0x5 by now");
    // It has not waited for so long.
    assert_eq!(run(&["doctor", "--older-than", "1d"]).status, Some(0));
    wake([(word, waiter)]);
}

fn unmounted() {
    let mount = Mount::tmpfs("");
    let region = map_new(mount.path(), "file");
    let word = region.word(0);
    let other = Region::private(PAGE);
    let waiter = Waiter::start(word, 0);
    assert_eq!(doctor().0, [""; 0]);
    mount.umount(MntFlags::MNT_DETACH).expect("umount");
    if holds_inode() {
        finds("unmounted", "is not mounted any more");
    } else {
        assert_eq!(doctor().0, [""; 0], "it holds nothing");
    }
    assert_eq!(nr_waiters(other.word(0)), 0);
    wake([(word, waiter)]);
}
