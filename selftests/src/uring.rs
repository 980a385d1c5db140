// SPDX-License-Identifier: GPL-2.0
//! Waits and wakes as commands of io_uring.

use crate::harness::storm::again;
use crate::harness::{
    Child, LIMIT, Mapping, PAGE, Task, Waiter, fx, nr_waiters, until, until_in_syscall,
    until_queued,
};
use crate::memory::memfd;
use io_uring::{IoUring, opcode, squeue, types};
use libc::{EAGAIN, ECANCELED, EFAULT, EINVAL, EOPNOTSUPP};
use nix::sys::signal::Signal;
use rfutex::raw::bytes_of;
use rfutex::raw::uapi::*;
use rfutex::{Rfutex, WakeEntry, Word};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

trials![
    wait_and_wake,
    by_the_crate,
    other_value,
    bad_requests,
    wakes,
    in_turn,
    moved,
    cancelled,
    other_ring_is_left_alone,
    closed,
    killed,
    stopped,
    by_workers,
    by_a_kernel_thread,
    everything_at_once,
];

/// A ring, with the device that its commands are for.
struct Ring {
    ring: IoUring,
    device: Rfutex,
}

impl Ring {
    fn new() -> Self {
        Self::of(IoUring::new(256).expect("io_uring"))
    }

    fn of(ring: IoUring) -> Self {
        let device = Rfutex::open().expect("the device");
        Self { ring, device }
    }

    fn entry(&self, op: u32, arg: u64, user_data: u64) -> squeue::Entry {
        let mut command = [0; 16];
        command[..8].copy_from_slice(&arg.to_ne_bytes());
        opcode::UringCmd16::new(types::Fd(self.device.as_fd().as_raw_fd()), op)
            .cmd(command)
            .build()
            .user_data(user_data)
    }

    /// Submits an entry. What it refers to must be valid until this returns, or longer if the
    /// entry is not issued at once.
    fn submit(&mut self, entry: &squeue::Entry) {
        // SAFETY: The tests keep what their entries refer to.
        unsafe { self.ring.submission().push(entry) }.expect("there is room");
        self.ring.submit().expect("it is submitted");
    }

    /// Submits a wait on `word` while that is 0.
    fn wait(&mut self, word: Word<'_>, user_data: u64) {
        let wait = wait_on(word);
        let entry = self.entry(RFUTEX_WAIT, addr_of(&wait), user_data);
        self.submit(&entry);
    }

    /// The completions that there are.
    fn done(&mut self) -> Vec<(u64, i32)> {
        self.ring
            .completion()
            .map(|entry| (entry.user_data(), entry.result()))
            .collect()
    }

    /// The next completion.
    #[track_caller]
    fn next(&mut self) -> (u64, i32) {
        let begun = Instant::now();
        loop {
            if let Some(entry) = self.ring.completion().next() {
                return (entry.user_data(), entry.result());
            }
            assert!(begun.elapsed() < LIMIT, "nothing is completed");
            let timeout = types::Timespec::new().nsec(10_000_000);
            let args = types::SubmitArgs::new().timespec(&timeout);
            let _ = self.ring.submitter().submit_with_args(1, &args);
        }
    }

    /// Submits an entry that is completed at once. Returns its result.
    #[track_caller]
    fn call(&mut self, op: u32, arg: u64) -> i32 {
        let entry = self.entry(op, arg, u64::MAX);
        self.submit(&entry);
        let (user_data, result) = self.next();
        assert_eq!(user_data, u64::MAX);
        result
    }
}

fn wait_on(word: Word<'_>) -> rfutex_wait {
    rfutex_wait {
        word: word.into(),
        mask: RFUTEX_MASK_ANY,
        ..Default::default()
    }
}

fn addr_of<T>(value: &T) -> u64 {
    std::ptr::from_ref(value).expose_provenance() as u64
}

fn wait_and_wake() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    for word in [map.word(0), map.word(8).private()] {
        ring.wait(word, 1);
        assert_eq!(nr_waiters(word), 1);
        assert_eq!(ring.done(), []);
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(ring.next(), (1, 0));
        assert_eq!(nr_waiters(word), 0);
        for user_data in 0..100 {
            ring.wait(word, user_data);
        }
        assert_eq!(fx().wake_all(word), Ok(100));
        let mut done: Vec<_> = (0..100).map(|_| ring.next()).collect();
        done.sort_unstable();
        assert_eq!(done, (0..100).map(|nr| (nr, 0)).collect::<Vec<_>>());
    }
}

