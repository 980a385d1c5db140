// SPDX-License-Identifier: GPL-2.0
//! What a program does to memory under its own waiters: maps over it, moves it, and takes it from
//! the file or the file from its name. A waiter stays with what its key was made of, and as long
//! as that can be reached, it can be woken.

use super::each::key_of;
use crate::harness::{Child, PAGE, Waiter, fx, nr_waiters, until_queued};
use crate::leap::Leap;
use crate::memory::{Disk, Mount, Region, RegionWord, file_in, memfd, rw};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::mman::{MapFlags, ProtFlags};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use rfutex::Error;
use std::fs::File;
use std::path::Path;

trials![
    map_over_shared,
    map_over_private,
    map_over_by_another_process,
    mremap_shared,
    mremap_private,
    munmap_and_map_again,
    truncate,
    punch_hole,
    remove_by_advice,
    rename_and_unlink,
    unlink_and_let_go,
    exit_of_the_waiter,
];

/// Runs `test` with a new file of two pages on each type of file system.
fn on_each(test: fn(&Path, &File)) {
    let run = |path: &Path| test(path, &file_in(path, "file", 2 * PAGE));
    let mount = Mount::tmpfs("");
    run(mount.path());
    for fstype in Disk::TYPES {
        let disk = Disk::new(fstype);
        run(disk.path());
    }
}

fn map_over_shared() {
    on_each(|_, file| {
        let region = Region::shared(file, 0, 2 * PAGE);
        let again = Region::shared(file, 0, 2 * PAGE);
        let waiter = Waiter::start(region.word(0), 0);
        region.map_over_anonymous(0, PAGE);
        assert_eq!(fx().wake_all(region.word(0)), Ok(0));
        // The other page of the file is another word.
        region.map_over(0, PAGE, file, PAGE, rw(), MapFlags::MAP_SHARED);
        assert_eq!(fx().wake_all(region.word(0)), Ok(0));
        assert_eq!(fx().wake_all(again.word(0)), Ok(1));
        waiter.woken();
    });
}

/// The address is the key: what is mapped there now is the waiter's word.
fn map_over_private() {
    let region = Region::private(PAGE);
    let (shared, private) = (region.word(0), region.word(4).private());
    let waiters = [Waiter::start(shared, 0), Waiter::start(private, 0)];
    let file = memfd(PAGE);
    region.map_over(0, PAGE, &file, 0, rw(), MapFlags::MAP_SHARED);
    assert_eq!(fx().wake_all(shared), Ok(0));
    assert_eq!(nr_waiters(private), 1);
    region.map_over_anonymous(0, PAGE);
    assert_eq!(fx().wake_all(shared), Ok(1));
    assert_eq!(fx().wake_all(private), Ok(1));
    waiters.into_iter().for_each(Waiter::woken);
}

/// A wake from a process that maps the file still.
fn map_over_by_another_process() {
    on_each(|_, file| {
        let region = Region::shared(file, 0, PAGE);
        let waiter = Waiter::start(region.word(0), 0);
        let file = file.try_clone().expect("dup");
        region.map_over_anonymous(0, PAGE);
        Child::run(|| {
            let region = Region::shared(&file, 0, PAGE);
            assert_eq!(fx().wake_all(region.word(0)), Ok(1));
        })
        .join();
        waiter.woken();
    });
}

fn mremap_shared() {
    on_each(|_, file| {
        let mut region = Region::shared(file, PAGE, PAGE);
        let waiter = Waiter::start(region.word(0), 0);
        let key = key_of(region.word(0));
        let moved = region.relocate();
        assert_eq!(fx().wake_all(region.word(0)), Err(Error::Fault));
        assert_eq!(key_of(moved.word(0)), key);
        assert_eq!(fx().wake_all(moved.word(0)), Ok(1));
        waiter.woken();
    });
}

fn mremap_private() {
    let mut region = Region::private(PAGE);
    let word = region.word(0);
    let waiters = [Waiter::start(word, 0), Waiter::start(word.private(), 0)];
    let mut moved = region.relocate();
    assert_eq!(fx().wake_all(word), Err(Error::Fault));
    assert_eq!(fx().wake_all(moved.word(0)), Ok(0));
    assert_eq!(fx().wake_all(moved.word(0).private()), Ok(0));
    let back = moved.move_to(region);
    assert_eq!(back.word(0), word);
    assert_eq!(fx().wake_all(word), Ok(1));
    assert_eq!(fx().wake_all(word.private()), Ok(1));
    waiters.into_iter().for_each(Waiter::woken);
}

