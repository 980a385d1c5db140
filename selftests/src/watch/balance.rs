// SPDX-License-Identifier: GPL-2.0
//! All that can happen to watches, in several processes that come and go, at the same time: what
//! wakes have returned is what tasks, events and removals tell.

use super::set;
use crate::harness::storm::again;
use crate::harness::{Child, LIMIT, Mapping, PAGE, Task, effort, fx, nr_waiters};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use rfutex::{
    Compare, Error, Event, Op, Target, WaitOptions, WakeEntry, WatchId, WatchOptions, Watches, Word,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

trials![processes];

/// How long the storm lasts.
const STORM: Duration = Duration::from_secs(8);

/// Those whose wakes are counted meet the waiters with this bit in their masks.
const COUNTED: u64 = 1;

/// Those that are closed with what they have not read have only this bit.
const LOST: u64 = 2;

/// On which word the watches of those repeat that are counted.
const REPEATED: usize = 2;

/// What all processes share.
struct Shared {
    map: Mapping,
}

/// Where the counters are in the shared memory.
#[derive(Clone, Copy)]
enum Counter {
    /// What wakes have returned.
    Woken = 1024,
    /// What tasks, events and removals have told of wakes.
    Heard = 1032,
    /// What requeues have returned.
    Requeued = 1040,
    /// What events have told of requeues.
    Moved = 1048,
    /// How many processes have been killed while they armed watches.
    Killed = 1056,
    /// The storm is over.
    Stop = 1064,
}

impl Shared {
    fn words(&self) -> [Word<'static>; 3] {
        [0, 64, 128].map(|at| self.map.word(at))
    }

    fn counter(&self, counter: Counter) -> &AtomicU64 {
        self.map.atomic(counter as usize)
    }

    fn add(&self, counter: Counter, nr: u64) {
        self.counter(counter).fetch_add(nr, SeqCst);
    }

    fn get(&self, counter: Counter) -> u64 {
        self.counter(counter).load(SeqCst)
    }

    fn heard(&self, event: &Event) {
        self.add(Counter::Heard, event.woken);
        self.add(Counter::Moved, event.moved.into());
    }

    /// One of the ways in which somebody wakes.
    fn wake(&self, random: &mut fastrand::Rng) {
        let words = self.words();
        let [word, other] = [0, 1].map(|_| words[random.usize(..words.len())]);
        let nr = random.u32(1..6);
        let woken = match random.u32(..6) {
            // A watch that repeats hears of requeues, too, and its removal does not tell one from the
            // other. So none of those that are counted is where waiters are moved away from.
            0 if word.addr() != other.addr() && word.addr() != words[REPEATED].addr() => {
                let moved = fx().requeue(word, other, 0, nr).expect("requeue");
                return self.add(Counter::Requeued, moved.into());
            }
            1 => {
                let entries = words.map(|word| WakeEntry::new(word, nr).mask(COUNTED));
                let mut results = [0; 3];
                let woken = fx().wake_each(&entries, &mut results).expect("wakev");
                assert_eq!(woken, results.iter().sum());
                woken
            }
            _ => fx().wake(word, nr, COUNTED).expect("wake"),
        };
        self.add(Counter::Woken, woken.into());
    }

    /// A wait by a thread.
    fn wait(&self, random: &mut fastrand::Rng) {
        let word = self.words()[random.usize(..3)];
        let options = WaitOptions {
            mask: COUNTED,
            ..WaitOptions::default().within(Duration::from_millis(2))
        };
        match fx().wait_with(word, 0, options) {
            Ok(()) => self.add(Counter::Heard, 1),
            Err(Error::TimedOut) => {}
            Err(error) => panic!("wait: {error}"),
        }
    }

    /// Reads some events.
    fn read(&self, set: &Watches) {
        let mut some = [Event::default(); 5];
        match set.read(&mut some) {
            Ok(nr) => some[..nr].iter().for_each(|event| self.heard(event)),
            Err(error) => assert_eq!(error, Error::Again),
        }
    }

    /// Adds watches to a set, and removes old ones.
    fn arm(&self, set: &Watches, ids: &mut VecDeque<WatchId>, random: &mut fastrand::Rng) {
        let nr = random.usize(..3);
        let (word, options) = (self.words()[nr], WatchOptions::default().mask(COUNTED));
        let options = if nr == REPEATED {
            options.repeat()
        } else {
            options
        };
        ids.push_back(set.add(word, 0, 0, options).expect("a watch"));
        if ids.len() > 6 {
            let id = ids.remove(random.usize(..ids.len())).expect("an id");
            self.remove(set, id);
        }
    }

    /// Removes a watch.
    fn remove(&self, set: &Watches, id: WatchId) {
        if let Some(unread) = set.remove(id).expect("it is removed") {
            self.add(Counter::Heard, unread.into());
        }
    }

    /// Closes a set whose watches are being met, while it is in an epoll.
    fn close(&self, random: &mut fastrand::Rng) {
        let set = set();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll");
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&set, EpollEvent::new(flags, 0)).expect("epoll");
        for word in self.words() {
            let options = WatchOptions::default().mask(LOST);
            set.add(word, 0, 0, options).expect("a watch");
            set.add(word, 0, 0, options.repeat()).expect("a watch");
            fx().wake(word, random.u32(1..3), LOST).expect("wake");
        }
        epoll
            .wait(&mut [EpollEvent::empty()], EpollTimeout::ZERO)
            .expect("epoll");
        let _ = set.read(&mut [Event::default()]);
    }

    fn is_over(&self) -> bool {
        self.get(Counter::Stop) != 0
    }
}

