// SPDX-License-Identifier: GPL-2.0
//! The mapping and the file change while others wait and wake on them. Whatever an operation
//! answers, the kernel must not warn, and when the changes are over, words work as ever.

use crate::harness::{PAGE, Task, Waiter, effort, fx};
use crate::memory::{Disk, HUGE, Mount, Region, file_in, huge_tmpfs, rw};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::mman::MapFlags;
use rfutex::{Error, WaitOptions, Word};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

trials![tmpfs, tmpfs_huge, ext4, xfs, anonymous, many_files];

/// How many rounds of changes.
const ROUNDS: usize = 20;
/// With huge pages, each of which has to be cleared in each round.
const HUGE_ROUNDS: usize = 5;

/// Threads that wait and wake on `words` until told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    tasks: Vec<Task<()>>,
}

impl Traffic {
    fn start(words: &[Word<'static>]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = words
            .iter()
            .flat_map(|&word| [(word, wait as fn(Word<'static>)), (word, wake)])
            .map(|(word, act)| {
                let stop = Arc::clone(&stop);
                Task::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        act(word);
                    }
                })
            })
            .collect();
        Self { stop, tasks }
    }

    #[track_caller]
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.join();
        }
    }
}

fn wait(word: Word<'static>) {
    let options = WaitOptions::default().within(Duration::from_millis(1));
    let result = fx().wait_with(word, 0, options);
    let usual = [Ok(()), Err(Error::TimedOut), Err(Error::Fault)];
    assert!(usual.contains(&result), "{result:?}");
}

fn wake(word: Word<'static>) {
    for result in [
        fx().wake_all(word),
        fx().key_info(word).map(|info| info.nr_waiters),
    ] {
        match result {
            Ok(nr) => assert!(nr <= 2, "{nr} waiters of at most two threads"),
            Err(error) => assert_eq!(error, Error::Fault),
        }
    }
}

/// Words work.
#[track_caller]
fn works(word: Word<'static>) {
    let waiter = Waiter::start(word, 0);
    assert_eq!(fx().wake_all(word), Ok(1));
    waiter.woken();
}

/// Everything that can be done to a mapped file, under traffic on both of its pages of `unit`
/// bytes, and through a second mapping.
fn file_changes(file: &File, unit: usize) {
    let len = 2 * unit;
    let rounds = effort(if unit == HUGE { HUGE_ROUNDS } else { ROUNDS });
    let mut region = Region::shared(file, 0, len);
    let again = Region::shared(file, 0, len);
    region.touch();
    let words = [region.word(0), region.word(len - PAGE), again.word(0)];
    let traffic = Traffic::start(&words);
    let size = |len: usize| file.set_len(len as u64).expect("truncate");
    for _ in 0..rounds {
        size(0);
        size(len);
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(file, flags, 0, unit as i64).expect("fallocate");
        size(unit);
        size(len);
        region.advise(libc::MADV_DONTNEED);
        region.advise(libc::MADV_PAGEOUT);
        region.map_over_anonymous(0, unit);
        region.map_over(0, unit, file, 0, rw(), MapFlags::MAP_PRIVATE);
        region.map_nothing_over();
        region.map_over(0, len, file, 0, rw(), MapFlags::MAP_SHARED);
        let mut moved = region.relocate();
        region = moved.move_to(region);
    }
    traffic.stop();
    words.into_iter().for_each(works);
}

fn tmpfs() {
    let mount = Mount::tmpfs("huge=never");
    file_changes(&file_in(mount.path(), "file", 2 * PAGE), PAGE);
}

fn tmpfs_huge() {
    let (_mount, file) = huge_tmpfs("file", 2 * HUGE);
    file_changes(&file, HUGE);
}

fn ext4() {
    let disk = Disk::new("ext4");
    file_changes(&file_in(disk.path(), "file", 2 * PAGE), PAGE);
}

fn xfs() {
    let disk = Disk::new("xfs");
    file_changes(&file_in(disk.path(), "file", 2 * PAGE), PAGE);
}

fn anonymous() {
    let mut region = Region::private(2 * PAGE);
    let words = [region.word(0), region.word(PAGE), region.word(4).private()];
    let traffic = Traffic::start(&words);
    for _ in 0..effort(ROUNDS) {
        region.advise(libc::MADV_DONTNEED);
        region.map_over_anonymous(0, PAGE);
        region.map_nothing_over();
        region.map_over_anonymous(0, 2 * PAGE);
        region.touch();
        let mut moved = region.relocate();
        region = moved.move_to(region);
    }
    traffic.stop();
    words.into_iter().for_each(works);
}

/// One address, and a new file there each time: inodes are recycled under the traffic, by XFS in
/// place.
fn many_files() {
    fn run(path: &Path) {
        let region = Region::reserve(PAGE, PAGE);
        region.map_over_anonymous(0, PAGE);
        let words = [region.word(0)];
        let traffic = Traffic::start(&words);
        for _ in 0..effort(ROUNDS) {
            let file = file_in(path, "file", PAGE);
            region.map_over(0, PAGE, &file, 0, rw(), MapFlags::MAP_SHARED);
            std::fs::remove_file(path.join("file")).expect("unlink");
            drop(file);
        }
        traffic.stop();
        words.into_iter().for_each(works);
    }
    run(Mount::tmpfs("").path());
    for fstype in Disk::TYPES {
        run(Disk::new(fstype).path());
    }
}
