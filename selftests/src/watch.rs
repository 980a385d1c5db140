// SPDX-License-Identifier: GPL-2.0
//! Watch sets.

mod asynchronous;
mod bad;
mod balance;
mod epoll;
mod faults;
mod lifetime;
mod limits;
mod loops;
mod nothing_held;
mod order;
mod passed;
mod reading;
mod remapped;
mod removing;
mod scale;
mod storm;
mod uring;
mod wakev;

use crate::harness::{Child, Mapping, PAGE, POLL, Task, fx, nr_waiters, until_in_syscall};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::getpid;
use rfutex::raw::uapi;
use rfutex::{Error, Event, WatchId, WatchOptions, Watches, Word};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

/// The tests of watch sets.
pub fn trials() -> Vec<libtest_mimic::Trial> {
    let all = [
        own(),
        asynchronous::trials(),
        loops::trials(),
        order::trials(),
        epoll::trials(),
        reading::trials(),
        removing::trials(),
        remapped::trials(),
        bad::trials(),
        lifetime::trials(),
        passed::trials(),
        nothing_held::trials(),
        uring::trials(),
        wakev::trials(),
        faults::trials(),
        limits::trials(),
        scale::trials(),
        storm::trials(),
        balance::trials(),
    ];
    all.into_iter().flatten().collect()
}

fn own() -> Vec<libtest_mimic::Trial> {
    mod list {
        use super::*;

        trials![
            once,
            repeat,
            mismatch,
            remove,
            ids,
            reads,
            blocking_read,
            polled,
            edge_triggered,
            closed,
            inherited,
            passed_on,
            who_added_is_gone,
        ];
    }
    list::trials()
}

/// A set that does not block.
pub fn set() -> Watches {
    Watches::nonblocking(fx()).expect("a watch set")
}

/// The events that there are.
#[track_caller]
pub fn events(set: &Watches) -> Vec<Event> {
    let mut all = Vec::new();
    let mut some = [Event::default(); 5];
    loop {
        match set.read(&mut some) {
            Ok(nr) => all.extend_from_slice(&some[..nr]),
            Err(Error::Again) => return all,
            Err(error) => panic!("read: {error}"),
        }
    }
}

/// The cookies of the events that there are, and how many wakes each has counted.
#[track_caller]
pub fn counts(set: &Watches) -> Vec<(u64, u64)> {
    let events = events(set);
    events.iter().map(|e| (e.cookie, e.woken)).collect()
}

#[track_caller]
pub fn add(set: &Watches, word: Word<'_>, cookie: u64) -> WatchId {
    let id = set.add(word, 0, cookie, WatchOptions::default());
    id.expect("a watch")
}

#[track_caller]
pub fn add_repeat(set: &Watches, word: Word<'_>, cookie: u64) -> WatchId {
    let id = set.add(word, 0, cookie, WatchOptions::default().repeat());
    id.expect("a watch")
}

/// Reads up to `len` bytes of events to the address `addr`, where nothing is but what belongs to the
/// test. Returns the number of events.
fn read_to(set: &Watches, addr: u64, len: usize) -> nix::Result<usize> {
    // SAFETY: By the function's requirements, nothing of Rust's is there but atomics.
    let result = unsafe { libc::read(set.as_raw_fd(), addr as *mut libc::c_void, len) };
    let bytes = nix::Error::result(result)? as usize;
    assert!(bytes.is_multiple_of(EVENT), "whole events");
    Ok(bytes / EVENT)
}

/// The size of an event in bytes.
const EVENT: usize = size_of::<Event>();

fn readable(set: &Watches) -> bool {
    let mut fds = [PollFd::new(set.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).expect("poll") == 1
}

fn once() {
    let map = Mapping::shared(PAGE);
    let set = set();
    for word in [map.word(0), map.word(8).private()] {
        let id = add(&set, word, 7);
        assert_eq!(nr_waiters(word), 1);
        assert_eq!(events(&set), []);
        assert_eq!(fx().wake_all(word), Ok(1));
        assert_eq!(nr_waiters(word), 0);
        assert_eq!(fx().wake_all(word), Ok(0));
        let [event] = events(&set)[..] else {
            panic!("one event");
        };
        assert_eq!((event.cookie, event.id), (7, id));
        assert_eq!((event.woken, event.moved), (1, 0));
        assert_eq!(event.what, uapi::RFUTEX_EVENT_WOKEN);
        assert_eq!(events(&set), []);
        assert_eq!(set.remove(id), Ok(None));
    }
}

fn repeat() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let word = map.word(0);
    let id = add_repeat(&set, word, 1);
    for nr in 1..4 {
        for _ in 0..nr {
            assert_eq!(fx().wake_all(word), Ok(1));
            assert_eq!(nr_waiters(word), 1);
        }
        assert_eq!(counts(&set), [(1, nr)]);
        assert_eq!(events(&set), []);
    }
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(set.remove(id), Ok(Some(1)));
    assert_eq!(events(&set), []);
    assert_eq!(fx().wake_all(word), Ok(0));
}