/// The entries that the crate makes.
fn by_the_crate() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let device = Rfutex::open().expect("the device");
    for word in [map.word(0), map.word(8).private()] {
        let on = rfutex::io_uring::Wait::new(word, 0, RFUTEX_MASK_ANY);
        for user_data in 1..5 {
            ring.submit(&rfutex::io_uring::wait(&device, &on).user_data(user_data));
        }
        ring.submit(&rfutex::io_uring::wake_one(&device, word).user_data(8));
        ring.submit(&rfutex::io_uring::cancel(&device, 3).user_data(9));
        ring.submit(&rfutex::io_uring::wake_all(&device, word).user_data(10));
        let mut done: Vec<_> = (0..7).map(|_| ring.next()).collect();
        done.sort_unstable();
        let expected = [
            (1, 0),
            (2, 0),
            (3, -ECANCELED),
            (4, 0),
            (8, 1),
            (9, 1),
            (10, 2),
        ];
        assert_eq!(done, expected);
    }
}

fn other_value() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let wait = rfutex_wait {
        val: 1,
        ..wait_on(map.word(0))
    };
    assert_eq!(ring.call(RFUTEX_WAIT, addr_of(&wait)), -EAGAIN);
    // A word that is not in memory is brought there.
    let file = memfd(PAGE);
    let map = Mapping::shared_file(&file, PAGE);
    ring.wait(map.word(0), 3);
    assert_eq!(nr_waiters(map.word(0)), 1);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(ring.next(), (3, 0));
}

fn bad_requests() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let good = wait_on(map.word(0));
    let deadline = rfutex_wait {
        clock: RFUTEX_CLOCK_MONOTONIC,
        deadline: 1,
        ..good
    };
    let mask = rfutex_wait { mask: 0, ..good };
    let flags = rfutex_wait { flags: 1, ..good };
    for bad in [deadline, mask, flags] {
        assert_eq!(ring.call(RFUTEX_WAIT, addr_of(&bad)), -EINVAL);
    }
    assert_eq!(ring.call(RFUTEX_WAIT, 8), -EFAULT);
    assert_eq!(ring.call(RFUTEX_WAKE_ONE, 8), -EFAULT);
    let short = rfutex::raw::with_size(RFUTEX_WAIT, 8);
    assert_eq!(ring.call(short, addr_of(&good)), -EINVAL);
    for op in [
        RFUTEX_QUERY,
        RFUTEX_WAITV,
        RFUTEX_SWAP,
        RFUTEX_WATCHES_CREATE,
        0,
        u32::MAX,
    ] {
        assert_eq!(ring.call(op, addr_of(&good)), -EOPNOTSUPP, "{op:#x}");
    }
    let mut command = [0; 16];
    command[8] = 1;
    let entry = opcode::UringCmd16::new(types::Fd(ring.device.as_fd().as_raw_fd()), RFUTEX_WAIT)
        .cmd(command)
        .build();
    ring.submit(&entry);
    assert_eq!(ring.next().1, -EINVAL);
    assert_eq!(nr_waiters(map.word(0)), 0);
    assert_eq!(bytes_of(&good).len(), 56);
}

fn wakes() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let word = map.word(0);
    let threads = [(); 4].map(|()| Waiter::start(word, 0));
    assert_eq!(ring.call(RFUTEX_WAKE_ONE, word.addr()), 1);
    let wake = rfutex_wake {
        word: word.into(),
        mask: RFUTEX_MASK_ANY,
        nr: 2,
        pad: 0,
    };
    assert_eq!(ring.call(RFUTEX_WAKE, addr_of(&wake)), 2);
    let entries = [WakeEntry::new(word, 9), WakeEntry::new(map.word(64), 9)];
    let mut results = [7u32; 2];
    let wakev = rfutex_wakev {
        entries: addr_of(&entries),
        results: results.as_mut_ptr().expose_provenance() as u64,
        nr: 2,
        entry_size: size_of::<WakeEntry<'_>>() as u32,
        ..Default::default()
    };
    assert_eq!(ring.call(RFUTEX_WAKEV, addr_of(&wakev)), 1);
    assert_eq!(results, [1, 0]);
    threads.into_iter().for_each(Waiter::woken);
    assert_eq!(ring.call(RFUTEX_WAKE_ALL, word.addr()), 0);
}

/// A request takes its turn among threads.
fn in_turn() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let word = map.word(0);
    ring.wait(word, 1);
    let thread = Waiter::start(word, 0);
    ring.wait(word, 2);
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(ring.next(), (1, 0));
    assert_eq!(fx().wake_one(word), Ok(1));
    thread.woken();
    assert_eq!(ring.done(), []);
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(ring.next(), (2, 0));
}

