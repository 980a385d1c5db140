// SPDX-License-Identifier: GPL-2.0
//! A wait is interrupted, and the handler takes the word's memory away before the wait goes on.
//! What the wait finds then is what counts. The same is tried with futex(2).

use crate::harness::{
    BOTH, Handler, PAGE, Service, Task, errno, futex, fx, signal_thread, until, until_in_syscall,
    until_queued,
};
use crate::memory::{Region, RegionWord, memfd, rw};
use nix::sys::mman::{MapFlags, ProtFlags};
use nix::sys::signal::{SaFlags, Signal};
use nix::unistd::getpid;
use rfutex::{WaitEntry, Word};
use std::fs::File;
use std::sync::Arc;

trials![
    unmapped,
    not_to_be_read,
    read_only,
    another_value,
    another_page,
    another_file,
    given_up,
];

const SIGNAL: Signal = Signal::SIGUSR1;

/// A wait on a word while it is 0: the errno, or 0.
type Wait = fn(Word<'static>) -> i32;

/// All waits that start again after a signal, of each service, and their system calls.
const WAITS: [(Service, Wait, libc::c_long); 4] = [
    (
        Service::Ours,
        |word| errno(fx().wait(word, 0)),
        libc::SYS_ioctl,
    ),
    (
        Service::Ours,
        |word| errno(fx().wait_any(&[WaitEntry::new(word, 0)], None)),
        libc::SYS_ioctl,
    ),
    (
        Service::Theirs,
        |word| Service::Theirs.wait(word, 0),
        libc::SYS_futex,
    ),
    (
        Service::Theirs,
        |word| {
            let entry = futex::waitv_entry(word.addr(), 0, word.is_private());
            futex::waitv(&[entry], None).map_or_else(|error| error as i32, |_| 0)
        },
        libc::SYS_futex_waitv,
    ),
];

/// What becomes of the wait.
enum Then {
    /// It ends with this errno.
    Ends(i32),
    /// It goes on, and is found at this word.
    GoesOn(Word<'static>),
}

/// Tries each wait on the first word of a region that `make` returns. A handler interrupts it and
/// does `take`. `then` says what must become of the wait.
fn check(
    make: impl Fn() -> Region,
    take: impl Fn(&Region) + Copy + Sync + 'static,
    then: impl Fn(Word<'static>) -> Then,
) {
    for (service, wait, nr) in WAITS {
        for private in [false, true] {
            let how = (service, nr, private);
            let region = Arc::new(make());
            let word = region.word(0);
            let word = if private { word.private() } else { word };
            let taken = region.clone();
            let _handler = Handler::doing(SIGNAL, move || take(&taken), SaFlags::SA_RESTART);
            let task = Task::spawn(move || wait(word));
            match service {
                Service::Ours => until_queued(word, 1),
                Service::Theirs => until_in_syscall(getpid(), task.tid(), nr),
            }
            signal_thread(task.tid(), SIGNAL);
            match then(word) {
                Then::Ends(errno) => assert_eq!(task.join(), errno, "{how:?}"),
                Then::GoesOn(same) => {
                    until("it is woken where it waits now", || {
                        service.wake(same, 1) == Ok(1)
                    });
                    assert_eq!(task.join(), 0, "{how:?}");
                }
            }
        }
    }
}

fn unmapped() {
    let fault = |_| Then::Ends(libc::EFAULT);
    let take = |region: &Region| region.map_nothing_over();
    check(|| Region::private(PAGE), take, fault);
    check(|| Region::shared(memfd(PAGE), 0, PAGE), take, fault);
}

fn not_to_be_read() {
    let fault = |_| Then::Ends(libc::EFAULT);
    let take = |region: &Region| region.protect(ProtFlags::PROT_NONE);
    check(|| Region::private(PAGE), take, fault);
    check(|| Region::shared(memfd(PAGE), 0, PAGE), take, fault);
}

/// Words of files and private words can be waited on where the memory is read-only. Words of
/// anonymous memory cannot.
fn read_only() {
    check(
        || Region::shared(memfd(PAGE), 0, PAGE),
        |region| region.protect(ProtFlags::PROT_READ),
        Then::GoesOn,
    );
    check(
        || Region::private(PAGE),
        |region| region.protect(ProtFlags::PROT_READ),
        |word| {
            if word.is_private() {
                Then::GoesOn(word)
            } else {
                Then::Ends(libc::EFAULT)
            }
        },
    );
}

fn another_value() {
    check(
        || Region::private(PAGE),
        |region| {
            region.map_over_anonymous(0, PAGE);
            region.word(0).store(1);
        },
        |_| Then::Ends(libc::EAGAIN),
    );
}

/// The address is the key: the waiter is found at the same one.
fn another_page() {
    check(
        || Region::private(PAGE),
        |region| region.map_over_anonymous(0, PAGE),
        Then::GoesOn,
    );
}

/// The thread waits on the other file then, and not on the first one any more.
fn another_file() {
    let files: &'static [File; 2] = Box::leak(Box::new([memfd(PAGE), memfd(PAGE)]));
    let others = [0, 1].map(|nr| Region::shared(&files[nr], 0, PAGE));
    check(
        || Region::shared(&files[0], 0, PAGE),
        |region| region.map_over(0, PAGE, &files[1], 0, rw(), MapFlags::MAP_SHARED),
        |word| {
            if word.is_private() {
                return Then::GoesOn(word);
            }
            Then::GoesOn(others[1].word(0))
        },
    );
    for service in BOTH {
        for other in &others {
            assert_eq!(service.wake(other.word(0), 1), Ok(0));
        }
    }
}

/// The page is given up, and a new one of zeros takes its place. The word is 0, as it was.
fn given_up() {
    check(
        || Region::private(PAGE),
        |region| region.advise(libc::MADV_DONTNEED),
        Then::GoesOn,
    );
    check(
        || Region::shared(memfd(PAGE), 0, PAGE),
        |region| region.advise(libc::MADV_REMOVE),
        Then::GoesOn,
    );
}
