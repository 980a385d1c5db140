// SPDX-License-Identifier: GPL-2.0
//! What is an end, and what is not.

use super::{
    Place, living, living_until_it_executes, nobody, owned, process, runs_busybox, thread, waiter,
};
use crate::harness::{Child, end_thread, execute, fx, until};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, gettid};
use rfutex::{Error, Owner};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

trials![
    before_the_wait,
    value_comes_first,
    of_a_thread,
    of_a_process,
    of_a_thread_elsewhere,
    unreaped,
    main_thread_before_its_process,
    program_executed,
    program_executed_by_another_thread,
    stopped_is_not_ended,
];

/// How long it may take to hear of an end of which nobody is told: each second somebody looks.
const LOOK: Duration = Duration::from_secs(1);

fn before_the_wait() {
    let place = Place::new();
    let child = Child::run(|| ());
    let pid = child.pid();
    until("it ends", || child.is_finished());
    // It is not reaped yet.
    for owner in [thread(pid), process(pid)] {
        let result = fx().wait_with(place.word(), 0, owned(owner));
        assert_eq!(result, Err(Error::OwnerEnded));
    }
    child.join();
    for owner in [thread(pid), process(pid)] {
        let result = fx().wait_with(place.word(), 0, owned(owner));
        assert_eq!(result, Err(Error::OwnerEnded));
    }
    nobody(place.word());
}

/// A word that has another value is told of first: whoever had the lock has passed it on.
fn value_comes_first() {
    let place = Place::new();
    let child = Child::run(|| ());
    let pid = child.pid();
    child.join();
    let result = fx().wait_with(place.word(), 1, owned(process(pid)));
    assert_eq!(result, Err(Error::Again));
}

/// Runs `owner` in a thread that ends when it is told to. Returns its id, and how to tell it.
fn other_thread() -> (Pid, impl FnOnce()) {
    let (end, told) = std::sync::mpsc::channel::<()>();
    let (tell, tid) = std::sync::mpsc::channel();
    let handle = std::thread::spawn(move || {
        tell.send(gettid()).expect("somebody listens");
        let _ = told.recv();
    });
    let tid = tid.recv().expect("a thread begins");
    (tid, move || {
        drop(end);
        handle.join().expect("it ends");
    })
}

fn of_a_thread() {
    let place = Place::new();
    let (tid, end) = other_thread();
    let tasks = [(); 5].map(|()| waiter(place.word(), thread(tid)));
    // Another thread's end is nothing to them.
    let (_, end_another) = other_thread();
    end_another();
    assert!(tasks.iter().all(|task| !task.is_finished()));
    end();
    for task in tasks {
        assert_eq!(task.join(), Err(Error::OwnerEnded));
    }
    nobody(place.word());
}

fn of_a_process() {
    for signal in [None, Some(Signal::SIGKILL), Some(Signal::SIGTERM)] {
        let place = Place::new();
        let child = living(&place);
        let tasks = [process(child.pid()), thread(child.pid())].map(|o| waiter(place.word(), o));
        assert!(tasks.iter().all(|task| !task.is_finished()));
        match signal {
            None => place.set(0),
            Some(signal) => child.kill(signal),
        }
        for task in tasks {
            assert_eq!(task.join(), Err(Error::OwnerEnded));
        }
        child.status();
        nobody(place.word());
    }
}

/// A thread of another process ends; the process does not.
fn of_a_thread_elsewhere() {
    let place = Place::new();
    let child = Child::run(|| {
        let (tid, end) = other_thread();
        place
            .number(0)
            .store(tid.as_raw() as u64, Ordering::Relaxed);
        place.set(1);
        place.until_set(2);
        end();
        place.set(3);
        place.until_set(4);
    });
    place.until_set(1);
    let tid = Pid::from_raw(place.number(0).load(Ordering::Relaxed) as i32);
    let of_thread = waiter(place.word(), thread(tid));
    let of_process = waiter(place.word(), process(child.pid()));
    place.set(2);
    assert_eq!(of_thread.join(), Err(Error::OwnerEnded));
    place.until_set(3);
    assert!(!of_process.is_finished());
    place.set(4);
    assert_eq!(of_process.join(), Err(Error::OwnerEnded));
    child.join();
}