fn munmap_and_map_again() {
    on_each(|path, file| {
        let region = Region::shared(file, 0, PAGE);
        let waiter = Waiter::start(region.word(0), 0);
        drop(region);
        let file = File::open(path.join("file")).expect("the file");
        let region = Region::file(&file, 0, PAGE, ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
        assert_eq!(fx().wake_all(region.word(0)), Ok(1));
        waiter.woken();
    });
}

/// The word's page is cut off the file and comes back as another: its place is the key.
fn truncate() {
    on_each(|_, file| {
        let region = Region::shared(file, 0, 2 * PAGE);
        let word = region.word(PAGE);
        let waiter = Waiter::start(word, 0);
        let key = key_of(word);
        file.set_len(0).expect("truncate");
        assert_eq!(fx().wake_all(word), Err(Error::Fault));
        file.set_len(2 * PAGE as u64).expect("truncate");
        assert!(!waiter.is_finished(), "nobody woke it");
        assert_eq!(key_of(word), key);
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    });
}

fn punch_hole() {
    on_each(|_, file| {
        let region = Region::shared(file, 0, 2 * PAGE);
        let word = region.word(PAGE);
        word.store(7);
        let waiter = Waiter::start(word, 7);
        let key = key_of(word);
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(file, flags, PAGE as i64, PAGE as i64).expect("fallocate");
        assert_eq!(word.load(), 0, "a hole");
        assert_eq!(key_of(word), key);
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    });
}

fn remove_by_advice() {
    on_each(|_, file| {
        let region = Region::shared(file, 0, 2 * PAGE);
        let word = region.word(PAGE);
        word.store(7);
        let waiter = Waiter::start(word, 7);
        region.advise(libc::MADV_REMOVE);
        assert_eq!(word.load(), 0, "a hole");
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    });
}

/// A file is its inode, whatever its name is. Another file of that name is another file.
fn rename_and_unlink() {
    on_each(|path, file| {
        let region = Region::shared(file, 0, PAGE);
        let waiter = Waiter::start(region.word(0), 0);
        let key = key_of(region.word(0));
        std::fs::rename(path.join("file"), path.join("renamed")).expect("rename");
        assert_eq!(key_of(region.word(0)), key);
        std::fs::remove_file(path.join("renamed")).expect("unlink");
        let other = Region::shared(file_in(path, "file", PAGE), 0, PAGE);
        assert_eq!(fx().wake_all(other.word(0)), Ok(0));
        assert_eq!(key_of(region.word(0)), key);
        assert_eq!(fx().wake_all(region.word(0)), Ok(1));
        waiter.woken();
    });
}

/// Nobody can reach the waiter any more. It ends in time, and so does the file; a new file, that
/// may get the same inode number, is another one.
fn unlink_and_let_go() {
    let mount = Mount::tmpfs("");
    for _ in 0..4 {
        let leap = Leap::new();
        let region = Region::shared(file_in(mount.path(), "file", PAGE), 0, PAGE);
        let waiter = Waiter::start_with(region.word(0), 0, leap.options());
        std::fs::remove_file(mount.path().join("file")).expect("unlink");
        drop(region);
        let other = Region::shared(file_in(mount.path(), "other", PAGE), 0, PAGE);
        assert_eq!(fx().wake_all(other.word(0)), Ok(0));
        std::fs::remove_file(mount.path().join("other")).expect("unlink");
        leap.now();
        assert_eq!(waiter.join(), Err(Error::TimedOut));
    }
}

/// A waiter that is killed leaves nothing behind on its word.
fn exit_of_the_waiter() {
    on_each(|_, file| {
        let region = Region::shared(file, 0, PAGE);
        let word = region.word(0);
        let child = Child::run(|| fx().wait(word, 0).expect("nothing"));
        until_queued(word, 1);
        child.kill(Signal::SIGKILL);
        let pid = child.pid();
        assert_eq!(
            child.status(),
            WaitStatus::Signaled(pid, Signal::SIGKILL, false)
        );
        assert_eq!(nr_waiters(word), 0);
        assert_eq!(fx().wake_all(word), Ok(0));
    });
}