fn mismatch() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let word = map.word(0);
    let options = WatchOptions::default();
    assert_eq!(set.add(word, 1, 0, options), Err(Error::Again));
    assert_eq!(set.add(word, 0, 0, options.mask(0)), Err(Error::Invalid));
    assert_eq!(set.add(Word::at(0, 4), 0, 0, options), Err(Error::Fault));
    let unaligned = Word::at(map.addr() + 2, 4);
    assert_eq!(set.add(unaligned, 0, 0, options), Err(Error::Invalid));
    assert_eq!(nr_waiters(word), 0);
    // A wake meets only those whose masks share a bit with its own.
    set.add(word, 0, 5, options.mask(0b01)).expect("a watch");
    assert_eq!(fx().wake(word, 9, 0b10), Ok(0));
    assert_eq!(fx().wake(word, 9, 0b11), Ok(1));
    assert_eq!(counts(&set), [(5, 1)]);
}

fn remove() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let word = map.word(0);
    let ids = [0, 1, 2].map(|cookie| add(&set, word, cookie));
    assert_eq!(set.remove(ids[1]), Ok(Some(0)));
    assert_eq!(set.remove(ids[1]), Ok(None));
    assert_eq!(nr_waiters(word), 2);
    assert_eq!(fx().wake_one(word), Ok(1));
    // It was met, but its event is withdrawn.
    assert_eq!(set.remove(ids[0]), Ok(Some(1)));
    assert_eq!(events(&set), []);
    assert_eq!(set.remove(ids[0]), Ok(None));
    assert_eq!(fx().wake_all(word), Ok(1));
    assert_eq!(counts(&set), [(2, 1)]);
    assert_eq!(set.remove(ids[2]), Ok(None));
    assert_eq!(set.remove(WatchId(0)), Ok(None));
    assert_eq!(set.remove(WatchId(u64::MAX)), Ok(None));
}

/// A slot that is used again has another number.
fn ids() {
    let map = Mapping::shared(PAGE);
    let [one, other] = [set(), set()];
    let mut seen = std::collections::HashSet::new();
    for _ in 0..100 {
        let id = add(&one, map.word(0), 0);
        assert_ne!(id.0, 0);
        assert!(seen.insert(id));
        // Sets know only their own.
        assert_eq!(other.remove(id), Ok(None));
        assert_eq!(one.remove(id), Ok(Some(0)));
    }
    let last = add(&one, map.word(0), 0);
    for id in seen {
        assert_eq!(one.remove(id), Ok(None));
    }
    assert_eq!(one.remove(last), Ok(Some(0)));
}

fn reads() {
    let map = Mapping::shared(PAGE);
    let set = set();
    for cookie in 0..40 {
        add(&set, map.word(0), cookie);
    }
    assert_eq!(fx().wake_all(map.word(0)), Ok(40));
    let file = std::fs::File::from(OwnedFd::from(set.try_clone().expect("a handle")));
    let read = |len| {
        let mut buffer = vec![0; len];
        nix::unistd::read(&file, &mut buffer).map(|nr| nr / 32)
    };
    assert_eq!(read(31), Err(nix::errno::Errno::EINVAL));
    assert_eq!(read(32), Ok(1));
    assert_eq!(read(32 * 3 + 31), Ok(3));
    // Where the buffer cannot be written to, nothing is lost, and the order stays.
    let guarded = Mapping::private(2 * PAGE);
    guarded.unmap_part(PAGE, PAGE);
    let read_to = |room: usize| {
        let addr = guarded.addr() as usize + PAGE - room;
        // SAFETY: What the kernel writes there belongs to this test.
        unsafe {
            libc::read(
                std::os::fd::AsRawFd::as_raw_fd(&file),
                std::ptr::without_provenance_mut(addr),
                32 * 20,
            )
        }
    };
    assert_eq!(read_to(0), -1);
    assert_eq!(read_to(32 * 2 + 16), 64);
    let cookies = counts(&set)
        .iter()
        .map(|(cookie, _)| *cookie)
        .collect::<Vec<_>>();
    assert_eq!(cookies, (6..40).collect::<Vec<_>>());
    assert_eq!(read(32), Err(nix::errno::Errno::EAGAIN));
}

