// SPDX-License-Identifier: GPL-2.0
//! A watch holds nothing, whatever the module was loaded with: no inode, no file system, no address
//! space, and no number that anything else could have later.

use super::{add, add_repeat, counts, events, set};
use crate::harness::{Child, Mapping, PAGE, fx, nr_waiters, object_of, until, until_in_syscall};
use crate::memory::{Disk, Mount, Region, RegionWord, drop_inodes, inodes, map_new};
use nix::mount::MntFlags;
use nix::sys::mman::{MapFlags, ProtFlags};
use nix::sys::signal::Signal;
use nix::unistd::pause;
use rfutex::{Error, Event, WatchOptions, Watches};
use std::fs::File;

trials![
    umount_ext4,
    umount_xfs,
    umount_tmpfs,
    umount_after_an_event,
    umount_after_requeue,
    loop_device,
    unlinked_tmpfs,
    unlinked_ext4,
    evicted,
    process_killed,
    numbers_of_the_dead,
    addresses_of_the_dead,
    requeue_of_the_dead,
    killed_while_it_reads,
];

/// Watches on a file of the disk, of both kinds. Nothing else of it is used any more.
#[track_caller]
fn umounted(fstype: &'static str) {
    let set = set();
    let mut disk = Disk::new(fstype);
    let region = map_new(disk.path(), "file");
    let ids = [
        add(&set, region.word(0), 1),
        add_repeat(&set, region.word(64), 2),
    ];
    drop(region);
    disk.umount(MntFlags::empty());
    // The watches are still there, and the file system is not.
    disk.until_gone();
    for id in ids {
        assert_eq!(set.remove(id), Ok(Some(0)));
    }
}

fn umount_ext4() {
    umounted("ext4");
}

fn umount_xfs() {
    umounted("xfs");
}

fn umount_tmpfs() {
    let set = set();
    let mount = Mount::tmpfs("");
    let region = map_new(mount.path(), "file");
    add(&set, region.word(0), 1);
    drop(region);
    mount.umount(MntFlags::empty()).expect("umount2");
    // The same again: the numbers of the first are not used again.
    let mount = Mount::tmpfs("");
    let region = map_new(mount.path(), "file");
    assert_eq!(nr_waiters(region.word(0)), 0);
    assert_eq!(fx().wake_all(region.word(0)), Ok(0));
    assert_eq!(events(&set), []);
}

/// What is yet to be read holds nothing either.
fn umount_after_an_event() {
    let set = set();
    let mut disk = Disk::new("ext4");
    let region = map_new(disk.path(), "file");
    add(&set, region.word(0), 1);
    add_repeat(&set, region.word(0), 2);
    assert_eq!(fx().wake_all(region.word(0)), Ok(2));
    drop(region);
    disk.umount(MntFlags::empty());
    disk.until_gone();
    assert_eq!(counts(&set), [(1, 1), (2, 1)]);
}

/// A watch that was moved to a word of the file holds nothing, nor does one that was moved away.
fn umount_after_requeue() {
    let set = set();
    let map = Mapping::shared(PAGE);
    let mut disk = Disk::new("ext4");
    let region = map_new(disk.path(), "file");
    let away = add(&set, region.word(0), 1);
    assert_eq!(fx().requeue(region.word(0), map.word(0), 0, 9), Ok(1));
    let moved = add(&set, map.word(64), 2);
    assert_eq!(fx().requeue(map.word(64), region.word(64), 0, 9), Ok(1));
    assert_eq!(nr_waiters(region.word(64)), 1);
    drop(region);
    disk.umount(MntFlags::empty());
    disk.until_gone();
    assert_eq!(set.remove(moved), Ok(Some(0)));
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(counts(&set), [(1, 1)]);
    assert_eq!(set.remove(away), Ok(None));
}

