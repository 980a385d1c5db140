// SPDX-License-Identifier: GPL-2.0
//! Watch sets in event loops that are not ours: those of the crates `mio` and `polling`, and
//! io_uring.

use super::{add, add_repeat, counts, events, set};
use crate::harness::{LIMIT, Mapping, PAGE, Task, fx};
use io_uring::{IoUring, cqueue, squeue};
use mio::unix::SourceFd;
use rfutex::Event;
use rfutex::io_uring::{Buffers, completed, poll, poll_multi, read};
use std::os::fd::AsRawFd;
use std::sync::Arc;

trials![
    with_mio,
    with_polling,
    with_io_uring_poll,
    with_io_uring_poll_multi,
    with_io_uring_read,
    with_io_uring_read_multi,
];

/// Another thread, which wakes all that wait on `word`.
fn wake(map: &Arc<Mapping>) {
    let map = Arc::clone(map);
    let nr = Task::spawn(move || fx().wake_all(map.word(0))).join();
    assert_eq!(nr, Ok(1));
}

fn with_mio() {
    let map = Arc::new(Mapping::shared(PAGE));
    let set = set();
    add_repeat(&set, map.word(0), 7);
    let mut poll = mio::Poll::new().expect("epoll");
    poll.registry()
        .register(
            &mut SourceFd(&set.as_raw_fd()),
            mio::Token(3),
            mio::Interest::READABLE,
        )
        .expect("a source");
    let mut ready = mio::Events::with_capacity(4);
    for _ in 0..3 {
        wake(&map);
        poll.poll(&mut ready, Some(LIMIT)).expect("epoll");
        let tokens: Vec<_> = ready.iter().map(|event| event.token().0).collect();
        assert_eq!(tokens, [3]);
        assert_eq!(counts(&set), [(7, 1)]);
    }
}

fn with_polling() {
    let map = Arc::new(Mapping::shared(PAGE));
    let set = set();
    add_repeat(&set, map.word(0), 7);
    let poller = polling::Poller::new().expect("epoll");
    // SAFETY: The set is deleted from the poller below, before it is closed.
    unsafe { poller.add(&set, polling::Event::readable(3)) }.expect("a source");
    let mut ready = polling::Events::new();
    for _ in 0..3 {
        wake(&map);
        ready.clear();
        assert_eq!(poller.wait(&mut ready, Some(LIMIT)).expect("epoll"), 1);
        assert_eq!(ready.iter().next().map(|event| event.key), Some(3));
        assert_eq!(counts(&set), [(7, 1)]);
        let interest = polling::Event::readable(3);
        poller.modify(&set, interest).expect("a source");
    }
    poller.delete(&set).expect("a source");
}

/// Gives these entries to the kernel.
fn submit(ring: &mut IoUring, entries: &[squeue::Entry]) {
    // SAFETY: Each test keeps what its entries name until its ring is gone.
    unsafe { ring.submission().push_multiple(entries) }.expect("room in the ring");
    ring.submit().expect("io_uring_enter");
}

/// The next completion.
fn next(ring: &mut IoUring) -> cqueue::Entry {
    ring.submit_and_wait(1).expect("io_uring_enter");
    ring.completion().next().expect("a completion")
}

/// There is no completion that nobody has looked at.
#[track_caller]
fn idle(ring: &mut IoUring) {
    ring.submit().expect("io_uring_enter");
    assert!(ring.completion().is_empty());
}

fn with_io_uring_poll() {
    let map = Arc::new(Mapping::shared(PAGE));
    let set = set();
    let mut ring = IoUring::new(8).expect("a ring");
    add(&set, map.word(0), 7);
    submit(&mut ring, &[poll(&set).user_data(1)]);
    idle(&mut ring);
    wake(&map);
    let completion = next(&mut ring);
    assert_eq!(completion.user_data(), 1);
    assert_ne!(completion.result() & libc::POLLIN as i32, 0);
    assert!(!cqueue::more(completion.flags()));
    assert_eq!(counts(&set), [(7, 1)]);
}

fn with_io_uring_poll_multi() {
    let map = Arc::new(Mapping::shared(PAGE));
    let set = set();
    let mut ring = IoUring::new(8).expect("a ring");
    add_repeat(&set, map.word(0), 7);
    submit(&mut ring, &[poll_multi(&set)]);
    for _ in 0..3 {
        idle(&mut ring);
        wake(&map);
        let completion = next(&mut ring);
        assert_ne!(completion.result() & libc::POLLIN as i32, 0);
        assert!(cqueue::more(completion.flags()));
        assert_eq!(counts(&set), [(7, 1)]);
    }
}

fn with_io_uring_read() {
    let map = Arc::new(Mapping::shared(PAGE));
    for set in [set(), rfutex::Watches::new(fx()).expect("a watch set")] {
        let mut ring = IoUring::new(8).expect("a ring");
        let mut memory = [Event::default(); 4];
        add(&set, map.word(0), 7);
        submit(&mut ring, &[read(&set, &mut memory)]);
        idle(&mut ring);
        wake(&map);
        let completion = next(&mut ring);
        assert_eq!(completed(completion.result()), Ok(1));
        assert_eq!((memory[0].cookie, memory[0].woken), (7, 1));
    }
}

/// Two buffers of two events each.
fn with_io_uring_read_multi() {
    let map = Arc::new(Mapping::shared(PAGE));
    let set = set();
    let buffers = Buffers::new(5, 2, 2);
    let mut ring = IoUring::new(8).expect("a ring");
    submit(&mut ring, &[buffers.provide()]);
    assert_eq!(completed(next(&mut ring).result()), Ok(0));
    submit(&mut ring, &[buffers.read_multi(&set)]);
    // The cookies of the events of a completion, and its buffer.
    let cookies = |completion: &cqueue::Entry| {
        // SAFETY: No buffer is given back before its events were looked at.
        let (buffer, events) = unsafe { buffers.events(completion) }
            .expect("events")
            .expect("a buffer");
        let cookies: Vec<_> = events.iter().map(|event| event.cookie).collect();
        (buffer, cookies)
    };
    add_repeat(&set, map.word(0), 0);
    let mut used = Vec::new();
    for _ in 0..2 {
        idle(&mut ring);
        wake(&map);
        let completion = next(&mut ring);
        assert!(cqueue::more(completion.flags()));
        let (buffer, cookies) = cookies(&completion);
        assert_eq!(cookies, [0]);
        used.push(buffer);
    }
    used.sort_unstable();
    assert_eq!(used, [0, 1]);
    // There is no buffer left, but the events stay in the set.
    for cookie in 1..5 {
        add(&set, map.word(0), cookie);
    }
    assert_eq!(fx().wake_all(map.word(0)), Ok(5));
    let completion = next(&mut ring);
    assert_eq!(completion.result(), -libc::ENOBUFS);
    assert!(!cqueue::more(completion.flags()));
    let give_back = [0, 1].map(|buffer| buffers.give_back(buffer));
    submit(&mut ring, &give_back);
    for _ in 0..2 {
        assert_eq!(completed(next(&mut ring).result()), Ok(0));
    }
    submit(&mut ring, &[buffers.read_multi(&set)]);
    let mut all = Vec::new();
    for _ in 0..2 {
        all.extend(cookies(&next(&mut ring)).1);
    }
    assert_eq!(all.len(), 4);
    all.extend(events(&set).iter().map(|event| event.cookie));
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4]);
}