fn moved() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let [from, to] = [map.word(0), map.word(64)];
    ring.wait(from, 1);
    ring.wait(from, 2);
    assert_eq!(fx().requeue(from, to, 1, 1), Ok(2));
    assert_eq!(ring.next(), (1, 0));
    assert_eq!([nr_waiters(from), nr_waiters(to)], [0, 1]);
    assert_eq!(ring.call(RFUTEX_URING_CANCEL, 2), 1);
    assert_eq!(ring.next(), (2, -ECANCELED));
    assert_eq!(nr_waiters(to), 0);
}

fn cancelled() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let word = map.word(0);
    for user_data in [1, 2, 1] {
        ring.wait(word, user_data);
    }
    assert_eq!(ring.call(RFUTEX_URING_CANCEL, 3), 0);
    assert_eq!(nr_waiters(word), 3);
    let entry = ring.entry(RFUTEX_URING_CANCEL, 1, 9);
    ring.submit(&entry);
    let mut done = [ring.next(), ring.next(), ring.next()];
    done.sort_unstable();
    assert_eq!(done, [(1, -ECANCELED), (1, -ECANCELED), (9, 2)]);
    assert_eq!(nr_waiters(word), 1);
    assert_eq!(fx().wake_all(word), Ok(1));
    assert_eq!(ring.next(), (2, 0));
    assert_eq!(ring.call(RFUTEX_URING_CANCEL, 2), 0);
}

/// Rings know only their own requests, even on one open file.
fn other_ring_is_left_alone() {
    let map = Mapping::shared(PAGE);
    let mut one = Ring::new();
    let mut other = Ring::new();
    other.device = one
        .device
        .as_fd()
        .try_clone_to_owned()
        .expect("a descriptor")
        .try_into()
        .expect("the device");
    one.wait(map.word(0), 1);
    assert_eq!(other.call(RFUTEX_URING_CANCEL, 1), 0);
    assert_eq!(nr_waiters(map.word(0)), 1);
    assert_eq!(other.call(RFUTEX_WAKE_ALL, map.word(0).addr()), 1);
    assert_eq!(one.next(), (1, 0));
}

/// A ring is closed with requests that wait.
fn closed() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    for user_data in 0..20 {
        ring.wait(map.word(0), user_data);
    }
    assert_eq!(fx().wake(map.word(0), 3, u64::MAX), Ok(3));
    drop(ring);
    until("all have left", || nr_waiters(map.word(0)) == 0);
}

/// Whoever has submitted requests is killed, or just exits.
fn killed() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    for kill in [false, true] {
        let child = Child::run(|| {
            let mut ring = Ring::new();
            for user_data in 0..10 {
                ring.wait(word, user_data);
            }
            if kill {
                ring.next();
            }
        });
        if kill {
            until_queued(word, 10);
            child.kill(Signal::SIGKILL);
            child.status();
        } else {
            child.join();
        }
        until("all have left", || nr_waiters(word) == 0);
        assert_eq!(fx().wake_all(word), Ok(0));
    }
}

/// The time that the worker which closes rings has run, in clock ticks; `None` if there is none at
/// the moment.
fn time_of_exit_worker() -> Option<u64> {
    let stat = procfs::process::all_processes()
        .expect("/proc")
        .filter_map(|process| process.ok()?.stat().ok())
        .find(|stat| stat.comm.contains("+iou_exit"))?;
    Some(stat.stime)
}

/// Whoever has submitted a request that was woken is stopped, so that it is not completed. Closing
/// the ring waits for that, but does not spin.
fn stopped() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let ring = IoUring::new(8).expect("io_uring");
    let mut ring = Some(ring);
    let child = Child::run(|| {
        let mut ring = Ring::of(ring.take().expect("a ring"));
        ring.wait(word, 1);
        // The parent has the ring, too.
        drop(ring);
        loop {
            std::thread::park();
        }
    });
    until_queued(word, 1);
    until_in_syscall(child.pid(), child.pid(), libc::SYS_futex);
    child.stop();
    assert_eq!(fx().wake_one(word), Ok(1));
    drop(ring);
    until("the ring is being closed", || {
        time_of_exit_worker().is_some()
    });
    let begun = Instant::now();
    let before = time_of_exit_worker().expect("it waits");
    std::thread::sleep(Duration::from_millis(500));
    let after = time_of_exit_worker().expect("it waits");
    let elapsed = begun.elapsed().as_millis() as u64 * procfs::ticks_per_second() / 1000;
    assert!(
        after - before < elapsed / 4,
        "{} of {elapsed} ticks",
        after - before
    );
    child.go_on();
    child.kill(Signal::SIGKILL);
    child.status();
    until("the ring is closed", || time_of_exit_worker().is_none());
}

