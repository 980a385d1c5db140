// SPDX-License-Identifier: GPL-2.0
//! Reading: several who read at the same time, signals, and memory that is not there.

use super::epoll::{epoll_of, ready, sleeps};
use super::{EVENT, add, add_repeat, counts, events, read_to, readable, set};
use crate::harness::storm::again;
use crate::harness::{
    EPOLL_WAIT, Fault, Handler, LIMIT, Mapping, PAGE, Task, effort, fx, signal_thread, until,
    until_in_syscall,
};
use crate::memory::{Region, Uffd, rw};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::EpollFlags;
use nix::sys::mman::MapFlags;
use nix::sys::signal::{SaFlags, Signal};
use nix::unistd::getpid;
use rfutex::{Error, Event, Watches};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

trials![
    one_of_many,
    next_of_many,
    interrupted,
    restarted,
    signal_against_wake,
    nonblock_by_fcntl,
    while_it_faults,
    while_it_faults_and_fails,
    half_of_it_faults;
    lab: cannot_be_copied,
];

const EDGE: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLET);

/// A set that blocks.
fn blocking() -> Arc<Watches> {
    Arc::new(Watches::new(fx()).expect("a watch set"))
}

/// A thread that reads one event. Returns its cookie.
fn reader(set: &Arc<Watches>) -> Task<Result<u64, Error>> {
    let set = Arc::clone(set);
    let task = Task::spawn(move || {
        let mut event = [Event::default()];
        set.read(&mut event).map(|nr| {
            assert_eq!(nr, 1);
            event[0].cookie
        })
    });
    until_in_syscall(getpid(), task.tid(), libc::SYS_read);
    task
}

/// A wake wakes one of those who read, and does not disturb the others.
fn one_of_many() {
    let map = Mapping::shared(PAGE);
    let set = blocking();
    add_repeat(&set, map.word(0), 1);
    let mut tasks: Vec<_> = (0..4).map(|_| reader(&set)).collect();
    while !tasks.is_empty() {
        until("all sleep", || {
            tasks.iter().all(|task| sleeps(task.tid()).0)
        });
        let before: Vec<_> = tasks.iter().map(|task| sleeps(task.tid())).collect();
        assert_eq!(fx().wake_one(map.word(0)), Ok(1));
        until("one has read it", || tasks.iter().any(Task::is_finished));
        let woken = tasks.iter().position(Task::is_finished).expect("one has");
        assert_eq!(tasks.swap_remove(woken).join(), Ok(1));
        // The others have slept on: they have not even been on a processor.
        let after: Vec<_> = tasks.iter().map(|task| sleeps(task.tid())).collect();
        assert!(
            after.iter().all(|now| before.contains(now)),
            "{before:?} {after:?}"
        );
    }
}

/// One wake makes as many events as there are who read, each of whom has room for one.
fn next_of_many() {
    let map = Mapping::shared(PAGE);
    let set = blocking();
    for cookie in 0..4 {
        add(&set, map.word(0), cookie);
    }
    let tasks: Vec<_> = (0..4).map(|_| reader(&set)).collect();
    assert_eq!(fx().wake_all(map.word(0)), Ok(4));
    let mut cookies: Vec<_> = tasks
        .into_iter()
        .map(|task| task.join().expect("an event"))
        .collect();
    cookies.sort_unstable();
    assert_eq!(cookies, [0, 1, 2, 3]);
}

fn interrupted() {
    let map = Mapping::shared(PAGE);
    let handler = Handler::counting(Signal::SIGUSR1, SaFlags::empty());
    let set = blocking();
    add(&set, map.word(0), 1);
    let task = reader(&set);
    signal_thread(task.tid(), handler.signal());
    assert_eq!(task.join(), Err(Error::Interrupted));
    // Nothing was lost, and nobody is waited for.
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    assert_eq!(reader_of_one(&set), 1);
}

/// What a read returns that does not have to wait.
fn reader_of_one(set: &Watches) -> u64 {
    assert!(readable(set));
    let mut event = [Event::default()];
    assert_eq!(set.read(&mut event), Ok(1));
    event[0].cookie
}

/// The handler was installed with `SA_RESTART`: the read goes on.
fn restarted() {
    let map = Mapping::shared(PAGE);
    let handler = Handler::counting(Signal::SIGUSR1, SaFlags::SA_RESTART);
    let set = blocking();
    add(&set, map.word(0), 1);
    let task = reader(&set);
    for nr in 1..4 {
        signal_thread(task.tid(), handler.signal());
        until("the handler has run", || handler.count() == nr);
        until_in_syscall(getpid(), task.tid(), libc::SYS_read);
    }
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    assert_eq!(task.join(), Ok(1));
}

