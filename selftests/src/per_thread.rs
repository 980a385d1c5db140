// SPDX-License-Identifier: GPL-2.0
//! The crate's handle for each thread: what of it only the device can show.

use crate::harness::{Child, Mapping, PAGE, Task, fx, until_queued};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rfutex::{PerThread, Resolver, Rfutex};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::sync::{Arc, Barrier};

trials![
    threads_meet,
    files_are_the_threads_own,
    all_files_are_closed,
    every_thread_has_the_resolver,
    without_a_descriptor_left,
    child_goes_on,
];

fn open() -> Arc<PerThread> {
    Arc::new(PerThread::open().expect("/dev/rfutex opens"))
}

fn number(rfutex: &Rfutex) -> RawFd {
    rfutex.as_fd().as_raw_fd()
}

/// How many descriptors of the device this process has.
fn descriptors() -> usize {
    let fds = std::fs::read_dir("/proc/self/fd").expect("/proc is there");
    fds.filter_map(|fd| std::fs::read_link(fd.expect("an entry").path()).ok())
        .filter(|file| file == Path::new(Rfutex::PATH))
        .count()
}

fn threads_meet() {
    let (rfutex, map) = (open(), Mapping::private(PAGE));
    let word = map.word(0);
    let theirs = rfutex.clone();
    let waiter = Task::spawn(move || theirs.get().wait(word, 0));
    until_queued(word, 1);
    assert_eq!(rfutex.get().wake_one(word), Ok(1));
    assert_eq!(waiter.join(), Ok(()));
}

/// Not descriptors alone: what one thread does to its file, the others do not see.
fn files_are_the_threads_own() {
    let rfutex = open();
    let theirs = rfutex.clone();
    let other = Task::spawn(move || {
        theirs
            .get()
            .set_resolver(Resolver::Vma)
            .expect("there is one");
        assert_eq!(number(theirs.get()), number(theirs.get()));
        theirs.get().query().expect("query").resolver
    });
    assert_eq!(other.join(), Resolver::Vma);
    assert_eq!(
        rfutex.get().query().expect("query").resolver,
        Resolver::Page
    );
}

fn all_files_are_closed() {
    const THREADS: usize = 8;
    let before = descriptors();
    let rfutex = open();
    assert_eq!(descriptors(), before + 1);
    // No thread ends before all have a file.
    let all_have_one = Arc::new(Barrier::new(THREADS));
    let threads = [(); THREADS].map(|()| {
        let (rfutex, all_have_one) = (rfutex.clone(), all_have_one.clone());
        Task::spawn(move || {
            rfutex.get();
            all_have_one.wait();
        })
    });
    threads.into_iter().for_each(Task::join);
    assert_eq!(descriptors(), before + 1 + THREADS);
    // Those that come later take over what there is.
    for _ in 0..2 * THREADS {
        let rfutex = rfutex.clone();
        Task::spawn(move || rfutex.get().query().expect("query")).join();
    }
    assert_eq!(descriptors(), before + 1 + THREADS);
    drop(rfutex);
    assert_eq!(descriptors(), before);
}

fn every_thread_has_the_resolver() {
    let rfutex = PerThread::open_with(Resolver::Vma).expect("it is built in");
    let rfutex = Arc::new(rfutex);
    let theirs = rfutex.clone();
    let resolver = |rfutex: &PerThread| rfutex.get().query().expect("query").resolver;
    assert_eq!(resolver(&rfutex), Resolver::Vma);
    assert_eq!(Task::spawn(move || resolver(&theirs)).join(), Resolver::Vma);
}

fn without_a_descriptor_left() {
    let rfutex = open();
    let first = number(rfutex.get());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    let theirs = rfutex.clone();
    let thread = Task::spawn(move || {
        setrlimit(Resource::RLIMIT_NOFILE, 0, hard).expect("no new descriptors");
        let mine = number(theirs.get());
        let query = theirs.get().query();
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("as before");
        (mine, query.is_ok())
    });
    assert_eq!(thread.join(), (first, true));
}

fn child_goes_on() {
    let (rfutex, map) = (open(), Mapping::shared(PAGE));
    let word = map.word(0);
    let child = Child::run(move || assert_eq!(rfutex.get().wait(word, 0), Ok(())));
    until_queued(word, 1);
    assert_eq!(fx().wake_one(word), Ok(1));
    child.join();
}
