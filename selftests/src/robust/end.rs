// SPDX-License-Identifier: GPL-2.0
//! The end of a thread that has words.

use super::{
    DIED, WAITERS, arena, arena_of, joined, load, marked, nr_waiters, own, owner_of_two, set,
    until_set, waiter, word,
};
use crate::harness::{Child, Mapping, PAGE, Task, UnloadedModule, end_thread, execute, until};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::{execv, pause};
use rfutex::sync::{Member, RobustMutex};
use rfutex::{Error, Rfutex, Table, TableOptions, Word};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

trials![
    of_a_thread,
    of_a_process,
    only_its_own_words,
    all_words,
    waiters_are_woken,
    without_joining,
    joined_twice,
    several_arenas,
    main_thread,
    program_executed,
    program_executed_by_another_thread,
    joined_again_by_the_program,
    child_of_a_member,
    many_threads_at_once,
    never_mapped,
    unmapped,
    closed,
    unloaded,
    mutex_is_recovered,
];

fn of_a_thread() {
    let arena = arena();
    let theirs = arena.clone();
    Task::spawn(move || {
        let own = joined(&theirs);
        word(&theirs, 0).store(own, Ordering::Relaxed);
        word(&theirs, 1).store(own | WAITERS, Ordering::Relaxed);
    })
    .join();
    marked(&arena);
}

fn of_a_process() {
    for signal in [None, Some(Signal::SIGKILL), Some(Signal::SIGTERM)] {
        let arena = arena();
        let child = owner_of_two(&arena, || until_set(&arena, 1));
        match signal {
            None => set(&arena, 1),
            Some(signal) => child.kill(signal),
        }
        // Nobody has reaped it.
        marked(&arena);
        child.status();
    }
}

/// Words of others stay as they are, and so does what is not robust, whatever is there.
fn only_its_own_words() {
    let arena = arena();
    let mine = joined(&arena);
    let beyond: &AtomicU64 = arena.get(PAGE + 64).expect("it is in the arena");
    let child = owner_of_two(&arena, || {
        let own = own(&arena);
        beyond.store(own, Ordering::Relaxed);
        word(&arena, 2).store(own + (1 << 20), Ordering::Relaxed);
        word(&arena, 3).store(own << 1, Ordering::Relaxed);
        word(&arena, 4).store(mine | WAITERS, Ordering::Relaxed);
        word(&arena, 5).store(DIED, Ordering::Relaxed);
        word(&arena, 6).store(u64::MAX, Ordering::Relaxed);
        set(&arena, 2);
        until_set(&arena, 1);
    });
    until_set(&arena, 2);
    let before: Vec<_> = (2..PAGE / 8).map(|nr| load(&arena, nr)).collect();
    let outside = beyond.load(Ordering::Relaxed);
    child.kill(Signal::SIGKILL);
    marked(&arena);
    let after: Vec<_> = (2..PAGE / 8).map(|nr| load(&arena, nr)).collect();
    assert_eq!(before, after);
    assert_eq!(beyond.load(Ordering::Relaxed), outside);
    child.status();
}

/// Each word of the robust part, the first and the last ones too.
fn all_words() {
    let arena = arena();
    let child = Child::run(|| {
        let own = joined(&arena);
        for nr in 0..PAGE / 8 {
            word(&arena, nr).store(own | nr as u64 & 1, Ordering::Relaxed);
        }
        set(&arena, 0);
        pause();
    });
    until_set(&arena, 0);
    child.kill(Signal::SIGKILL);
    until("all are marked", || {
        (0..PAGE / 8).all(|nr| load(&arena, nr) == DIED | nr as u64 & 1)
    });
    child.status();
}

fn waiters_are_woken() {
    let arena = arena();
    let child = owner_of_two(&arena, || until_set(&arena, 1));
    let tasks = [0, 0, 1, 1, 1].map(|nr| waiter(&arena, nr, load(&arena, nr)));
    assert_eq!((nr_waiters(&arena, 0), nr_waiters(&arena, 1)), (2, 3));
    child.kill(Signal::SIGKILL);
    for task in tasks {
        assert_eq!(task.join(), Ok(()));
    }
    marked(&arena);
    child.status();
}

fn without_joining() {
    let arena = arena();
    let child = Child::run(|| {
        word(&arena, 0).store(own(&arena), Ordering::Relaxed);
    });
    child.join();
    // Somebody else ends who has joined, so that all words are looked through.
    let child = Child::run(|| word(&arena, 1).store(joined(&arena), Ordering::Relaxed));
    child.join();
    until("the other's word is marked", || load(&arena, 1) == DIED);
    assert!(load(&arena, 0) > DIED);
}

