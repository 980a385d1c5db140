// SPDX-License-Identifier: GPL-2.0
//! Words on pages that a user program has write-protected with userfaultfd(2), and on missing pages
//! that it provides for faults in user mode only.

use crate::harness::{BOTH, CALLS, PAGE, Service, Task, Touch, until};
use crate::memory::{Region, RegionWord, Uffd, memfd, rw};
use crate::resolvers::{Via, each};
use crate::wake_op::target;
use nix::sys::mman::MapFlags;
use rfutex::{Compare, Error, Op, Resolver, Word};

trials![
    every_call,
    change,
    wait_through_the_fault,
    as_futex,
    user_mode_only_anonymous,
    user_mode_only_shared,
];

/// A word on a page that is there and protected, and another one on an ordinary page.
struct Protected {
    _region: Region,
    uffd: Uffd,
    word: Word<'static>,
    other: Word<'static>,
    _beside: Region,
}

impl Protected {
    #[track_caller]
    fn new() -> Self {
        let region = Region::private(PAGE);
        let uffd = Uffd::write_protect(&region);
        let beside = Region::private(PAGE);
        let word = region.word(0);
        uffd.protect(word.addr(), true);
        Self {
            word,
            other: beside.word(0),
            _region: region,
            uffd,
            _beside: beside,
        }
    }

    /// Waits until a call faults on the page, and lifts the protection.
    #[track_caller]
    fn unprotect(&self) {
        let addr = self.uffd.next_write();
        assert_eq!(addr / PAGE as u64, self.word.page());
        self.uffd.protect(addr, false);
    }
}

/// By page, each call causes a write fault, and sleeps until the protection is lifted. By VMA, and
/// on a private word, only the call that writes to the word does; that has a test of its own.
fn every_call() {
    let protected = Protected::new();
    let Protected { word, other, .. } = protected;
    for via in each() {
        for call in CALLS {
            for word in [word, word.private()] {
                let how = format!("{} on {word:?} by {:?}", call.name, via.resolver);
                let by_page = via.resolver != Resolver::Vma && !word.is_private();
                if !by_page && call.touch == Touch::Writes {
                    continue;
                }
                let task = Task::spawn({
                    let fx = via.fx.clone();
                    move || call.run(&fx, word, other)
                });
                if by_page {
                    protected.unprotect();
                    assert_eq!(task.join(), Ok(0), "{how}");
                    protected.uffd.protect(word.addr(), true);
                } else {
                    assert_eq!(task.join(), Ok(0), "{how}");
                    assert!(protected.uffd.is_quiet(), "{how}");
                }
            }
        }
    }
    assert_eq!(word.load(), 0);
}

/// A call that writes to the word sleeps until the protection is lifted, however the key is found.
fn change() {
    let protected = Protected::new();
    let Protected { word, other, .. } = protected;
    for via in each() {
        for word in [word, word.private()] {
            let how = (via.resolver, word.is_private());
            let task = Task::spawn({
                let fx = via.fx.clone();
                move || fx.wake_op(other, 1, target(word), 1, Op::Add(1), Compare::Equal(0))
            });
            until("it faults, or has failed", || {
                task.is_finished() || !protected.uffd.is_quiet()
            });
            if task.is_finished() {
                panic!("it ended at once: {:?}, {how:?}", task.join());
            }
            protected.unprotect();
            assert_eq!(task.join(), Ok(0), "{how:?}");
            assert_eq!(word.load(), 1, "{how:?}");
            word.store(0);
            protected.uffd.protect(word.addr(), true);
        }
    }
}

/// A waiter whose call caused a fault and one whose call did not are woken by one wake. The page is
/// protected again while the first one sleeps.
fn wait_through_the_fault() {
    let protected = Protected::new();
    let word = protected.word;
    let by_page = Via::new(Resolver::Page);
    let by_vma = Via::new(Resolver::Vma);
    let wait = |via: &Via| {
        let fx = via.fx.clone();
        Task::spawn(move || fx.wait(word, 0))
    };
    let first = wait(&by_page);
    protected.unprotect();
    until("one waits", || by_vma.nr_waiters(word) == 1);
    protected.uffd.protect(word.addr(), true);
    let second = wait(&by_vma);
    until("two wait", || by_vma.nr_waiters(word) == 2);
    let waker = Task::spawn(move || by_page.fx.wake_all(word));
    protected.unprotect();
    assert_eq!(waker.join(), Ok(2));
    assert_eq!([first, second].map(Task::join), [Ok(()), Ok(())]);
}

/// futex(2) sleeps until the protection is lifted as well.
fn as_futex() {
    for service in BOTH {
        let protected = Protected::new();
        let word = protected.word;
        let task = Task::spawn(move || service.wait(word, 1));
        protected.unprotect();
        assert_eq!(task.join(), libc::EAGAIN, "{service:?}");
        protected.uffd.protect(word.addr(), true);
        let task = Task::spawn(move || service.wake(word, 1));
        protected.unprotect();
        assert_eq!(task.join(), Ok(0), "{service:?}");
        // On a private word, neither of the two faults.
        protected.uffd.protect(word.addr(), true);
        assert_eq!(service.wait(word.private(), 1), libc::EAGAIN);
        assert_eq!(service.wake(word.private(), 1), Ok(0), "{service:?}");
        assert!(protected.uffd.is_quiet());
    }
}

/// Where only faults in user mode are handled, a call that needs the missing page fails at once.
/// When the program has touched the page itself, it is one as any other.
fn user_mode_only(flags: MapFlags) {
    for via in each() {
        let from = Region::private(PAGE);
        let region = match flags {
            MapFlags::MAP_SHARED => Region::shared(memfd(PAGE), 0, PAGE),
            _ => Region::anonymous(PAGE, rw(), flags),
        };
        let uffd = Uffd::user_mode_only(&region);
        let beside = Region::private(PAGE);
        let (word, other) = (region.word(0), beside.word(0));
        for call in CALLS {
            for word in [word, word.private()] {
                let by_page = via.resolver != Resolver::Vma && !word.is_private();
                let expected = if by_page || call.touch != Touch::Nothing {
                    Err(Error::Fault)
                } else {
                    Ok(0)
                };
                let result = call.run(&via.fx, word, other);
                assert_eq!(result, expected, "{} by {:?}", call.name, via.resolver);
            }
        }
        for service in BOTH {
            assert_eq!(service.wait(word, 0), libc::EFAULT, "{service:?}");
            assert_eq!(service.wake(word, 1), Err(libc::EFAULT), "{service:?}");
        }
        assert!(uffd.is_quiet());
        let toucher = Task::spawn(move || word.load());
        uffd.fill(uffd.next_fault(), &from);
        assert_eq!(toucher.join(), 0);
        let waiter = Service::Ours.sleeper(word, 0);
        assert_eq!(via.fx.wake_all(word), Ok(1));
        waiter.woken();
    }
}

fn user_mode_only_anonymous() {
    user_mode_only(MapFlags::MAP_PRIVATE);
}

fn user_mode_only_shared() {
    user_mode_only(MapFlags::MAP_SHARED);
}
