// SPDX-License-Identifier: GPL-2.0
//! Words on pages that a user program has still to provide (userfaultfd, missing).

use crate::harness::{Child, PAGE, Task, Waiter, fx, nr_waiters, until_queued};
use crate::memory::{Region, RegionWord, Uffd, memfd, rw};
use nix::sys::mman::MapFlags;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::pipe;
use rfutex::Error;
use std::fs::File;
use std::io::{Read, Write};

trials![anonymous, shared, changed, private_flag, killed];

/// A page with `value` in its first word, and another whose pages are missing.
fn missing(flags: MapFlags, value: u32) -> (Region, Region, Uffd) {
    let from = Region::private(PAGE);
    from.word(0).store(value);
    let region = match flags {
        MapFlags::MAP_SHARED => Region::shared(memfd(2 * PAGE), 0, 2 * PAGE),
        _ => Region::anonymous(2 * PAGE, rw(), flags),
    };
    let uffd = Uffd::new(&region);
    (from, region, uffd)
}

/// A wait faults the page in, and is queued when it came.
fn waits(flags: MapFlags) {
    let (from, region, uffd) = missing(flags, 7);
    let word = region.word(0);
    let waiter = Task::spawn(move || fx().wait(word, 7));
    let addr = uffd.next_fault();
    assert_eq!(addr / PAGE as u64, word.page());
    assert!(!waiter.is_finished(), "it waits for the page");
    uffd.fill(addr, &from);
    until_queued(word, 1);
    assert_eq!(fx().wake_all(word), Ok(1));
    assert_eq!(waiter.join(), Ok(()));

    // So does a wake, which finds nobody.
    let word = region.word(PAGE);
    let waker = Task::spawn(move || fx().wake_all(word));
    uffd.fill(uffd.next_fault(), &from);
    assert_eq!(waker.join(), Ok(0));
}

fn anonymous() {
    waits(MapFlags::MAP_PRIVATE);
}

fn shared() {
    waits(MapFlags::MAP_SHARED);
}

/// The word has another value than expected once its page is there.
fn changed() {
    let (from, region, uffd) = missing(MapFlags::MAP_PRIVATE, 7);
    let word = region.word(0);
    let waiter = Task::spawn(move || fx().wait(word, 0));
    uffd.fill(uffd.next_fault(), &from);
    assert_eq!(waiter.join(), Err(Error::Again));
    assert_eq!(nr_waiters(word), 0);
}

/// A private word's key needs no page, but the comparison does: the page is faulted in with no
/// lock held, and a wake on the same bucket gets through meanwhile.
fn private_flag() {
    let (from, region, uffd) = missing(MapFlags::MAP_PRIVATE, 7);
    let word = region.word(0).private();
    let waiter = Task::spawn(move || fx().wait(word, 7));
    let addr = uffd.next_fault();
    assert_eq!(fx().wake_all(word), Ok(0));
    uffd.fill(addr, &from);
    until_queued(word, 1);
    assert_eq!(fx().wake_all(word), Ok(1));
    assert_eq!(waiter.join(), Ok(()));

    // The page goes while somebody waits: the queue does not mind.
    let waiter = Waiter::start(word, 7);
    region
        .try_advise(0, PAGE, libc::MADV_DONTNEED)
        .expect("MADV_DONTNEED");
    assert_eq!(fx().wake_all(word), Ok(1));
    waiter.woken();
}

/// A process that waits for a page that never comes can be killed.
fn killed() {
    for private in [false, true] {
        let (read, write) = pipe().expect("pipe");
        let child = Child::run(|| {
            let (_, region, uffd) = missing(MapFlags::MAP_PRIVATE, 0);
            let word = region.word(0);
            let word = if private { word.private() } else { word };
            let waiter = Task::spawn(move || fx().wait(word, 0));
            uffd.next_fault();
            File::from(write).write_all(&[1]).expect("a pipe");
            // It never comes.
            waiter.join().expect("nothing");
        });
        File::from(read).read_exact(&mut [0]).expect("a fault");
        child.kill(Signal::SIGKILL);
        let pid = child.pid();
        assert_eq!(
            child.status(),
            WaitStatus::Signaled(pid, Signal::SIGKILL, false)
        );
    }
}