fn joined_twice() {
    let arena = arena();
    let child = owner_of_two(&arena, || {
        for _ in 0..10 {
            joined(&arena);
        }
    });
    marked(&arena);
    child.join();
}

fn several_arenas() {
    let arenas = [(); 5].map(|()| arena());
    let child = Child::run(|| {
        for arena in &arenas {
            let own = joined(arena);
            word(arena, 0).store(own, Ordering::Relaxed);
            word(arena, 1).store(own | WAITERS, Ordering::Relaxed);
        }
        set(&arenas[0], 0);
        pause();
    });
    until_set(&arenas[0], 0);
    child.kill(Signal::SIGKILL);
    arenas.iter().for_each(|arena| marked(arena));
    child.status();
}

/// The kernel tells nobody when a main thread ends before the others.
fn main_thread() {
    let arena = arena();
    let child = owner_of_two(&arena, || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                until_set(&arena, 1);
                // SAFETY: It ends the process, and nothing else is left to be done there.
                unsafe { libc::_exit(0) };
            });
            end_thread();
        });
    });
    marked(&arena);
    assert!(!child.is_finished());
    set(&arena, 1);
    child.join();
}

fn program_executed() {
    let arena = arena();
    let child = owner_of_two(&arena, || execute());
    marked(&arena);
    assert!(!child.is_finished());
    child.kill(Signal::SIGKILL);
    child.status();
}

/// All threads but the one that executes the program end, and that one becomes the main thread.
fn program_executed_by_another_thread() {
    let arena = arena();
    let child = owner_of_two(&arena, || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let own = joined(&arena);
                word(&arena, 2).store(own, Ordering::Relaxed);
                execute()
            });
        });
    });
    marked(&arena);
    until("that one's too", || load(&arena, 2) == DIED);
    assert!(!child.is_finished());
    child.kill(Signal::SIGKILL);
    child.status();
}

/// A program that has the table, and joins again at once. What the one before it has left behind is
/// dealt with before that: [`command`](mod@super::command) checks it.
fn joined_again_by_the_program() {
    let arena = arena();
    let child = owner_of_two(&arena, || {
        let table = arena.table();
        fcntl(table, FcntlArg::F_SETFD(FdFlag::empty())).expect("fcntl");
        let fd = table.as_fd().as_raw_fd().to_string();
        let args = ["rfutex-selftests", "robust", "join", &fd];
        let args = args.map(|arg| CString::new(arg).expect("no zero"));
        execv(c"/proc/self/exe", &args).expect("execv");
    });
    child.join();
}

/// A child of a member is none. Its end is nothing to the words of the member.
fn child_of_a_member() {
    let arena = arena();
    let own = joined(&arena);
    word(&arena, 0).store(own, Ordering::Relaxed);
    Child::run(|| word(&arena, 1).store(own | WAITERS, Ordering::Relaxed)).join();
    Child::run(|| word(&arena, 2).store(joined(&arena), Ordering::Relaxed)).join();
    until("the end of another one is seen", || load(&arena, 2) == DIED);
    assert_eq!((load(&arena, 0), load(&arena, 1)), (own, own | WAITERS));
}

fn many_threads_at_once() {
    const NR: usize = 100;
    let arena = arena();
    let child = Child::run(|| {
        std::thread::scope(|scope| {
            for nr in 0..NR {
                let arena = &arena;
                scope.spawn(move || {
                    word(arena, nr).store(joined(arena), Ordering::Release);
                    pause();
                });
            }
        });
    });
    until("all have their words", || {
        (0..NR).all(|nr| load(&arena, nr) != 0)
    });
    child.kill(Signal::SIGKILL);
    until("all are marked", || {
        (0..NR).all(|nr| load(&arena, nr) == DIED)
    });
    child.status();
}

