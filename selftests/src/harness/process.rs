// SPDX-License-Identifier: GPL-2.0
//! Child processes of a test.

use super::until;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, execv, fork, pause};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A forked child. It is killed if the test ends before it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    reaped: bool,
}

impl Child {
    /// Runs `f` in a child of fork(2), which exits with 0 when `f` returns,
    /// and with 101 when it panics.
    ///
    /// Only the calling thread goes on in the child.
    pub fn run(f: impl FnOnce()) -> Self {
        // SAFETY: glibc makes its own locks usable in the child, the tests'
        // own ones are not held by other threads when they fork, and the
        // child leaves with _exit.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Parent { child } => Self {
                pid: child,
                reaped: false,
            },
            ForkResult::Child => finish(f),
        }
    }

    /// A child that sleeps until it is killed.
    pub fn sleeping() -> Self {
        Self::run(|| {
            pause();
        })
    }

    /// Does what [`run`](Self::run) does, in a child that has the process id `pid`, which nobody may
    /// have.
    pub fn run_as(pid: Pid, f: impl FnOnce()) -> Self {
        let number = pid.as_raw();
        // SAFETY: All zeros is a set of arguments that asks for nothing.
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.exit_signal = libc::SIGCHLD as u64;
        args.set_tid = (&raw const number).addr() as u64;
        args.set_tid_size = 1;
        // SAFETY: As in `run`: this is a fork. What glibc would have done before and after it is
        // only needed by programs that fork while other threads allocate.
        let result =
            unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
        match Errno::result(result).expect("clone3") {
            0 => finish(f),
            child => {
                assert_eq!(child, number.into());
                Self { pid, reaped: false }
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal.
    pub fn kill(&self, signal: Signal) {
        kill(self.pid, signal).expect("kill");
    }

    /// Stops it; returns when it is stopped.
    #[track_caller]
    pub fn stop(&self) {
        self.kill(Signal::SIGSTOP);
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
        until("the child stops", || {
            waitid(Id::Pid(self.pid), flags).expect("waitid") != WaitStatus::StillAlive
        });
    }

    /// Lets it go on; returns when it does.
    #[track_caller]
    pub fn go_on(&self) {
        self.kill(Signal::SIGCONT);
        let flags = WaitPidFlag::WCONTINUED | WaitPidFlag::WNOHANG;
        until("the child goes on", || {
            match waitid(Id::Pid(self.pid), flags) {
                Ok(status) => status != WaitStatus::StillAlive,
                // It has gone on to its end.
                Err(error) => error == Errno::ECHILD,
            }
        });
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(self.pid), flags).expect("waitid") != WaitStatus::StillAlive
    }

    /// How it ended; fails the test if it does not end.
    #[track_caller]
    pub fn status(mut self) -> WaitStatus {
        until("a child ends", || self.is_finished());
        self.reaped = true;
        waitpid(self.pid, None).expect("waitpid")
    }

    /// Ends when it exited with 0; fails the test if it did not.
    #[track_caller]
    pub fn join(self) {
        let pid = self.pid;
        assert_eq!(
            self.status(),
            WaitStatus::Exited(pid, 0),
            "the child's own checks"
        );
    }
}

/// Runs `f` in a child, and ends the child.
fn finish(f: impl FnOnce()) -> ! {
    let code = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(()) => 0,
        Err(_) => 101,
    };
    // SAFETY: It ends the process without running what belongs to the parent.
    unsafe { libc::_exit(code) }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

/// Stops a thread of another process as a debugger does, which makes it leave its call in the kernel,
/// and lets it go on. No handler runs.
#[track_caller]
pub fn stop_and_go(tid: Pid) {
    ptrace::seize(tid, ptrace::Options::empty()).expect("seize");
    ptrace::interrupt(tid).expect("interrupt");
    let status = waitpid(tid, Some(WaitPidFlag::__WALL)).expect("waitpid");
    assert!(
        matches!(
            status,
            WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(..)
        ),
        "{status:?}"
    );
    ptrace::detach(tid, None).expect("detach");
}

/// Executes a program that sleeps until it is killed: `busybox`.
pub fn execute() -> ! {
    execv(c"/bin/busybox", &[c"sleep", c"1000"]).expect("execv");
    unreachable!()
}

/// Ends the calling thread alone, without unwinding, whatever it is.
pub fn end_thread() -> ! {
    // SAFETY: Nothing of the thread is used after it.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}
