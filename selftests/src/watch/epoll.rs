// SPDX-License-Identifier: GPL-2.0
//! Sets in epoll(7), in select(2), and in what else waits for files.

use super::{add, add_repeat, counts, events, set};
use crate::harness::storm::again;
use crate::harness::{EPOLL_WAIT, LIMIT, Mapping, PAGE, Task, effort, fx, until, until_in_syscall};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::select::{FdSet, select};
use nix::unistd::{Pid, getpid};
use rfutex::{Event, Watches};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

trials![
    exclusive,
    exclusive_next,
    nested,
    nested_edge_triggered,
    selected,
    selected_by_thread,
    taken_off_during_wakes,
    epoll_closed_during_wakes,
    set_closed_during_wakes,
];

const EDGE: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLET);
const EXCLUSIVE: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLEXCLUSIVE);

/// How long a storm lasts.
const STORM: Duration = Duration::from_secs(2);

/// An epoll that `fd` is in.
pub fn epoll_of(fd: impl AsFd, flags: EpollFlags) -> Epoll {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll");
    epoll.add(fd, EpollEvent::new(flags, 0)).expect("epoll");
    epoll
}

/// How many files epoll has to tell of.
pub fn ready(epoll: &Epoll) -> usize {
    let mut events = [EpollEvent::empty(); 4];
    epoll.wait(&mut events, EpollTimeout::ZERO).expect("epoll")
}

/// Threads that wait, each in an epoll of its own, and then do `then`. All of them sleep.
fn waiting<T: Send + 'static>(
    set: &Arc<Watches>,
    flags: EpollFlags,
    then: fn(&Watches) -> T,
) -> Vec<Task<T>> {
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let set = Arc::clone(set);
            let epoll = epoll_of(&*set, flags);
            Task::spawn(move || {
                let mut events = [EpollEvent::empty()];
                assert_eq!(epoll.wait(&mut events, EpollTimeout::NONE), Ok(1));
                then(&set)
            })
        })
        .collect();
    for task in &tasks {
        until_in_syscall(getpid(), task.tid(), EPOLL_WAIT);
    }
    tasks
}

/// Whether a thread sleeps, and how often it has gone to sleep: if both are as before, nobody has
/// woken it meanwhile.
pub fn sleeps(tid: Pid) -> (bool, String) {
    let path = format!("/proc/self/task/{tid}/status");
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    (
        field("State:").starts_with('S'),
        field("voluntary_ctxt_switches:"),
    )
}

/// Each wake wakes one of those who have asked for that, and does not disturb the others.
fn exclusive() {
    let map = Mapping::shared(PAGE);
    let set = Arc::new(set());
    add_repeat(&set, map.word(0), 1);
    let mut tasks = waiting(&set, EXCLUSIVE, |_| ());
    while !tasks.is_empty() {
        until("all sleep", || {
            tasks.iter().all(|task| sleeps(task.tid()).0)
        });
        let before: Vec<_> = tasks.iter().map(|task| sleeps(task.tid())).collect();
        assert_eq!(fx().wake_one(map.word(0)), Ok(1));
        until("one is woken", || tasks.iter().any(Task::is_finished));
        let woken = tasks.iter().position(Task::is_finished).expect("one is");
        tasks.swap_remove(woken).join();
        // The others have slept on: they have not even been on a processor.
        let after: Vec<_> = tasks.iter().map(|task| sleeps(task.tid())).collect();
        assert!(
            after.iter().all(|now| before.contains(now)),
            "{before:?} {after:?}"
        );
        assert_eq!(counts(&set), [(1, 1)]);
    }
}

/// Who reads some of the events and leaves others has the next one woken.
fn exclusive_next() {
    let map = Mapping::shared(PAGE);
    let set = Arc::new(set());
    for cookie in 1..4 {
        add(&set, map.word(0), cookie);
    }
    let tasks = waiting(&set, EXCLUSIVE, |set| {
        let mut event = [Event::default()];
        assert_eq!(set.read(&mut event), Ok(1));
        event[0].cookie
    });
    assert_eq!(fx().wake_all(map.word(0)), Ok(3));
    until("three are woken", || {
        tasks.iter().filter(|task| task.is_finished()).count() == 3
    });
    let (ended, mut left): (Vec<_>, Vec<_>) = tasks.into_iter().partition(Task::is_finished);
    let mut cookies: Vec<_> = ended.into_iter().map(Task::join).collect();
    cookies.sort_unstable();
    assert_eq!(cookies, [1, 2, 3]);
    let last = left.pop().expect("one is left");
    until("the last one sleeps", || sleeps(last.tid()).0);
    add(&set, map.word(0), 4);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(last.join(), 4);
}

