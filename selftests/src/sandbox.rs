// SPDX-License-Identifier: GPL-2.0
//! A process in a sandbox (seccomp) that may make few system calls: ioctl(2) is one of them, on a
//! device that was opened before, and futex(2) is not.

use crate::harness::{
    CALLS, Child, LIMIT, Mapping, PAGE, Service, Waiter, fx, nr_waiters, until_queued,
};
use crate::memory::RegionWord;
use crate::wake_op::target;
use rfutex::{Compare, Op, WaitEntry, WaitOptions, Word};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

trials![every_call, meets];

/// The system calls that it may make: ioctl(2), and what a test needs to end, or to say why it
/// failed.
const ALLOWED: [libc::c_long; 8] = [
    libc::SYS_ioctl,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Runs `f` in a child with such a filter: all other system calls fail with `EPERM`.
fn run(f: impl FnOnce()) -> Child {
    // The child may not open it.
    fx();
    let arch = std::env::consts::ARCH.try_into().expect("a known machine");
    let allowed = ALLOWED.into_iter().map(|nr| (nr, vec![])).collect();
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(allowed, refused, SeccompAction::Allow, arch);
    let filter = BpfProgram::try_from(filter.expect("a filter")).expect("a program");
    Child::run(|| {
        apply_filter(&filter).expect("seccomp");
        f();
    })
}

fn words(map: &Mapping) -> [Word<'static>; 2] {
    [map.word(0), map.word(64)]
}

/// Every call works there, and futex(2) does not.
fn every_call() {
    let map = Mapping::shared(PAGE);
    let [word, other] = words(&map);
    run(|| {
        assert_eq!(Service::Theirs.wake(word, 1), Err(libc::EPERM));
        assert_eq!(Service::Theirs.wait(word, 1), libc::EPERM);
        for [word, other] in [[word, other], [word, other].map(Word::private)] {
            for call in CALLS {
                assert_eq!(call.run(fx(), word, other), Ok(0), "{}", call.name);
            }
        }
    })
    .join();
}

/// The process and those outside of the sandbox wake each other.
fn meets() {
    let map = Mapping::shared(PAGE);
    let [word, other] = words(&map);
    // Where there is no vDSO, reading the clock is a system call that is refused.
    let options = WaitOptions::default().within(LIMIT);
    let deadline = options.deadline;

    // The child sleeps in each kind of wait, and the parent wakes it.
    let child = run(|| {
        assert_eq!(fx().wait_with(word, 0, options), Ok(()));
        let entries = [other, word].map(|word| WaitEntry::new(word, 0));
        assert_eq!(fx().wait_any(&entries, deadline), Ok(1));
        assert_eq!(fx().swap_with(word, 0, other, options), Ok(()));
    });
    for _ in 0..3 {
        until_queued(word, 1);
        assert_eq!(fx().wake_one(word), Ok(1));
    }
    child.join();

    // The parent's threads sleep, and the child wakes and moves them.
    let waiters = [(); 4].map(|()| Waiter::start(word, 0));
    run(|| {
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(fx().requeue_if(word, 0, other, 1, 1), Ok(2));
        let woken = fx().wake_op(other, 1, target(word), 1, Op::Set(7), Compare::Equal(0));
        assert_eq!(woken, Ok(2));
    })
    .join();
    waiters.into_iter().for_each(Waiter::woken);
    assert_eq!(word.load(), 7);
    assert_eq!([word, other].map(nr_waiters), [0, 0]);
}
