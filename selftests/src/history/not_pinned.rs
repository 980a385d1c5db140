// SPDX-License-Identifier: GPL-2.0
//! A page is not pinned for as long as a task waits on it.
//!
//! HISTORY.md has ten thousand waiters over a file. Two hundred over a hundred pages show as much,
//! because each of them would keep its page; and to make one thread takes the debug kernel on an
//! emulated processor some ten milliseconds.

use crate::harness::{PAGE, fx, nr_waiters, until};
use crate::memory::{Disk, Mount, Region, SwapArea, file_in, page_out, rw};
use nix::sys::mman::MapFlags;
use rfutex::{Error, Word};
use std::thread::{Builder, JoinHandle};

trials![ext4, xfs, tmpfs, anonymous];

const PAGES: usize = 100;
const PER_PAGE: usize = 2;
const LEN: usize = PAGES * PAGE;

/// A thread with a small stack that waits on `word`.
fn waiter(word: Word<'static>) -> JoinHandle<Result<(), Error>> {
    Builder::new()
        .stack_size(64 << 10)
        .spawn(move || fx().wait(word, 0))
        .expect("a thread")
}

/// Every page of `region` can be reclaimed while tasks wait on all of them, and every wake arrives.
fn check(region: &Region) {
    region.read();
    assert_eq!(nr_waiters(region.word(0)), 0, "before they begin");
    let words: Vec<_> = (0..PAGES).map(|page| region.word(page * PAGE)).collect();
    let threads: Vec<_> = words
        .iter()
        .flat_map(|&word| (0..PER_PAGE).map(move |_| waiter(word)))
        .collect();
    until("all of them wait", || {
        words
            .iter()
            .all(|&word| nr_waiters(word) == PER_PAGE as u32)
    });
    page_out(region);
    for &word in &words {
        assert_eq!(fx().wake_all(word), Ok(PER_PAGE as u32));
    }
    for thread in threads {
        assert_eq!(thread.join().expect("a thread's end"), Ok(()));
    }
}

fn disk(fstype: &'static str) {
    let disk = Disk::new(fstype);
    let file = file_in(disk.path(), "file", LEN);
    let region = Region::shared(&file, 0, LEN);
    region.touch();
    check(&region);
}

fn ext4() {
    disk("ext4");
}

fn xfs() {
    disk("xfs");
}

fn tmpfs() {
    let _swap = SwapArea::new(16 << 20);
    let mount = Mount::tmpfs("huge=never");
    let file = file_in(mount.path(), "file", LEN);
    let region = Region::shared(&file, 0, LEN);
    region.touch();
    check(&region);
}

fn anonymous() {
    let _swap = SwapArea::new(16 << 20);
    let region = Region::anonymous(LEN, rw(), MapFlags::MAP_PRIVATE);
    region.advise(libc::MADV_NOHUGEPAGE);
    region.touch();
    check(&region);
}