/// A word on a block device: the device is let go of.
fn loop_device() {
    let set = set();
    let mut disk = Disk::new("ext4");
    let device = disk.open_device();
    let region = Region::file(&device, 0, PAGE, ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
    let word = region.word(1024);
    let id = set.add(word, word.load().into(), 1, WatchOptions::default());
    disk.umount(MntFlags::empty());
    drop((region, device));
    disk.until_gone();
    assert_eq!(set.remove(id.expect("a watch")), Ok(Some(0)));
}

fn unlinked_tmpfs() {
    let set = set();
    let mount = Mount::tmpfs("");
    let before = inodes(mount.path());
    let region = map_new(mount.path(), "file");
    let ids = [
        add(&set, region.word(0), 1),
        add_repeat(&set, region.word(0), 2),
    ];
    std::fs::remove_file(mount.path().join("file")).expect("unlink");
    assert_eq!(fx().wake_one(region.word(0)), Ok(1));
    drop(region);
    until("the inode is free", || inodes(mount.path()) == before);
    assert_eq!(ids.map(|id| set.remove(id)), [Ok(Some(1)), Ok(Some(0))]);
}

fn unlinked_ext4() {
    let set = set();
    let disk = Disk::new("ext4");
    let before = inodes(disk.path());
    let region = map_new(disk.path(), "file");
    let id = add(&set, region.word(0), 1);
    std::fs::remove_file(disk.path().join("file")).expect("unlink");
    drop(region);
    until("the inode is free", || inodes(disk.path()) == before);
    // The next one is made of the same.
    let region = map_new(disk.path(), "file");
    assert_eq!(fx().wake_all(region.word(0)), Ok(0));
    assert_eq!(set.remove(id), Ok(Some(0)));
}

/// The file is there still, but the kernel has forgotten its inode meanwhile: the watch meets nobody
/// any more.
fn evicted() {
    let set = set();
    let disk = Disk::new("ext4");
    let region = map_new(disk.path(), "file");
    let number = object_of(region.word(0));
    let id = add_repeat(&set, region.word(0), 1);
    drop(region);
    let region = || {
        let file = File::options()
            .read(true)
            .write(true)
            .open(disk.path().join("file"));
        Region::shared(file.expect("the file"), 0, PAGE)
    };
    until("the inode is evicted", || {
        drop_inodes();
        object_of(region().word(0)) != number
    });
    let again = region();
    assert_eq!(nr_waiters(again.word(0)), 0);
    assert_eq!(fx().wake_all(again.word(0)), Ok(0));
    assert_eq!(set.remove(id), Ok(Some(0)));
}

/// A process that has armed watches is killed. Those in another process's set stay.
fn process_killed() {
    let map = Mapping::shared(PAGE);
    let ours = set();
    let child = Child::run(|| {
        let theirs = set();
        add(&theirs, map.word(0), 1);
        add(&ours, map.word(0), 2);
        add(&ours, map.word(0).private(), 3);
        loop {
            pause();
        }
    });
    until("they are armed", || nr_waiters(map.word(0)) == 2);
    child.kill(Signal::SIGKILL);
    child.status();
    assert_eq!(nr_waiters(map.word(0)), 1);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(fx().wake_all(map.word(0).private()), Ok(0));
    assert_eq!(counts(&ours), [(2, 1)]);
}

/// How many processes follow each other.
const PROCESSES: usize = 40;

/// The number of an address space is that of no other one, also when that lies where the first did.
fn numbers_of_the_dead() {
    let map = Mapping::private(PAGE);
    let set = set();
    for round in 0..PROCESSES {
        let child = Child::run(|| {
            let words = [map.word(0), map.word(0).private()];
            for word in words {
                // A child has the parent's pages until it writes to them.
                map.write(0, &[0; 4]);
                assert_eq!(nr_waiters(word), 0, "{round}");
                assert_eq!(fx().wake_all(word), Ok(0), "{round}");
                add(&set, word, round as u64);
                assert_eq!(nr_waiters(word), 1, "{round}");
            }
        });
        child.join();
    }
    assert_eq!(events(&set), []);
}

/// Of a dead process, too, a watch cannot be moved to where only another process could meet it. Each
/// of these processes is made where the last one was.
fn addresses_of_the_dead() {
    let shared = Mapping::shared(PAGE);
    let map = Mapping::private(PAGE);
    let set = set();
    Child::run(|| {
        add(&set, shared.word(0), 1);
    })
    .join();
    for _ in 0..PROCESSES {
        Child::run(|| {
            for to in [map.word(0), map.word(0).private()] {
                let result = fx().requeue(shared.word(0), to, 0, 1);
                assert_eq!(result, Err(Error::Invalid));
            }
        })
        .join();
    }
    assert_eq!(fx().wake_all(shared.word(0)), Ok(1));
    assert_eq!(counts(&set), [(1, 1)]);
}

/// It can be moved to where all can meet it, again and again. The one that repeats stays.
fn requeue_of_the_dead() {
    let maps = [(); 3].map(|()| Mapping::shared(PAGE));
    let words = maps.each_ref().map(|map| map.word(0));
    let set = set();
    Child::run(|| {
        add(&set, words[0], 1);
        add_repeat(&set, words[0], 2);
    })
    .join();
    for (from, to, moved) in [(0, 1, 2), (1, 2, 1), (2, 0, 1), (0, 1, 2)] {
        assert_eq!(fx().requeue(words[from], words[to], 0, 9), Ok(moved));
    }
    assert_eq!(words.map(nr_waiters), [1, 1, 0]);
    assert_eq!(fx().wake_all(words[1]), Ok(1));
    assert_eq!(fx().wake_all(words[0]), Ok(1));
    let events = events(&set);
    let told: Vec<_> = events
        .iter()
        .map(|e| (e.cookie, e.woken, e.moved))
        .collect();
    assert_eq!(told, [(2, 1, 2), (1, 1, 0)]);
}

/// The process that has the set is killed while it reads: what it had armed is gone.
fn killed_while_it_reads() {
    let map = Mapping::shared(PAGE);
    let child = Child::run(|| {
        let set = Watches::new(fx()).expect("a watch set");
        add(&set, map.word(0), 1);
        let _ = set.read(&mut [Event::default()]);
    });
    until("it is armed", || nr_waiters(map.word(0)) == 1);
    until_in_syscall(child.pid(), child.pid(), libc::SYS_read);
    child.kill(Signal::SIGKILL);
    child.status();
    assert_eq!(nr_waiters(map.word(0)), 0);
}