/// The request is handed to io_uring's workers first.
fn by_workers() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let word = map.word(0);
    let wait = wait_on(word);
    let entry = ring
        .entry(RFUTEX_WAIT, addr_of(&wait), 1)
        .flags(squeue::Flags::ASYNC);
    ring.submit(&entry);
    until("it is queued", || {
        // Work that was added to this task runs when it enters the kernel.
        let _ = ring.ring.submit();
        nr_waiters(word) == 1
    });
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(ring.next(), (1, 0));
    let wrong = rfutex_wait { val: 1, ..wait };
    let entry = ring
        .entry(RFUTEX_WAIT, addr_of(&wrong), 2)
        .flags(squeue::Flags::ASYNC);
    ring.submit(&entry);
    assert_eq!(ring.next(), (2, -EAGAIN));
}

/// A thread of the kernel submits the requests.
fn by_a_kernel_thread() {
    let map = Mapping::shared(PAGE);
    let ring = IoUring::builder().setup_sqpoll(100).build(64);
    let mut ring = Ring::of(ring.expect("io_uring"));
    let word = map.word(0);
    let wait = wait_on(word);
    let entry = ring.entry(RFUTEX_WAIT, addr_of(&wait), 1);
    ring.submit(&entry);
    until_queued(word, 1);
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(ring.next(), (1, 0));
    let entry = ring.entry(RFUTEX_WAIT, addr_of(&wait), 2);
    ring.submit(&entry);
    until_queued(word, 1);
    drop(ring);
    until("it has left", || nr_waiters(word) == 0);
}

/// Waits, wakes, cancellations and closing at the same time. What wakes have counted is completed.
fn everything_at_once() {
    const STORM: Duration = Duration::from_secs(3);
    let map = Arc::new(Mapping::shared(PAGE));
    let word = map.word(0);
    let stop = Arc::new(AtomicBool::new(false));
    let [woken, completed] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let wakers = [1, 3].map(|nr| {
        let woken = Arc::clone(&woken);
        again(&stop, move || {
            let nr = fx().wake(word, nr, u64::MAX).expect("wake");
            woken.fetch_add(nr.into(), Ordering::SeqCst);
        })
    });
    let waiters = [0, 1].map(|_| {
        let completed = Arc::clone(&completed);
        let mut ring = Ring::new();
        let mut round = 0;
        again(&stop, move || {
            round += 1;
            for user_data in 0..8 {
                ring.wait(word, user_data);
            }
            let mut left = 8;
            for user_data in (0..8).filter(|nr| nr % 2 == round % 2) {
                let entry = ring.entry(RFUTEX_URING_CANCEL, user_data, 100);
                ring.submit(&entry);
                left += 1;
            }
            // Those that are neither cancelled nor woken by the others are woken here.
            while left > 0 {
                let nr = ring.call_among(RFUTEX_WAKE_ONE, word.addr(), &mut |user_data, result| {
                    left -= 1;
                    if user_data < 100 && result == 0 {
                        completed.fetch_add(1, Ordering::SeqCst);
                    } else {
                        assert!(user_data == 100 || result == -ECANCELED, "{result}");
                    }
                });
                completed.fetch_sub(nr, Ordering::SeqCst);
            }
        })
    });
    std::thread::sleep(STORM);
    stop.store(true, Ordering::SeqCst);
    waiters.into_iter().for_each(Task::join);
    wakers.into_iter().for_each(Task::join);
    assert_eq!(nr_waiters(word), 0);
    let woken = woken.load(Ordering::SeqCst);
    assert!(woken > 0);
    assert_eq!(woken, completed.load(Ordering::SeqCst));
}

impl Ring {
    /// Submits an entry, and hears of all that is completed until it is. Returns its result.
    fn call_among(&mut self, op: u32, arg: u64, hear: &mut impl FnMut(u64, i32)) -> u64 {
        let entry = self.entry(op, arg, u64::MAX);
        self.submit(&entry);
        let mut own = None;
        while own.is_none() {
            let first = self.next();
            for (user_data, result) in std::iter::once(first).chain(self.done()) {
                if user_data == u64::MAX {
                    own = Some(u64::try_from(result).expect("a wake succeeds"));
                } else {
                    hear(user_data, result);
                }
            }
        }
        own.unwrap_or(0)
    }
}
