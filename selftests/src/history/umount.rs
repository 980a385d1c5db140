// SPDX-License-Identifier: GPL-2.0
//! A file system is unmounted under a waiter.
//!
//! The inode reference of a waiter, without one on the superblock, was the bug: "Busy inodes after
//! unmount", and a crash when the waiter left. A waiter holds both, or, where the module was loaded
//! so, neither. If both, the file system lives on until the waiter is gone, though umount(2)
//! succeeds; then it ends, and its device is free. If neither, all is as if nobody waited.

use super::check_unmounted;
use super::lone::LoneWaiter;
use crate::harness::{Handler, PAGE, Waiter, fx, holds_inode, nr_waiters, signal_thread, until};
use crate::leap::Leap;
use crate::memory::{Disk, Mount, Region, file_in};
use nix::mount::MntFlags;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SaFlags, Signal};
use nix::unistd::{getgid, getuid};
use rfutex::{Error, WaitOptions};
use std::fs::File;
use std::path::Path;

trials![
    ext4_deadline,
    ext4_kill,
    ext4_lazy,
    ext4_mount_again,
    xfs_deadline,
    xfs_kill,
    xfs_lazy,
    xfs_mount_again,
    tmpfs_deadline,
    tmpfs_kill,
    tmpfs_lazy,
];

fn map(directory: &Path) -> Region {
    let file = file_in(directory, "file", PAGE);
    Region::shared(&file, 0, PAGE)
}

/// Waits in a mapped file of `disk`, and unmaps and unmounts it meanwhile.
fn unmounted_under_a_waiter(disk: &mut Disk, flags: MntFlags, leap: &Leap) -> Waiter {
    let region = map(disk.path());
    let waiter = Waiter::start_with(region.word(0), 0, leap.options());
    if flags == MntFlags::MNT_DETACH {
        // Lazily, it is the mapping at first that keeps the file system.
        disk.umount(flags);
        drop(region);
    } else {
        drop(region);
        disk.umount(flags);
    }
    check_unmounted(disk);
    assert!(!waiter.is_finished(), "it sleeps on");
    waiter
}

fn deadline(fstype: &'static str, flags: MntFlags) {
    let leap = Leap::new();
    let mut disk = Disk::new(fstype);
    let waiter = unmounted_under_a_waiter(&mut disk, flags, &leap);
    leap.now();
    assert_eq!(waiter.join(), Err(Error::TimedOut));
    disk.until_gone();
}

fn ext4_deadline() {
    deadline("ext4", MntFlags::empty());
}

fn ext4_lazy() {
    deadline("ext4", MntFlags::MNT_DETACH);
}

fn xfs_deadline() {
    deadline("xfs", MntFlags::empty());
}

fn xfs_lazy() {
    deadline("xfs", MntFlags::MNT_DETACH);
}

/// To mount the device again is to find the file system that the waiters kept, and the waiters. If
/// they hold nothing, it is another file system, and they are on no word of it.
fn mount_again(fstype: &'static str) {
    let leap = Leap::new();
    let handler = Handler::counting(Signal::SIGUSR1, SaFlags::empty());
    let mut disk = Disk::new(fstype);
    let device = disk.open_device();
    let region = map(disk.path());
    let late = Waiter::start_with(region.word(0), 0, leap.options());
    let interrupted = Waiter::start(region.word(0), 0);
    drop(region);
    disk.umount(MntFlags::empty());
    if !holds_inode() {
        until("the file system is gone", || !disk.is_alive());
    }

    disk.mount();
    let file = File::options()
        .read(true)
        .write(true)
        .open(disk.path().join("file"))
        .expect("the file");
    let region = Region::shared(&file, 0, PAGE);
    let word = region.word(0);
    if holds_inode() {
        assert_eq!(fx().wake_all(word), Ok(2));
        late.woken();
        interrupted.woken();
    } else {
        assert_eq!(nr_waiters(word), 0);
        assert_eq!(fx().wake_all(word), Ok(0));
        assert!(!late.is_finished() && !interrupted.is_finished());
        leap.now();
        assert_eq!(late.join(), Err(Error::TimedOut));
        signal_thread(interrupted.tid(), handler.signal());
        assert_eq!(interrupted.join(), Err(Error::Interrupted));
    }
    drop((region, file));
    disk.umount(MntFlags::empty());
    drop(device);
    disk.until_gone();
}

fn ext4_mount_again() {
    mount_again("ext4");
}

fn xfs_mount_again() {
    mount_again("xfs");
}

fn kill(fstype: &'static str) {
    let mut disk = Disk::new(fstype);
    let child = LoneWaiter::start(WaitOptions::default(), || {
        let region = map(disk.path());
        (region.word(0), move || drop(region))
    });
    disk.umount(MntFlags::empty());
    check_unmounted(&disk);
    child.kill();
    disk.until_gone();
}

fn ext4_kill() {
    kill("ext4");
}

fn xfs_kill() {
    kill("xfs");
}

/// The same with a tmpfs that a user mounted in namespaces of its own. Whether the file system
/// ends cannot be seen from outside; what the kernel says of a wrong end can.
fn tmpfs(leap: &Leap, flags: MntFlags) -> LoneWaiter {
    // Opened before it leaves the user namespace that may.
    let _ = fx();
    let directory = tempfile::tempdir().expect("a directory");
    LoneWaiter::start(leap.options(), || {
        let (uid, gid) = (getuid(), getgid());
        unshare(CloneFlags::CLONE_NEWUSER).expect("unshare");
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
        std::fs::write("/proc/self/setgroups", "deny").expect("setgroups");
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");

        let mount = Mount::over(directory.path(), "tmpfs", "");
        let region = map(mount.path());
        (region.word(0), move || {
            if flags == MntFlags::MNT_DETACH {
                mount.umount(flags).expect("umount2");
                drop(region);
            } else {
                drop(region);
                mount.umount(flags).expect("umount2");
            }
        })
    })
}

fn tmpfs_deadline() {
    let leap = Leap::new();
    let child = tmpfs(&leap, MntFlags::empty());
    leap.now();
    child.timed_out();
}

fn tmpfs_kill() {
    tmpfs(&Leap::new(), MntFlags::empty()).kill();
}

fn tmpfs_lazy() {
    let leap = Leap::new();
    let child = tmpfs(&leap, MntFlags::MNT_DETACH);
    leap.now();
    child.timed_out();
}