/// A process that wakes, waits, arms, and reads from a set of its parent, until the storm is over.
fn lives(shared: &Shared, set: &Watches, seed: u64) -> Child {
    Child::run(|| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut ids = VecDeque::new();
        while !shared.is_over() {
            match random.u32(..8) {
                0..2 => shared.wake(&mut random),
                2 => shared.wait(&mut random),
                3..5 => shared.arm(set, &mut ids, &mut random),
                5 => shared.close(&mut random),
                _ => shared.read(set),
            }
        }
        ids.into_iter().for_each(|id| shared.remove(set, id));
    })
}

/// A process that arms watches in a set of its parent, and ends, becomes another program, or is
/// killed in the middle of that. It gets no answer that would be lost with it.
fn ends(shared: &Shared, set: &Watches, round: u64) {
    let child = Child::run(|| {
        let own = super::set();
        let mut random = fastrand::Rng::with_seed(round);
        for nr in 0.. {
            let word = shared.words()[random.usize(..3)];
            let options = WatchOptions::default();
            own.add(word, 0, 0, options.mask(LOST)).expect("a watch");
            set.add(word, 0, 0, options.mask(COUNTED)).expect("a watch");
            // What nobody else can meet.
            set.add(word.private(), 0, 0, options.mask(COUNTED))
                .expect("a watch");
            match round % 3 {
                0 if nr == 5 => return,
                1 if nr == 5 => {
                    let program = c"/bin/busybox".to_owned();
                    nix::unistd::execv(&program, &[c"true".to_owned()]).expect("execv");
                }
                _ if nr > 20 => return,
                _ => {}
            }
        }
    });
    if round % 3 == 2 {
        while nr_waiters(shared.words()[0]) == 0 && !child.is_finished() {
            std::thread::yield_now();
        }
        child.kill(Signal::SIGKILL);
        shared.add(Counter::Killed, 1);
    }
    child.status();
}

fn processes() {
    let shared = Arc::new(Shared {
        map: Mapping::shared(PAGE),
    });
    let target = Target::new(shared.map.atomic::<AtomicU32>(192));
    let set = Arc::new(set());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let children = [1, 2].map(|nr| lives(&shared, &set, seed ^ nr));
    let stop = Arc::new(AtomicBool::new(false));
    let mut random = fastrand::Rng::with_seed(seed);
    let threads = [0u32, 1].map(|what| {
        let (shared, set) = (Arc::clone(&shared), Arc::clone(&set));
        let mut random = random.fork();
        again(&stop, move || match what {
            0 => shared.wake(&mut random),
            _ => shared.read(&set),
        })
    });
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < effort(STORM) || round < 6 {
        ends(&shared, &set, round);
        round += 1;
        assert!(begun.elapsed() < LIMIT);
    }
    shared.counter(Counter::Stop).store(1, SeqCst);
    children.into_iter().for_each(Child::join);
    stop.store(true, SeqCst);
    threads.into_iter().for_each(Task::join);
    // Everybody who is left, in one more way, and what was not yet read.
    for word in shared.words() {
        let (op, compare) = (Op::Or(0), Compare::Equal(0));
        let woken = fx()
            .wake_op(word, u32::MAX, target, 1, op, compare)
            .expect("wake_op");
        shared.add(Counter::Woken, woken.into());
    }
    while super::readable(&set) {
        shared.read(&set);
    }
    let counters = [
        Counter::Woken,
        Counter::Heard,
        Counter::Requeued,
        Counter::Killed,
    ];
    let [woken, heard, requeued, killed] = counters.map(|counter| shared.get(counter));
    println!("{woken} woken, {requeued} requeued, {round} processes, {killed} of them killed");
    assert!(woken > 0 && requeued > 0 && killed > 0);
    assert_eq!(woken, heard);
    assert_eq!(shared.get(Counter::Moved), 0);
    assert_eq!(shared.words().map(nr_waiters), [0; 3]);
}