/// Those who wait hear of the end before anybody has reaped the process.
fn unreaped() {
    let place = Place::new();
    let child = living(&place);
    let task = waiter(place.word(), process(child.pid()));
    place.set(0);
    assert_eq!(task.join(), Err(Error::OwnerEnded));
    assert!(child.is_finished());
    child.join();
}

/// A main thread ends before the other threads of its process: the thread has ended, the process has
/// not. The kernel tells nobody of it.
fn main_thread_before_its_process() {
    let place = Place::new();
    let child = Child::run(|| {
        let flags = &place;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                flags.until_set(2);
                // SAFETY: It ends the process, and nothing else is left to be done there.
                unsafe { libc::_exit(0) };
            });
            flags.set(1);
            flags.until_set(3);
            end_thread();
        });
    });
    place.until_set(1);
    let of_thread = waiter(place.word(), thread(child.pid()));
    let of_process = waiter(place.word(), process(child.pid()));
    place.set(3);
    let begun = Instant::now();
    assert_eq!(of_thread.join(), Err(Error::OwnerEnded));
    assert!(begun.elapsed() < 5 * LOOK);
    assert!(!of_process.is_finished());
    // Whoever asks now hears the same.
    let options = owned(thread(child.pid()));
    let result = fx().wait_with(place.word(), 0, options);
    assert_eq!(result, Err(Error::OwnerEnded));
    let options = owned(process(child.pid())).within(Duration::from_millis(1));
    let result = fx().wait_with(place.word(), 0, options);
    assert_eq!(result, Err(Error::TimedOut));
    place.set(2);
    assert_eq!(of_process.join(), Err(Error::OwnerEnded));
    child.join();
    nobody(place.word());
}

/// Whoever waits for a thread is told that it has executed a program, because it does not know of
/// any lock then. Whoever waits for the process is not.
fn program_executed() {
    let place = Place::new();
    let child = Child::run(|| {
        place.tell();
        place.set(1);
        place.until_set(0);
        execute()
    });
    place.until_set(1);
    check_executed(&place, child);
}

/// Another thread than the main one executes a program. It gets the number of the main thread.
fn program_executed_by_another_thread() {
    let place = Place::new();
    let (child, tid) = living_until_it_executes(&place);
    let of_other = waiter(place.word(), thread(tid));
    check_executed(&place, child);
    assert_eq!(of_other.join(), Err(Error::OwnerEnded));
}

/// Has a child that is about to execute a program go on, and checks what those hear who wait for it.
#[track_caller]
fn check_executed(place: &Place, child: Child) {
    let pid = child.pid();
    let [thread_id, process_id] = place.told();
    let of_thread = [thread(pid), thread(pid).with_id(thread_id)].map(|o| waiter(place.word(), o));
    let of_process =
        [process(pid), process(pid).with_id(process_id)].map(|o| waiter(place.word(), o));
    assert!(of_thread.iter().all(|task| !task.is_finished()));
    place.set(0);
    until("it executes the program", || runs_busybox(pid));
    let begun = Instant::now();
    for task in of_thread {
        assert_eq!(task.join(), Err(Error::OwnerEnded));
    }
    assert!(begun.elapsed() < 5 * LOOK);
    assert!(of_process.iter().all(|task| !task.is_finished()));
    // The thread that had the id has ended; whoever has its number has not.
    let wait = |owner: Owner| {
        let options = owned(owner).within(Duration::from_millis(1));
        fx().wait_with(place.word(), 0, options)
    };
    assert_eq!(wait(thread(pid).with_id(thread_id)), Err(Error::OwnerEnded));
    assert_eq!(wait(thread(pid)), Err(Error::TimedOut));
    assert_eq!(wait(process(pid).with_id(process_id)), Err(Error::TimedOut));
    child.kill(Signal::SIGKILL);
    for task in of_process {
        assert_eq!(task.join(), Err(Error::OwnerEnded));
    }
    child.status();
}

fn stopped_is_not_ended() {
    let place = Place::new();
    let child = living(&place);
    let task = waiter(place.word(), process(child.pid()));
    child.stop();
    let options = owned(process(child.pid())).within(Duration::from_millis(1));
    assert_eq!(
        fx().wait_with(place.word(), 0, options),
        Err(Error::TimedOut)
    );
    assert!(!task.is_finished());
    child.go_on();
    assert_eq!(fx().wake_one(place.word()), Ok(1));
    assert_eq!(task.join(), Ok(()));
    place.set(0);
    child.join();
}
