// SPDX-License-Identifier: GPL-2.0
//! Rings that several tasks use, and tasks that end or become another program with requests that
//! wait. Where the test has the ring as well, it outlives these tasks.

use super::Ring;
use crate::harness::{Child, Mapping, PAGE, Task, fx, nr_waiters, until, until_queued};
use io_uring::IoUring;
use libc::ECANCELED;
use nix::sys::signal::Signal;
use rfutex::Word;
use rfutex::raw::uapi::RFUTEX_URING_CANCEL;
use std::convert::Infallible;
use std::ffi::CString;
use std::thread;

trials![
    exec_by_who_submitted,
    exec_by_another_thread,
    exec_by_another_than_the_first,
    exec_closes_the_ring,
    exec_with_a_kernel_thread,
    thread_ends,
    process_ends,
    fork,
];

/// Becomes a program that sleeps.
fn become_another_program() -> Infallible {
    let args = ["sleep", "1000"].map(|arg| CString::new(arg).expect("no zero"));
    nix::unistd::execv(c"/bin/busybox", &args).expect("execv")
}

fn sleep_for_ever() {
    loop {
        thread::park();
    }
}

/// Returns when the child has become that program. All its other threads have ended then, and
/// io_uring has cancelled what it cancels.
#[track_caller]
fn until_another_program(child: &Child) {
    let path = format!("/proc/{}/comm", child.pid());
    until("it is another program", || {
        std::fs::read_to_string(&path).expect("its name").trim() == "busybox"
    });
}

#[track_caller]
fn end(child: Child) {
    child.kill(Signal::SIGKILL);
    child.status();
}

/// A ring that is used by a child as well.
struct Shared(Option<Ring>);

impl Shared {
    fn new() -> Self {
        Self(Some(Ring::new()))
    }

    /// The ring. In each process it can be taken once.
    #[track_caller]
    fn take(&mut self) -> Ring {
        self.0.take().expect("the ring")
    }
}

