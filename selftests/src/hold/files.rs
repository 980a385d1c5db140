// SPDX-License-Identifier: GPL-2.0
//! When a waiter is found again through another opening of its file, and when not.

use crate::harness::{
    Handler, PAGE, Waiter, fx, holds_inode, nr_waiters, object_of, signal_thread, until,
};
use crate::leap::Leap;
use crate::memory::{Disk, LoopDevice, Region, drop_inodes, map_new};
use nix::sys::signal::{SaFlags, Signal};
use rfutex::Error;
use std::fs::File;
use std::path::Path;

trials![evicted_ext4, evicted_xfs, block_device];

fn open(path: &Path) -> Region {
    let file = File::options().read(true).write(true).open(path);
    Region::shared(file.expect("the file"), 0, PAGE)
}

/// A file that nobody has open leaves memory at some time, and comes back as another inode. A waiter
/// that holds the inode keeps it there, and is found; one that does not has to be where it is.
fn evicted(fstype: &'static str) {
    let leap = Leap::new();
    let disk = Disk::new(fstype);
    let path = disk.path().join("file");
    let region = map_new(disk.path(), "file");
    let object = object_of(region.word(0));
    let waiter = Waiter::start_with(region.word(0), 0, leap.options());
    drop(region);

    if holds_inode() {
        drop_inodes();
        let region = open(&path);
        assert_eq!(object_of(region.word(0)), object);
        assert_eq!(fx().wake_all(region.word(0)), Ok(1));
        waiter.woken();
    } else {
        until("the inode is evicted", || {
            drop_inodes();
            object_of(open(&path).word(0)) != object
        });
        let region = open(&path);
        assert_eq!(nr_waiters(region.word(0)), 0);
        assert_eq!(fx().wake_all(region.word(0)), Ok(0));
        assert!(!waiter.is_finished(), "nobody woke it");
        leap.now();
        assert_eq!(waiter.join(), Err(Error::TimedOut));
    }
}

fn evicted_ext4() {
    evicted("ext4");
}

fn evicted_xfs() {
    evicted("xfs");
}

/// A block device is removed under a waiter, which does not have it open. One of the same number is
/// another device.
fn block_device() {
    let handler = Handler::counting(Signal::SIGUSR1, SaFlags::empty());
    let backing = tempfile::tempfile().expect("a file");
    backing.set_len(16 * PAGE as u64).expect("a length");
    let device = LoopDevice::new(&backing);
    let region = Region::shared(device.open(), 0, PAGE);
    let object = object_of(region.word(0));
    let waiter = Waiter::start(region.word(0), 0);
    drop(region);

    let device = device.replace(&backing);
    let region = Region::shared(device.open(), 0, PAGE);
    assert_ne!(object_of(region.word(0)), object);
    assert_eq!(nr_waiters(region.word(0)), 0);
    assert_eq!(fx().wake_all(region.word(0)), Ok(0));
    assert!(!waiter.is_finished(), "nobody woke it");
    signal_thread(waiter.tid(), handler.signal());
    assert_eq!(waiter.join(), Err(Error::Interrupted));
}
