// SPDX-License-Identifier: GPL-2.0
//! Ends and wakes at the same time.

use super::{Place, owned, process};
use crate::harness::{Child, Task, effort, fx, nr_waiters, until};
use rfutex::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

trials![ends_and_wakes, ends_and_arrivals, threads_come_and_go];

/// The owner is killed while somebody wakes. Each waiter hears of one of them, and each wake that
/// counts a waiter is heard of.
fn ends_and_wakes() {
    let (mut woken, mut ended) = (0, 0);
    for round in 0..effort(50u32) {
        let place = Place::new();
        let word = place.word();
        let child = Child::sleeping();
        let owner = process(child.pid());
        let tasks = [(); 4].map(|()| Task::spawn(move || fx().wait_with(word, 0, owned(owner))));
        until("all wait", || nr_waiters(word) == 4);
        let waker = Task::spawn(move || {
            let mut sum = 0;
            for _ in 0..round % 5 {
                sum += fx().wake_one(word).expect("a wake");
            }
            sum
        });
        child.kill(nix::sys::signal::Signal::SIGKILL);
        let counted = waker.join();
        let mut heard = 0;
        for task in tasks {
            match task.join() {
                Ok(()) => heard += 1,
                Err(error) => assert_eq!(error, Error::OwnerEnded),
            }
        }
        assert_eq!(heard, counted);
        assert_eq!(nr_waiters(word), 0);
        child.status();
        woken += heard;
        ended += 4 - heard;
    }
    println!("{woken} were woken, {ended} heard of the end");
    assert!(woken > 0 && ended > 0);
}

/// Others begin to wait while the owner ends. None of them sleeps on.
fn ends_and_arrivals() {
    for _ in 0..effort(30u32) {
        let place = Place::new();
        let word = place.word();
        let child = Child::run(|| place.until_set(0));
        let owner = process(child.pid());
        let tasks = [(); 4].map(|()| {
            Task::spawn(move || {
                let mut nr = 0;
                loop {
                    let options = owned(owner).within(Duration::from_micros(50));
                    match fx().wait_with(word, 0, options) {
                        Err(Error::TimedOut) => nr += 1,
                        other => return (nr, other),
                    }
                }
            })
        });
        place.set(0);
        for task in tasks {
            assert_eq!(task.join().1, Err(Error::OwnerEnded));
        }
        child.join();
    }
}

/// Threads end while others wait for them, for whoever has their number, and for their process.
fn threads_come_and_go() {
    let place = Place::new();
    let word = place.word();
    let nr = Arc::new(AtomicU32::new(0));
    let rounds = effort(50);
    for _ in 0..rounds {
        let waiters = {
            let (tell, ids) = std::sync::mpsc::channel();
            let (end, told) = std::sync::mpsc::channel::<()>();
            let thread = std::thread::spawn(move || {
                tell.send(fx().identity().expect("an identity"))
                    .expect("somebody listens");
                let _ = told.recv();
            });
            let identity = ids.recv().expect("a thread begins");
            let number = rfutex::Owner::thread(identity.thread.number());
            let tasks = [identity.thread, number].map(|owner| {
                let nr = nr.clone();
                Task::spawn(move || {
                    nr.fetch_add(1, Ordering::Relaxed);
                    fx().wait_with(word, 0, owned(owner))
                })
            });
            drop(end);
            thread.join().expect("it ends");
            tasks
        };
        for task in waiters {
            assert_eq!(task.join(), Err(Error::OwnerEnded));
        }
    }
    assert_eq!(nr.load(Ordering::Relaxed), 2 * rounds);
    assert_eq!(nr_waiters(word), 0);
}