/// A table whose memory nobody has mapped.
fn never_mapped() {
    let options = TableOptions::new().arena(PAGE as u64).robust(64);
    let table = Table::create(crate::harness::fx(), options).expect("a table");
    let word = Word::in_arena(0, 8);
    let child = Child::run(|| {
        let join = rfutex::raw::uapi::RFUTEX_JOIN;
        assert_eq!(crate::harness::command::call_addr(&table, join, 0), Ok(0));
        let id = table.identity().expect("an identity").thread.id();
        // SAFETY: Nothing of the arena belongs to Rust.
        let target = unsafe { rfutex::Target::from_word(word) };
        let own = rfutex::Op::Set(id.expect("an id").get() << 2);
        let never = rfutex::Compare::Less(1 << 63);
        assert_eq!(
            table.wake_op(Word::in_arena(8, 8), 0, target, 0, own, never),
            Ok(0)
        );
    });
    child.join();
    until("it is marked", || {
        let options = rfutex::WaitOptions::default().within(std::time::Duration::from_millis(1));
        table.wait_with(word, DIED, options) == Err(Error::TimedOut)
    });
}

/// The thread has unmapped the arena before it ends, and closed the table.
fn unmapped() {
    let arena = arena();
    let child = Child::run(|| {
        let options = TableOptions::new().arena(PAGE as u64);
        drop(Table::create(crate::harness::fx(), options).expect("a table"));
        let own = joined(&arena);
        word(&arena, 0).store(own, Ordering::Relaxed);
        word(&arena, 1).store(own | WAITERS, Ordering::Relaxed);
        set(&arena, 0);
        let (start, len) = (std::ptr::from_ref(word(&arena, 0)), arena.len());
        // SAFETY: Nothing of the arena is used after it in this process.
        unsafe { libc::munmap(start.cast_mut().cast(), len) };
    });
    child.join();
    marked(&arena);
}

/// The last descriptor goes while threads that have joined live, end, and are looked after.
fn closed() {
    for round in 0..40 {
        let arena = arena();
        let tasks: Vec<_> = (0..4)
            .map(|nr| {
                let theirs = arena.clone();
                Task::spawn(move || {
                    word(&theirs, nr).store(joined(&theirs), Ordering::Relaxed);
                    drop(theirs);
                    if nr > round % 4 {
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        drop(arena);
        tasks.into_iter().for_each(Task::join);
    }
}

/// The module can be unloaded at once when nobody has the table any more, whoever lives that had
/// joined.
fn unloaded() {
    let map = Mapping::shared(PAGE);
    let done = map.atomic::<AtomicU32>(0);
    let device = Rfutex::open().expect("the device");
    let arena = arena_of(&device);
    let child = owner_of_two(&arena, || {
        let (start, len) = (std::ptr::from_ref(word(&arena, 0)), arena.len());
        // SAFETY: Nothing of the arena is used after it in this process.
        unsafe { libc::munmap(start.cast_mut().cast(), len) };
        // All files of the module.
        for fd in 3..100 {
            // SAFETY: Nothing of them is used any more.
            unsafe { libc::close(fd) };
        }
        done.store(1, Ordering::Release);
        pause();
    });
    until("it has closed all", || done.load(Ordering::Acquire) == 1);
    drop((arena, device));
    let unloaded = UnloadedModule::new();
    child.kill(Signal::SIGKILL);
    child.status();
    drop(unloaded);
}

/// What a program does with it.
fn mutex_is_recovered() {
    let arena = arena();
    let mutex = RobustMutex::at(&arena, 16).expect("it is robust");
    let child = Child::run(|| {
        let member = Member::join(&arena).expect("it joins");
        let guard = mutex.lock(&member).expect("it is free");
        assert!(!guard.owner_died());
        assert_eq!(mutex.lock(&member).err(), Some(Error::Deadlock));
        assert!(mutex.try_lock(&member).is_none());
        set(&arena, 0);
        pause();
    });
    until_set(&arena, 0);
    let member = Member::join(&arena).expect("it joins");
    assert!(mutex.is_locked() && mutex.try_lock(&member).is_none());
    let soon = rfutex::Deadline::after(
        rfutex::Clock::Monotonic,
        std::time::Duration::from_millis(1),
    );
    let result = mutex.lock_until(&member, Some(soon));
    assert_eq!(result.err(), Some(Error::TimedOut));
    child.kill(Signal::SIGKILL);
    // Twice: as long as nobody says that all is well, each one is told.
    for _ in 0..2 {
        let guard = mutex.lock(&member).expect("it is given up");
        assert!(guard.owner_died());
    }
    let mut guard = mutex.lock(&member).expect("it is free");
    guard.mark_consistent();
    drop(guard);
    let guard = mutex.lock(&member).expect("it is free");
    assert!(!guard.owner_died());
    drop(guard);
    assert!(!mutex.is_locked());
    child.status();
}