/// A signal arrives while a wake chooses who reads. The chosen one either takes the event or leaves
/// it to the other one, who gets no signal.
fn signal_against_wake() {
    let map = Mapping::shared(PAGE);
    let handler = Handler::counting(Signal::SIGUSR1, SaFlags::empty());
    let set = blocking();
    let stop = Arc::new(AtomicBool::new(false));
    let heard = Arc::new(AtomicU64::new(0));
    let round = Arc::new(AtomicU64::new(0));
    let read = {
        let (set, heard) = (Arc::clone(&set), Arc::clone(&heard));
        move || match set.read(&mut [Event::default()]) {
            Ok(_) => drop(heard.fetch_add(1, SeqCst)),
            Err(error) => assert_eq!(error, Error::Interrupted),
        }
    };
    let undisturbed = again(&stop, read.clone());
    // This one reads once in each round, so that an event which it does not take is not found by its
    // next read.
    let disturbed = {
        let (round, mut done) = (Arc::clone(&round), 0);
        again(&stop, move || {
            if round.load(SeqCst) == done {
                std::thread::yield_now();
            } else {
                done += 1;
                read();
            }
        })
    };
    let readers = [disturbed.tid(), undisturbed.tid()];
    let begun = Instant::now();
    while begun.elapsed() < effort(Duration::from_secs(3)) || round.load(SeqCst) < 50 {
        let nr = round.fetch_add(1, SeqCst) + 1;
        add(&set, map.word(0), nr);
        for tid in readers {
            until_in_syscall(getpid(), tid, libc::SYS_read);
        }
        if nr.is_multiple_of(2) {
            signal_thread(disturbed.tid(), handler.signal());
        }
        assert_eq!(fx().wake_one(map.word(0)), Ok(1));
        if nr % 2 == 1 {
            signal_thread(disturbed.tid(), handler.signal());
        }
        until("the event is read", || heard.load(SeqCst) == nr);
        // The other one may have been faster than the signal.
        until("the signal was handled", || handler.count() == nr as u32);
        assert!(begun.elapsed() < LIMIT);
    }
    stop.store(true, SeqCst);
    signal_thread(undisturbed.tid(), handler.signal());
    undisturbed.join();
    disturbed.join();
}

/// `O_NONBLOCK` counts when it is read, not when the set was made.
fn nonblock_by_fcntl() {
    let map = Mapping::shared(PAGE);
    let set = blocking();
    add(&set, map.word(0), 1);
    let mut event = [Event::default()];
    fcntl(&*set, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("fcntl");
    assert_eq!(set.read(&mut event), Err(Error::Again));
    fcntl(&*set, FcntlArg::F_SETFL(OFlag::empty())).expect("fcntl");
    let task = reader(&set);
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    assert_eq!(task.join(), Ok(1));
}

/// Memory for events that is missing; whoever writes there sleeps until it is filled.
pub fn missing() -> (Region, Uffd) {
    let region = Region::anonymous(2 * PAGE, rw(), MapFlags::MAP_PRIVATE);
    let uffd = Uffd::new(&region);
    (region, uffd)
}

/// A thread that reads up to `nr` events to `addr`, and sleeps in a page fault meanwhile. Returns
/// the thread and the address at which it faults.
#[track_caller]
pub fn faulting(
    set: &Watches,
    uffd: &Uffd,
    addr: u64,
    nr: usize,
) -> (Task<nix::Result<usize>>, u64) {
    let set = set.try_clone().expect("a handle");
    let task = Task::spawn(move || read_to(&set, addr, nr * EVENT));
    let addr = uffd.next_fault();
    assert!(!task.is_finished());
    (task, addr)
}

/// The cookies and counts of `nr` events at the beginning of `region`.
pub fn events_at(region: &Region, at: usize, nr: usize) -> Vec<(u64, u64)> {
    use crate::memory::RegionWord;
    let field = |offset: usize| {
        let [low, high] = [0, 4].map(|more| u64::from(region.word(offset + more).load()));
        high << 32 | low
    };
    let events = (0..nr).map(|nr| at + nr * EVENT);
    events.map(|at| (field(at), field(at + 16))).collect()
}

/// Three watches, the last of which repeats, were met; somebody reads them and faults. Meanwhile,
/// the one that repeats is met again, and so is a new one.
fn met_while_it_faults(
    map: &Mapping,
    set: &Watches,
    uffd: &Uffd,
    addr: u64,
) -> Task<nix::Result<usize>> {
    let epoll = epoll_of(set, EDGE);
    add(set, map.word(0), 1);
    add(set, map.word(0), 2);
    add_repeat(set, map.word(64), 3);
    assert_eq!(fx().wake_all(map.word(0)), Ok(2));
    assert_eq!(fx().wake_all(map.word(64)), Ok(1));
    assert_eq!(ready(&epoll), 1);
    let (task, _) = faulting(set, uffd, addr, 8);
    // They are being read.
    assert!(!readable(set));
    assert_eq!(fx().wake_all(map.word(64)), Ok(1));
    assert!(!readable(set));
    assert_eq!(ready(&epoll), 0);
    add(set, map.word(0), 4);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(ready(&epoll), 1);
    assert_eq!(ready(&epoll), 0);
    task
}

/// What was met while its event was being read is told of once more, with the rest.
fn while_it_faults() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let (region, uffd) = missing();
    let addr = region.base() as u64;
    let task = met_while_it_faults(&map, &set, &uffd, addr);
    let epoll = epoll_of(&set, EDGE);
    assert_eq!(ready(&epoll), 1);
    // The read goes on until there is nothing left.
    uffd.fill(addr, &Region::private(PAGE));
    assert_eq!(task.join(), Ok(5));
    assert_eq!(
        events_at(&region, 0, 5),
        [(1, 1), (2, 1), (3, 1), (4, 1), (3, 1)]
    );
    assert_eq!(events(&set), []);
    assert_eq!(fx().wake_all(map.word(64)), Ok(1));
    assert_eq!(counts(&set), [(3, 1)]);
}

