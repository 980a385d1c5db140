// SPDX-License-Identifier: GPL-2.0
//! Rings that are closed, and tasks that end, with requests that wait.

use super::Ring;
use crate::harness::{Child, Mapping, PAGE, fx, nr_waiters, until, until_in_syscall, until_queued};
use io_uring::IoUring;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

trials![closed, killed, stopped];

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
