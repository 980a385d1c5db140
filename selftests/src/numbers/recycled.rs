// SPDX-License-Identifier: GPL-2.0
//! What is made in the memory of something that has gone is something else: nobody on it meets those
//! who slept on the old one.

use super::all_differ;
use crate::harness::{
    Child, Mapping, PAGE, Waiter, fx, holds_inode, nr_waiters, object_of, until, until_queued,
};
use crate::leap::Leap;
use crate::memory::{Disk, Mount, Region, file_in, inodes, map_new, map_unlinked};
use nix::sys::signal::Signal;
use rfutex::{Error, Word};
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

trials![xfs_in_place, tmpfs, address_spaces];

/// How many files or processes follow each other.
const ROUNDS: usize = 10;

/// What XFS counts: how often an inode was looked for in memory and was there, and how often not.
#[derive(Debug, PartialEq, Eq)]
struct Lookups {
    found: u64,
    missed: u64,
}

impl Lookups {
    #[track_caller]
    fn of(disk: &Disk) -> Self {
        let path = format!("/sys/fs/xfs/{}/stats/stats", disk.device_name());
        let text = std::fs::read_to_string(&path).expect("what XFS counts");
        // Attempts, found, found too early or too late, missed, ...
        let line = text.lines().find_map(|line| line.strip_prefix("ig "));
        let numbers = line.expect("a line on inodes").split(' ');
        let numbers: Vec<u64> = numbers.map(|n| n.parse().expect("a number")).collect();
        Self {
            found: numbers[1],
            missed: numbers[3],
        }
    }
}

/// Nobody is found on `word`, and who waits there is found alone.
#[track_caller]
fn check_new(word: Word<'static>) {
    assert_eq!(nr_waiters(word), 0);
    assert_eq!(fx().wake_all(word), Ok(0));
    assert_eq!(fx().requeue(word, word, 0, 1), Ok(0));
    let waiter = Waiter::start(word, 0);
    assert_eq!(fx().wake_all(word), Ok(1));
    waiter.woken();
}

/// XFS keeps an inode in memory for a while after it has freed it, and makes the next file of that
/// number from the same. Unless a waiter holds it: then it is not freed.
fn xfs_in_place() {
    let leap = Leap::new();
    let disk = Disk::new("xfs");
    // Inodes come in chunks: the first file makes one.
    drop(file_in(disk.path(), "first", PAGE));
    let before = inodes(disk.path());
    let name = disk.path().join("file");
    let number = || std::fs::metadata(&name).expect("the file").ino();
    let (mut recycled, mut waiters) = (0, Vec::new());
    for _ in 0..ROUNDS {
        let region = map_new(disk.path(), "file");
        let (ino, object) = (number(), object_of(region.word(0)));
        waiters.push(Waiter::start_with(region.word(0), 0, leap.options()));
        std::fs::remove_file(&name).expect("unlink");
        drop(region);
        if !holds_inode() {
            until("the inode is free", || inodes(disk.path()) == before);
        }

        let lookups = Lookups::of(&disk);
        let region = map_new(disk.path(), "file");
        let Lookups { found, missed } = Lookups::of(&disk);
        let was_there = found > lookups.found && missed == lookups.missed;
        recycled += usize::from(was_there && number() == ino);
        assert_ne!(object_of(region.word(0)), object);
        check_new(region.word(0));
        std::fs::remove_file(&name).expect("unlink");
        drop(region);
        if !holds_inode() {
            until("the inode is free", || inodes(disk.path()) == before);
        }
    }
    // The kernel may have given back the memory of one or the other meanwhile.
    assert_eq!(recycled > 0, !holds_inode(), "{recycled} were recycled");
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    leap.now();
    for waiter in waiters {
        assert_eq!(waiter.join(), Err(Error::TimedOut));
    }
    until("all inodes are free", || inodes(disk.path()) == before);
}

/// Many new files after some that were deleted under their waiters.
fn tmpfs() {
    const MANY: usize = 300;
    let leap = Leap::new();
    let mount = Mount::tmpfs("");
    let (mut objects, mut waiters) = (HashSet::new(), Vec::new());
    for _ in 0..ROUNDS {
        let region = map_unlinked(mount.path(), "old");
        objects.insert(object_of(region.word(0)));
        waiters.push(Waiter::start_with(region.word(0), 0, leap.options()));
    }
    for _ in 0..MANY {
        let region = map_unlinked(mount.path(), "new");
        assert_eq!(nr_waiters(region.word(0)), 0);
        assert_eq!(fx().wake_all(region.word(0)), Ok(0));
        objects.insert(object_of(region.word(0)));
    }
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    if !holds_inode() {
        assert_eq!(objects.len(), ROUNDS + MANY, "each is another");
    }
    leap.now();
    for waiter in waiters {
        assert_eq!(waiter.join(), Err(Error::TimedOut));
    }
    let again: Vec<_> = (0..ROUNDS)
        .map(|_| map_unlinked(mount.path(), "again"))
        .collect();
    all_differ(
        &again
            .iter()
            .map(|region| region.word(0))
            .collect::<Vec<_>>(),
    );
}

/// One process after the other has threads that sleep at an address, and is killed. The next ones do
/// not find them there, nor those of their parent.
fn address_spaces() {
    let region = Region::private(PAGE);
    let words = [region.word(0), region.word(64).private()];
    let waiters = words.map(|word| Waiter::start(word, 0));
    let objects = words.map(object_of);
    let mut seen: [HashSet<u64>; 2] = objects.map(|object| [object].into());
    let told = Mapping::shared(PAGE);
    let signs = [0, 8].map(|at| told.atomic::<AtomicU64>(at));
    let done = told.word(64);
    for _ in 0..ROUNDS {
        let child = Child::run(|| {
            for (word, sign) in words.into_iter().zip(signs) {
                check_new(word);
                std::mem::forget(Waiter::start(word, 0));
                sign.store(object_of(word), Ordering::SeqCst);
            }
            fx().wait(done, 0).expect("nobody wakes it");
        });
        until_queued(done, 1);
        for (seen, sign) in seen.iter_mut().zip(signs) {
            assert!(seen.insert(sign.load(Ordering::SeqCst)), "it was there");
        }
        child.kill(Signal::SIGKILL);
        child.status();
    }
    for (word, waiter) in words.into_iter().zip(waiters) {
        assert_eq!(nr_waiters(word), 1, "its own");
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    }
}