/// Submits a wait on a word of the process, and then one on a word of a file. Whoever sees that one
/// may submit to the ring itself.
fn submit(ring: &mut Ring, words: [Word<'_>; 2]) {
    ring.wait(words[1], 2);
    ring.wait(words[0], 1);
    assert_eq!(words.map(nr_waiters), [1, 1]);
}

/// Both are cancelled, whatever they wait on, and so is what another process has submitted to the
/// ring.
fn exec_by_who_submitted() {
    let map = Mapping::shared(PAGE);
    let words = [map.word(0), map.word(64).private()];
    let mut ring = Ring::new();
    ring.wait(map.word(128), 3);
    let mut shared = Shared(Some(ring));
    let child = Child::run(|| {
        submit(&mut shared.take(), words);
        become_another_program();
    });
    until_another_program(&child);
    let mut ring = shared.take();
    let mut done = [ring.next(), ring.next(), ring.next()];
    done.sort_unstable();
    assert_eq!(done, [1, 2, 3].map(|user_data| (user_data, -ECANCELED)));
    assert_eq!([words[0], map.word(128)].map(nr_waiters), [0, 0]);
    assert_eq!(fx().wake_all(words[0]), Ok(0));
    assert_eq!(ring.done(), []);
    end(child);
}

/// Both requests of a task that is gone still wait. One is woken, the other one is cancelled.
#[track_caller]
fn outlived(mut ring: Ring, word: Word<'_>) {
    assert_eq!(ring.done(), []);
    assert_eq!(nr_waiters(word), 1);
    assert_eq!(fx().wake_all(word), Ok(1));
    assert_eq!(ring.next(), (1, 0));
    let entry = ring.entry(RFUTEX_URING_CANCEL, 2, 3);
    ring.submit(&entry);
    let mut done = [ring.next(), ring.next()];
    done.sort_unstable();
    assert_eq!(done, [(2, -ECANCELED), (3, 1)]);
    assert_eq!(nr_waiters(word), 0);
}

/// The thread that has submitted them is ended by another one, which becomes another program.
fn exec_by_another_thread() {
    let map = Mapping::shared(PAGE);
    let words = [map.word(0), map.word(64).private()];
    let mut shared = Shared::new();
    let child = Child::run(|| {
        let mut ring = shared.take();
        Task::spawn(move || {
            submit(&mut ring, words);
            sleep_for_ever();
        });
        until("both wait", || words.map(nr_waiters) == [1, 1]);
        become_another_program();
    });
    until_another_program(&child);
    outlived(shared.take(), words[0]);
    end(child);
}

/// The same, where it is the first thread of the process that has submitted them.
fn exec_by_another_than_the_first() {
    let map = Mapping::shared(PAGE);
    let words = [map.word(0), map.word(64).private()];
    let mut shared = Shared::new();
    let child = Child::run(|| {
        submit(&mut shared.take(), words);
        Task::spawn(become_another_program);
        sleep_for_ever();
    });
    until_another_program(&child);
    outlived(shared.take(), words[0]);
    end(child);
}

/// Nobody else has the ring. Whichever thread becomes another program, it is closed.
fn exec_closes_the_ring() {
    let map = Mapping::shared(PAGE);
    let words = [map.word(0), map.word(64).private()];
    for by_another in [false, true] {
        let child = Child::run(|| {
            submit(&mut std::mem::ManuallyDrop::new(Ring::new()), words);
            if by_another {
                Task::spawn(become_another_program);
                sleep_for_ever();
            }
            become_another_program();
        });
        until_another_program(&child);
        until("both have left", || nr_waiters(words[0]) == 0);
        assert_eq!(fx().wake_all(words[0]), Ok(0));
        end(child);
    }
}

/// What a thread of the kernel has submitted for the process is cancelled as well.
fn exec_with_a_kernel_thread() {
    let map = Mapping::shared(PAGE);
    let words = [map.word(0), map.word(64).private()];
    let child = Child::run(|| {
        let ring = IoUring::builder().setup_sqpoll(100).build(8);
        let mut ring = std::mem::ManuallyDrop::new(Ring::of(ring.expect("io_uring")));
        let waits = words.map(super::wait_on);
        for (wait, user_data) in waits.iter().zip(1..) {
            let op = rfutex::raw::uapi::RFUTEX_WAIT;
            let entry = ring.entry(op, super::addr_of(wait), user_data);
            ring.submit(&entry);
        }
        until("both wait", || words.map(nr_waiters) == [1, 1]);
        become_another_program();
    });
    until_another_program(&child);
    until("both have left", || nr_waiters(words[0]) == 0);
    assert_eq!(fx().wake_all(words[0]), Ok(0));
    end(child);
}

/// A thread ends; its process and the ring stay.
fn thread_ends() {
    let map = Mapping::shared(PAGE);
    let words = [map.word(0), map.word(64).private()];
    let thread = Task::spawn(move || {
        let mut ring = Ring::new();
        submit(&mut ring, words);
        ring
    });
    let tid = thread.tid();
    let ring = thread.join();
    until("the thread is gone", || {
        !std::path::Path::new(&format!("/proc/self/task/{tid}")).exists()
    });
    assert_eq!(nr_waiters(words[1]), 1);
    outlived(ring, words[0]);
    assert_eq!(nr_waiters(words[1]), 0);
}

/// A process ends; another one has the ring.
fn process_ends() {
    let map = Mapping::shared(PAGE);
    let words = [map.word(0), map.word(64).private()];
    for kill in [false, true] {
        let mut shared = Shared::new();
        let child = Child::run(|| {
            submit(&mut shared.take(), words);
            if kill {
                sleep_for_ever();
            }
        });
        if kill {
            until_queued(words[0], 1);
            end(child);
        } else {
            child.join();
        }
        outlived(shared.take(), words[0]);
    }
}

/// A ring belongs to both processes, and so do its completions. What a command does is done in the
/// process that submits it, and each may cancel what the other one has submitted.
fn fork() {
    let map = Mapping::shared(PAGE);
    let own = Mapping::private(PAGE);
    let [word, private] = [map.word(0), own.word(0)];
    let mut shared = Shared::new();
    let child = Child::run(|| {
        let mut ring = shared.take();
        ring.wait(private, 12);
        ring.wait(word, 11);
        // From here on, only the parent submits. Requests are completed in the task that has
        // submitted them, whatever call of the kernel it makes.
        until("the private one has left", || nr_waiters(private) == 0);
    });
    let mut ring = shared.take();
    until_queued(word, 1);
    ring.wait(word, 1);
    ring.wait(private, 2);
    // The child's private word is another one.
    assert_eq!([word, private].map(nr_waiters), [2, 1]);
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(ring.next(), (11, 0));
    assert_eq!(fx().wake_all(private), Ok(1));
    assert_eq!(ring.next(), (2, 0));
    let entry = ring.entry(RFUTEX_URING_CANCEL, 12, 3);
    ring.submit(&entry);
    let mut done = [ring.next(), ring.next()];
    done.sort_unstable();
    assert_eq!(done, [(3, 1), (12, -ECANCELED)]);
    child.join();
    assert_eq!(fx().wake_all(word), Ok(1));
    assert_eq!(ring.next(), (1, 0));
}
