// SPDX-License-Identifier: GPL-2.0
//! Signals while a thread is in futex.

use crate::call::{self, Timeout, futex, until_waiting, wait, wake};
use libc::timespec;
use nix::errno::Errno;
use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

/// How often the handler ran.
static RAN: AtomicU32 = AtomicU32::new(0);
/// Whom it wakes.
static WORD: AtomicU32 = AtomicU32::new(0);

/// Longer than any test takes.
const LATER: timespec = timespec {
    tv_sec: 1000,
    tv_nsec: 0,
};

extern "C" fn handler(_: i32) {
    RAN.fetch_add(1, Ordering::SeqCst);
    let errno = Errno::last_raw();
    // Nobody waits there, or those that shall wake.
    let _ = wake(&WORD, i32::MAX);
    Errno::set_raw(errno);
}

fn install(flags: SaFlags) {
    let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
    // SAFETY: The handler does what a handler may: atomics and futex.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.expect("a handler");
}

/// A wake by a handler that interrupts another call of futex.
pub fn from_a_handler() {
    install(SaFlags::SA_RESTART);
    let word = AtomicU32::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| wait(&WORD, 0));
        let interrupted = scope.spawn(|| {
            sender.send(pthread_self()).expect("a receiver");
            wait(&word, 0)
        });
        let thread: Pthread = receiver.recv().expect("a thread");
        until_waiting(&WORD, 1);
        until_waiting(&word, 1);
        pthread_kill(thread, Signal::SIGUSR1).expect("a signal");
        assert_eq!(sleeper.join().expect("no panic"), Ok(0));
        // It had no time limit and its handler lets calls go on.
        assert_eq!(wake(&word, 1), Ok(1));
        assert_eq!(interrupted.join().expect("no panic"), Ok(0));
    });
}

/// A call that succeeds leaves errno alone.
pub fn errno_stays() {
    let word = AtomicU32::new(0);
    for _ in 0..3 {
        Errno::set_raw(1234);
        assert_eq!(wake(&word, 1), Ok(0));
        assert_eq!(Errno::last_raw(), 1234);
        assert_eq!(wait(&word, 1), Err(Errno::EAGAIN));
        assert_eq!(Errno::last_raw(), libc::EAGAIN);
    }
    // Not only futex.
    Errno::set_raw(1234);
    // SAFETY: It has no arguments.
    let pid = unsafe { call::call(libc::SYS_getpid, &[0; 6]) };
    assert_eq!((pid, Errno::last_raw()), (std::process::id().into(), 1234));
    // SAFETY: There is no such file descriptor.
    let result = unsafe { call::call(libc::SYS_close, &[-1, 0, 0, 0, 0, 0]) };
    assert_eq!(result, -i64::from(libc::EBADF));
}

/// Sends one signal to a thread that waits until `timeout`; returns how the
/// wait ended. If it does not end, it is woken once the handler ran.
fn signalled(timeout: Timeout<'_>) -> Result<u32, Errno> {
    let word = AtomicU32::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            sender.send(pthread_self()).expect("a receiver");
            futex(&word, libc::FUTEX_WAIT, 0, timeout, &word, 0)
        });
        let thread: Pthread = receiver.recv().expect("a thread");
        until_waiting(&word, 1);
        let ran = RAN.load(Ordering::SeqCst);
        pthread_kill(thread, Signal::SIGUSR1).expect("a signal");
        call::until("the handler ran", || RAN.load(Ordering::SeqCst) > ran);
        call::until("the wait ended", || {
            sleeper.is_finished() || wake(&word, 1) == Ok(1)
        });
        sleeper.join().expect("no panic")
    })
}

/// A handler without SA_RESTART ends a wait.
pub fn interrupted() {
    install(SaFlags::empty());
    assert_eq!(signalled(Timeout::Never), Err(Errno::EINTR));
    assert_eq!(signalled(Timeout::At(&LATER)), Err(Errno::EINTR));
}

/// With it, a wait without a time limit goes on.
pub fn restarted() {
    install(SaFlags::SA_RESTART);
    assert_eq!(signalled(Timeout::Never), Ok(0));
}

/// With it, a wait with a time limit ends all the same.
pub fn restarted_with_a_limit() {
    install(SaFlags::SA_RESTART);
    assert_eq!(signalled(Timeout::At(&LATER)), Err(Errno::EINTR));
}