fn blocking_read() {
    let map = Mapping::shared(PAGE);
    let set = Arc::new(Watches::new(fx()).expect("a watch set"));
    let readers = [0, 1].map(|_| {
        let set = Arc::clone(&set);
        Task::spawn(move || {
            let mut event = [Event::default()];
            assert_eq!(set.read(&mut event), Ok(1));
            event[0].cookie
        })
    });
    for reader in &readers {
        until_in_syscall(getpid(), reader.tid(), libc::SYS_read);
    }
    // Both events come at once, and each of the readers has room for one.
    add(&set, map.word(0), 1);
    add(&set, map.word(0), 2);
    assert_eq!(fx().wake_all(map.word(0)), Ok(2));
    let mut cookies = readers.map(Task::join);
    cookies.sort_unstable();
    assert_eq!(cookies, [1, 2]);
}

fn polled() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let id = add_repeat(&set, map.word(0), 1);
    assert!(!readable(&set));
    let other = set.try_clone().expect("a handle");
    for flags in [PollFlags::POLLIN, PollFlags::POLLRDNORM] {
        let other = other.try_clone().expect("a handle");
        let task = Task::spawn(move || {
            let mut fds = [PollFd::new(other.as_fd(), flags)];
            poll(&mut fds, PollTimeout::NONE)
        });
        until_in_syscall(getpid(), task.tid(), POLL);
        assert_eq!(fx().wake_one(map.word(0)), Ok(1));
        assert_eq!(task.join(), Ok(1));
        assert!(readable(&set));
        assert_eq!(counts(&set), [(1, 1)]);
        assert!(!readable(&set));
    }
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    assert!(readable(&set));
    assert_eq!(set.remove(id), Ok(Some(1)));
    assert!(!readable(&set));
}

fn edge_triggered() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll");
    let interest = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 5);
    epoll.add(&set, interest).expect("epoll");
    let ready = || {
        let mut events = [EpollEvent::empty()];
        epoll.wait(&mut events, EpollTimeout::ZERO).expect("epoll")
    };
    add_repeat(&set, map.word(0), 1);
    assert_eq!(ready(), 0);
    for _ in 0..3 {
        // Each wake is told of, whether or not the last event was read.
        assert_eq!(fx().wake_one(map.word(0)), Ok(1));
        assert_eq!(ready(), 1);
        assert_eq!(ready(), 0);
    }
    assert_eq!(counts(&set), [(1, 3)]);
    assert_eq!(ready(), 0);
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    assert_eq!(ready(), 1);
}

fn closed() {
    let map = Mapping::shared(PAGE);
    let set = set();
    for cookie in 0..10 {
        add(&set, map.word(0), cookie);
        add_repeat(&set, map.word(0), cookie);
    }
    assert_eq!(fx().wake(map.word(0), 5, u64::MAX), Ok(5));
    assert!(nr_waiters(map.word(0)) >= 15);
    drop(set);
    assert_eq!(nr_waiters(map.word(0)), 0);
    assert_eq!(fx().wake_all(map.word(0)), Ok(0));
}

/// A child of fork(2) reads what was met in its parent.
fn inherited() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let word = map.word(0);
    add_repeat(&set, word, 3);
    Child::run(|| {
        assert_eq!(fx().wake_all(word), Ok(1));
        assert_eq!(counts(&set), [(3, 1)]);
        add(&set, word, 4);
    })
    .join();
    assert_eq!(fx().wake_all(word), Ok(2));
    assert_eq!(counts(&set), [(3, 1), (4, 1)]);
}

/// What is passed on as a descriptor is recognised.
fn passed_on() {
    let fd = OwnedFd::from(set());
    Watches::try_from(fd).expect("a watch set");
    let device = rfutex::Rfutex::open().expect("the device");
    let fd = device.as_fd().try_clone_to_owned().expect("a descriptor");
    assert_eq!(Watches::try_from(fd).err(), Some(Error::Unsupported));
    let fd = OwnedFd::from(set());
    assert_eq!(rfutex::Rfutex::try_from(fd).err(), Some(Error::Unsupported));
}

/// The process that has added a watch has ended; the watch is still there.
fn who_added_is_gone() {
    let map = Mapping::shared(PAGE);
    let private = Mapping::private(PAGE);
    let set = set();
    Child::run(|| {
        add(&set, map.word(0), 1);
        add(&set, private.word(0).private(), 2);
    })
    .join();
    // This process has the same address, but another mm.
    assert_eq!(fx().wake_all(private.word(0).private()), Ok(0));
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(counts(&set), [(1, 1)]);
}