/// The read fails. Its events come first again, in their order, and whoever polls is told.
fn while_it_faults_and_fails() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let (region, uffd) = missing();
    let task = met_while_it_faults(&map, &set, &uffd, region.base() as u64);
    let epoll = epoll_of(&set, EDGE);
    assert_eq!(ready(&epoll), 1);
    assert_eq!(ready(&epoll), 0);
    let waiter = blocked_in(epoll);
    // The memory is gone when it tries again.
    region.map_nothing_over();
    drop(uffd);
    assert_eq!(task.join(), Err(nix::Error::EFAULT));
    waiter.join();
    assert_eq!(counts(&set), [(1, 1), (2, 1), (3, 2), (4, 1)]);
    assert!(!readable(&set));
}

/// A thread that waits until the epoll has something to tell.
fn blocked_in(epoll: nix::sys::epoll::Epoll) -> Task<()> {
    use nix::sys::epoll::{EpollEvent, EpollTimeout};
    let task = Task::spawn(move || {
        let mut events = [EpollEvent::empty()];
        assert_eq!(epoll.wait(&mut events, EpollTimeout::NONE), Ok(1));
    });
    until_in_syscall(getpid(), task.tid(), EPOLL_WAIT);
    task
}

/// The second of three events falls on a page that goes.
fn half_of_it_faults() {
    let map = Mapping::shared(PAGE);
    let set = set();
    for cookie in 1..4 {
        add(&set, map.word(0), cookie);
    }
    let epoll = epoll_of(&set, EDGE);
    assert_eq!(fx().wake_all(map.word(0)), Ok(3));
    assert_eq!(ready(&epoll), 1);
    let (region, uffd) = missing();
    let addr = region.base() as u64;
    uffd.fill(addr, &Region::private(PAGE));
    let at = PAGE - EVENT - EVENT / 2;
    let (task, fault) = faulting(&set, &uffd, addr + at as u64, 3);
    assert_eq!(fault - fault % PAGE as u64, addr + PAGE as u64);
    assert_eq!(ready(&epoll), 0);
    let waiter = blocked_in(epoll);
    region
        .try_advise(0, PAGE, libc::MADV_NORMAL)
        .expect("madvise");
    region.map_over(
        PAGE,
        PAGE,
        crate::memory::memfd(0),
        0,
        rw(),
        MapFlags::MAP_SHARED,
    );
    drop(uffd);
    assert_eq!(task.join(), Ok(1));
    waiter.join();
    assert_eq!(events_at(&region, at, 1), [(1, 1)]);
    assert_eq!(counts(&set), [(2, 1), (3, 1)]);
}

/// The same at each event of more than one batch, by a fault point.
fn cannot_be_copied() {
    let map = Mapping::shared(PAGE);
    let set = set();
    for cookie in 0..40 {
        add(&set, map.word(0), cookie);
    }
    let epoll = epoll_of(&set, EDGE);
    assert_eq!(fx().wake_all(map.word(0)), Ok(40));
    assert_eq!(ready(&epoll), 1);
    for _ in 0..5 {
        let fault = Fault::arm("copy-out", 1);
        assert_eq!(set.read(&mut [Event::default(); 30]), Err(Error::Fault));
        assert_eq!(fault.left(), 0);
        // It is told of anew.
        assert_eq!(ready(&epoll), 1);
        assert_eq!(ready(&epoll), 0);
    }
    let cookies: Vec<_> = counts(&set).iter().map(|(cookie, _)| *cookie).collect();
    assert_eq!(cookies, (0..40).collect::<Vec<_>>());
}