/// A set in an epoll in an epoll.
fn nested() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let outer = epoll_of(&epoll_of(&set, EpollFlags::EPOLLIN).0, EpollFlags::EPOLLIN);
    // The inner one is closed.
    assert_eq!(ready(&outer), 0);
    let inner = epoll_of(&set, EpollFlags::EPOLLIN);
    let outer = epoll_of(&inner.0, EpollFlags::EPOLLIN);
    add_repeat(&set, map.word(0), 1);
    assert_eq!(ready(&outer), 0);
    let task = Task::spawn(move || {
        let mut events = [EpollEvent::empty()];
        assert_eq!(outer.wait(&mut events, EpollTimeout::NONE), Ok(1));
        outer
    });
    until_in_syscall(getpid(), task.tid(), EPOLL_WAIT);
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    let outer = task.join();
    assert_eq!([ready(&outer), ready(&inner)], [1, 1]);
    assert_eq!(counts(&set), [(1, 1)]);
    assert_eq!([ready(&outer), ready(&inner)], [0, 0]);
}

fn nested_edge_triggered() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let inner = epoll_of(&set, EDGE);
    let outer = epoll_of(&inner.0, EDGE);
    add_repeat(&set, map.word(0), 1);
    for _ in 0..3 {
        assert_eq!(fx().wake_one(map.word(0)), Ok(1));
        assert_eq!(ready(&outer), 1);
        assert_eq!(ready(&outer), 0);
        assert_eq!(ready(&inner), 1);
        assert_eq!(ready(&inner), 0);
    }
    assert_eq!(counts(&set), [(1, 3)]);
}

/// Whether select(2) finds the set readable, at once.
fn selectable(set: &Watches) -> bool {
    let mut fds = FdSet::new();
    fds.insert(set.as_fd());
    let mut zero = nix::sys::time::TimeVal::new(0, 0);
    select(None, &mut fds, None, None, &mut zero).expect("select") == 1
}

fn selected() {
    let map = Mapping::shared(PAGE);
    let set = set();
    add_repeat(&set, map.word(0), 1);
    assert!(!selectable(&set));
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    assert!(selectable(&set));
    assert_eq!(counts(&set), [(1, 1)]);
    assert!(!selectable(&set));
}

fn selected_by_thread() {
    let map = Mapping::shared(PAGE);
    let set = Arc::new(set());
    add_repeat(&set, map.word(0), 1);
    let task = Task::spawn({
        let set = Arc::clone(&set);
        move || {
            let mut fds = FdSet::new();
            fds.insert(set.as_fd());
            select(None, &mut fds, None, None, None)
        }
    });
    until_in_syscall(getpid(), task.tid(), libc::SYS_pselect6);
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    assert_eq!(task.join(), Ok(1));
}

/// Wakes the first word of `map` again and again while `f` is done, again and again.
fn during_wakes(map: &Arc<Mapping>, mut f: impl FnMut(usize)) {
    let stop = Arc::new(AtomicBool::new(false));
    let wakers = [1, u32::MAX].map(|nr| {
        let map = Arc::clone(map);
        again(&stop, move || {
            fx().wake(map.word(0), nr, u64::MAX).expect("wake");
        })
    });
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < effort(STORM) || round < 100 {
        f(round);
        round += 1;
        assert!(begun.elapsed() < LIMIT);
    }
    stop.store(true, SeqCst);
    wakers.into_iter().for_each(Task::join);
}

/// The flags of a round of a storm.
fn flags(round: usize) -> EpollFlags {
    [EpollFlags::EPOLLIN, EDGE, EXCLUSIVE][round % 3]
}

/// EPOLL_CTL_DEL while the set is being met.
fn taken_off_during_wakes() {
    let map = Arc::new(Mapping::shared(PAGE));
    let set = set();
    add_repeat(&set, map.word(0), 1);
    let epoll = epoll_of(&set, EDGE);
    during_wakes(&map, |round| {
        epoll.delete(&set).expect("epoll");
        assert_eq!(ready(&epoll), 0, "a file that is not there");
        epoll
            .add(&set, EpollEvent::new(flags(round), 0))
            .expect("epoll");
        ready(&epoll);
    });
    events(&set);
    // What comes after the storm is told of.
    epoll.delete(&set).expect("epoll");
    epoll.add(&set, EpollEvent::new(EDGE, 0)).expect("epoll");
    assert_eq!(ready(&epoll), 0);
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    assert_eq!(ready(&epoll), 1);
}

fn epoll_closed_during_wakes() {
    let map = Arc::new(Mapping::shared(PAGE));
    let set = set();
    add_repeat(&set, map.word(0), 1);
    during_wakes(&map, |round| {
        let inner = epoll_of(&set, flags(round));
        let outer = epoll_of(&inner.0, EpollFlags::EPOLLIN);
        ready(&outer);
        if round % 2 == 0 {
            drop(inner);
            ready(&outer);
        }
    });
    events(&set);
    let epoll = epoll_of(&set, EDGE);
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    assert_eq!(ready(&epoll), 1);
}

/// A set is closed while it is in an epoll, and is being met.
fn set_closed_during_wakes() {
    let map = Arc::new(Mapping::shared(PAGE));
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll");
    during_wakes(&map, |round| {
        let set = set();
        epoll
            .add(&set, EpollEvent::new(flags(round), 0))
            .expect("epoll");
        add(&set, map.word(0), 1);
        add_repeat(&set, map.word(0), 2);
        ready(&epoll);
        drop(set);
        assert_eq!(ready(&epoll), 0, "a file that is closed");
    });
    assert_eq!(fx().wake_all(map.word(0)), Ok(0));
}
