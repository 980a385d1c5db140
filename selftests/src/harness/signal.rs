// SPDX-License-Identifier: GPL-2.0
//! Signal handlers of a test.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

/// How often a counting handler ran in this process.
static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_signal: i32) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// What a handler does.
type Doing = Box<dyn Fn() + Sync>;

/// What [`doing`] does.
static DOING: AtomicPtr<Doing> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn doing(_signal: i32) {
    // SAFETY: It was set before the handler was installed, to what lives for ever.
    let f = unsafe { &*DOING.load(Ordering::SeqCst) };
    f();
}

/// A handler that is installed as long as this lives.
#[derive(Debug)]
pub struct Handler {
    signal: Signal,
    before: SigAction,
}

impl Handler {
    /// Installs `handler`, which does only what a handler may.
    pub fn new(signal: Signal, handler: extern "C" fn(i32), flags: SaFlags) -> Self {
        let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
        // SAFETY: The tests' handlers use atomics and system calls only.
        let before = unsafe { sigaction(signal, &action) }.expect("sigaction");
        Self { signal, before }
    }

    /// Installs a handler that does `f`, which does only what a handler may.
    pub fn doing(signal: Signal, f: impl Fn() + Sync + 'static, flags: SaFlags) -> Self {
        // Whoever is in the handler may be there still when this goes: so it stays.
        let f: Doing = Box::new(f);
        DOING.store(Box::leak(Box::new(f)), Ordering::SeqCst);
        Self::new(signal, doing, flags)
    }

    /// Installs a handler that counts, from 0.
    pub fn counting(signal: Signal, flags: SaFlags) -> Self {
        HANDLED.store(0, Ordering::SeqCst);
        Self::new(signal, count, flags)
    }

    /// What it handles.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// How often it ran, in any thread.
    pub fn count(&self) -> u32 {
        HANDLED.load(Ordering::SeqCst)
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        // SAFETY: It was installed before.
        unsafe { sigaction(self.signal, &self.before) }.expect("sigaction");
    }
}

/// Sends `signal` to the thread `tid` of this process, which has not ended.
#[track_caller]
pub fn signal_thread(tid: Pid, signal: Signal) {
    try_signal_thread(tid, signal).expect("tgkill");
}

/// Sends `signal` to the thread `tid` of this process.
///
/// # Errors
///
/// `ESRCH`: it has ended.
pub fn try_signal_thread(tid: Pid, signal: Signal) -> nix::Result<()> {
    // SAFETY: It touches no memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            libc::getpid(),
            tid.as_raw(),
            signal as i32,
        )
    };
    nix::Error::result(result).map(drop)
}

/// A `SIGALRM` every so often, as long as this lives.
#[derive(Debug)]
pub struct Ticker(());

impl Ticker {
    /// Starts it; a handler must be there.
    pub fn start(every: Duration) -> Self {
        Self::set(every);
        Self(())
    }

    fn set(every: Duration) {
        let every = libc::timeval {
            tv_sec: every.as_secs() as i64,
            tv_usec: every.subsec_micros().into(),
        };
        let timer = libc::itimerval {
            it_interval: every,
            it_value: every,
        };
        // SAFETY: `timer` is valid, and the old value is not asked for.
        let result = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
        assert_eq!(result, 0, "setitimer");
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        Self::set(Duration::ZERO);
    }
}
