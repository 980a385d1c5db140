// SPDX-License-Identifier: GPL-2.0
//! A moved waiter has let go of where it came from, and holds where it is: inode and superblock.
//! Where waiters hold nothing, that goes for neither.

use super::lone::LoneWaiter;
use super::{check_inodes_of_waiters, check_unmounted};
use crate::harness::{PAGE, Waiter, effort, fx, holds_inode, nr_waiters};
use crate::leap::Leap;
use crate::memory::{Disk, Mount, Region, inodes, map_new, map_unlinked};
use nix::mount::MntFlags;
use rfutex::{Error, WaitOptions};
use std::fs::File;
use std::path::Path;

trials![
    umount_both,
    umount_and_kill,
    to_private_memory,
    unlinked,
    back_and_forth,
];

/// How many are moved at once.
const MANY: u32 = 10;

fn map(directory: &Path) -> Region {
    map_new(directory, "file")
}

/// The file system that they left ends when it is unmounted; the one that they are on when the last
/// of them gives up.
fn umount_both() {
    for fstypes in [["ext4", "xfs"], ["xfs", "ext4"]] {
        let leap = Leap::new();
        let [mut source, mut target] = fstypes.map(Disk::new);
        let [from, to] = [&source, &target].map(|disk| map(disk.path()));
        let waiters: Vec<_> = (0..MANY)
            .map(|_| Waiter::start_with(from.word(0), 0, leap.options()))
            .collect();
        let moved = fx().requeue_if(from.word(0), 0, to.word(0), 0, u32::MAX);
        assert_eq!(moved, Ok(MANY));

        drop(from);
        source.umount(MntFlags::empty());
        source.until_gone();

        assert_eq!(nr_waiters(to.word(0)), MANY);
        drop(to);
        target.umount(MntFlags::empty());
        check_unmounted(&target);
        leap.now();
        for waiter in waiters {
            assert_eq!(waiter.join(), Err(Error::TimedOut));
        }
        target.until_gone();
    }
}

/// A waiter in another process is moved, and killed. The file that it is moved to has no name any
/// more, and ends with the file system. If waiters hold files, that is the file where it was: it is
/// not made to hold another.
fn umount_and_kill() {
    for fstype in ["xfs", "ext4"] {
        let mut disk = Disk::new(fstype);
        let child = LoneWaiter::start(WaitOptions::default(), || {
            let region = map(disk.path());
            (region.word(0), move || drop(region))
        });
        let file = File::options()
            .read(true)
            .write(true)
            .open(disk.path().join("file"))
            .expect("the file");
        std::fs::remove_file(disk.path().join("file")).expect("unlink");
        let (from, other) = (
            Region::shared(&file, 0, PAGE),
            map_unlinked(disk.path(), "other"),
        );
        let to = if holds_inode() {
            let refused = fx().requeue(from.word(0), other.word(0), 0, 1);
            assert_eq!(refused, Err(Error::Invalid));
            from.word(64)
        } else {
            other.word(0)
        };
        assert_eq!(fx().requeue(from.word(0), to, 0, 1), Ok(1));
        drop((file, from, other));
        disk.umount(MntFlags::empty());
        check_unmounted(&disk);
        child.kill();
        disk.until_gone();
    }
}

/// On private memory it holds no file system at all; and moved to one, it does.
fn to_private_memory() {
    let leap = Leap::new();
    let private = Region::private(PAGE);
    for word in [private.word(0), private.word(0).private()] {
        let mut disk = Disk::new("ext4");
        let region = map(disk.path());
        let waiters = [(); 2].map(|()| Waiter::start(region.word(0), 0));
        assert_eq!(fx().requeue(region.word(0), word, 0, 2), Ok(2));
        drop(region);
        disk.umount(MntFlags::empty());
        disk.until_gone();
        assert_eq!(fx().wake_all(word), Ok(2));
        waiters.into_iter().for_each(Waiter::woken);
    }
    let mut disk = Disk::new("ext4");
    let region = map(disk.path());
    let waiters = [(); 2].map(|()| Waiter::start_with(private.word(0), 0, leap.options()));
    assert_eq!(fx().requeue(private.word(0), region.word(0), 0, 2), Ok(2));
    drop(region);
    disk.umount(MntFlags::empty());
    check_unmounted(&disk);
    leap.now();
    for waiter in waiters {
        assert_eq!(waiter.join(), Err(Error::TimedOut));
    }
    disk.until_gone();
}

/// A file without a name goes with the last who waits there, and not before; if waiters hold
/// nothing, with the last who has it mapped.
fn unlinked() {
    let mount = Mount::tmpfs("");
    let before = inodes(mount.path());
    let unlinked = || map_unlinked(mount.path(), "file");
    let leap = Leap::new();
    let (from, to) = (unlinked(), unlinked());
    let waiters = [(); 3].map(|()| Waiter::start_with(from.word(0), 0, leap.options()));
    // Two of three: the source has to stay for the one.
    assert_eq!(fx().requeue(from.word(0), to.word(0), 0, 2), Ok(2));
    drop((from, to));
    check_inodes_of_waiters(mount.path(), before, 2);
    leap.now();
    for waiter in waiters {
        assert_eq!(waiter.join(), Err(Error::TimedOut));
    }
    assert_eq!(inodes(mount.path()), before);

    let leap = Leap::new();
    let (from, to) = (unlinked(), unlinked());
    let waiter = Waiter::start_with(from.word(0), 0, leap.options());
    assert_eq!(fx().requeue(from.word(0), to.word(0), 0, 1), Ok(1));
    drop((from, to));
    // Only that of the target.
    check_inodes_of_waiters(mount.path(), before, 1);
    leap.now();
    assert_eq!(waiter.join(), Err(Error::TimedOut));
    assert_eq!(inodes(mount.path()), before);
}

/// However often they are moved, the counts come out even: one too few would end the file under
/// them, one too many would keep it.
fn back_and_forth() {
    let rounds = effort(300);
    let mount = Mount::tmpfs("");
    let before = inodes(mount.path());
    let private = Region::private(PAGE);
    let [one, other] = ["one", "other"].map(|name| map_unlinked(mount.path(), name));
    let words = [
        one.word(0),
        one.word(64),
        other.word(0),
        private.word(0),
        other.word(64),
        private.word(0).private(),
    ];
    let waiters = [(); 5].map(|()| Waiter::start(words[0], 0));
    for round in 0..rounds {
        let [from, to] = [round, round + 1].map(|at| words[at % words.len()]);
        assert_eq!(fx().requeue(from, to, 0, u32::MAX), Ok(5), "round {round}");
    }
    let last = words[rounds % words.len()];
    assert_eq!(fx().wake_all(last), Ok(5));
    waiters.into_iter().for_each(Waiter::woken);
    drop((one, other));
    assert_eq!(inodes(mount.path()), before);
}
