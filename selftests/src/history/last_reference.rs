// SPDX-License-Identifier: GPL-2.0
//! The waiter's reference on an inode is the last one: the file is deleted when the waiter leaves,
//! which sleeps, so it must not be under RCU or a lock. The debug kernel complains if it is.
//!
//! Where a waiter holds nothing, the file is deleted under it, and it leaves a file that is gone.

use super::check_inodes_of_waiters;
use super::lone::LoneWaiter;
use crate::harness::{PAGE, Waiter, fx, until};
use crate::leap::Leap;
use crate::memory::{
    Disk, HUGE, Mount, Region, file_in, huge_tmpfs, inodes, map_new, map_unlinked,
};
use rfutex::{Error, WaitOptions};
use std::fs::File;
use std::path::Path;

trials![
    tmpfs_deadline,
    tmpfs_kill,
    tmpfs_huge_deadline,
    ext4_deadline,
    ext4_kill,
    xfs_deadline,
    xfs_kill,
    wake_then_last,
];

/// A waiter has an unlinked file, that nobody else has; the file goes when it gives up.
fn deadline(path: &Path, make: impl FnOnce() -> File) {
    let leap = Leap::new();
    let before = inodes(path);
    let file = make();
    let region = Region::shared(&file, 0, PAGE);
    let waiter = Waiter::start_with(region.word(0), 0, leap.options());
    std::fs::remove_file(path.join("file")).expect("unlink");
    drop((region, file));
    check_inodes_of_waiters(path, before, 1);
    assert!(!waiter.is_finished(), "it sleeps on");
    leap.now();
    assert_eq!(waiter.join(), Err(Error::TimedOut));
    // XFS deletes in the background.
    until("the inode is deleted", || inodes(path) == before);
}

/// The same with a waiter that is killed.
fn kill(path: &Path) {
    let before = inodes(path);
    let child = LoneWaiter::start(WaitOptions::default(), || {
        let region = map_unlinked(path, "file");
        (region.word(0), move || drop(region))
    });
    check_inodes_of_waiters(path, before, 1);
    child.kill();
    until("the inode is deleted", || inodes(path) == before);
}

fn tmpfs_deadline() {
    let mount = Mount::tmpfs("");
    deadline(mount.path(), || file_in(mount.path(), "file", PAGE));
}

fn tmpfs_kill() {
    kill(Mount::tmpfs("").path());
}

fn tmpfs_huge_deadline() {
    let (mount, file) = huge_tmpfs("first", HUGE);
    drop(file);
    deadline(mount.path(), || {
        let file = file_in(mount.path(), "file", HUGE);
        Region::shared(&file, 0, HUGE).touch();
        file
    });
}

fn ext4_deadline() {
    let disk = Disk::new("ext4");
    deadline(disk.path(), || file_in(disk.path(), "file", PAGE));
}

fn ext4_kill() {
    kill(Disk::new("ext4").path());
}

fn xfs_deadline() {
    let disk = Disk::new("xfs");
    // Its inodes come in chunks: the first file makes one.
    drop(file_in(disk.path(), "first", PAGE));
    deadline(disk.path(), || file_in(disk.path(), "file", PAGE));
}

fn xfs_kill() {
    let disk = Disk::new("xfs");
    drop(file_in(disk.path(), "first", PAGE));
    kill(disk.path());
}

/// A woken waiter has the last reference, while the waker still looks at the word.
fn wake_then_last() {
    let mount = Mount::tmpfs("");
    let before = inodes(mount.path());
    for _ in 0..20 {
        let region = map_new(mount.path(), "file");
        let word = region.word(0);
        let waiters = [Waiter::start(word, 0), Waiter::start(word, 0)];
        std::fs::remove_file(mount.path().join("file")).expect("unlink");
        assert_eq!(fx().wake_all(word), Ok(2));
        drop(region);
        waiters.into_iter().for_each(Waiter::woken);
        assert_eq!(inodes(mount.path()), before);
    }
}
