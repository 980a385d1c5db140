// SPDX-License-Identifier: GPL-2.0
//! Processes that share their memory with the test's.

use super::{Task, fx, until};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// How such a process is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// By clone(2) with `CLONE_VM`.
    Clone,
    /// With `CLONE_VFORK` as well, as vfork(2) does it: the thread that made the process sleeps in
    /// the kernel until the process has ended.
    Vfork,
}

/// Both ways.
pub const SHARINGS: [Sharing; 2] = [Sharing::Clone, Sharing::Vfork];

/// The size of its stack in bytes.
const STACK: usize = 256 << 10;

/// What the child does.
struct Main {
    tell: Arc<AtomicI32>,
    run: Option<Box<dyn FnOnce() + Send>>,
}

extern "C" fn child(main: *mut libc::c_void) -> i32 {
    // SAFETY: It is the `Main` of the thread that made this process, which does not use it until
    // this process has ended.
    let main = unsafe { &mut *main.cast::<Main>() };
    main.tell
        .store(nix::unistd::getpid().as_raw(), Ordering::SeqCst);
    let run = main.run.take().expect("called once");
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(()) => 0,
        Err(_) => 101,
    }
}

/// A process, not a thread, in the address space of the test. It is killed if the test ends before
/// it.
#[derive(Debug)]
pub struct SharedChild {
    pid: Pid,
    parent: Option<Task<i32>>,
}

impl SharedChild {
    /// Runs `f` in such a process, which exits with 0 when `f` returns, and with 101 when it
    /// panics. Returns when it is there.
    #[track_caller]
    pub fn run(sharing: Sharing, f: impl FnOnce() + Send + 'static) -> Self {
        // If the child opened the device, the parent would have the number of a descriptor that
        // only the child has: they share memory, and not descriptors.
        fx();
        let pid = Arc::new(AtomicI32::new(0));
        let tell = pid.clone();
        let parent = Task::spawn(move || {
            let mut main = Main {
                tell,
                run: Some(Box::new(f)),
            };
            let mut stack = vec![0u128; STACK / size_of::<u128>()];
            let mut flags = libc::CLONE_VM | libc::SIGCHLD;
            if sharing == Sharing::Vfork {
                flags |= libc::CLONE_VFORK;
            }
            let mut status = 0;
            // SAFETY: The child has a stack of its own. That and `main` are there until the child
            // has ended. The child also has this thread's thread-local variables, and this thread
            // does not use them at the same time: until the child has ended it makes only these two
            // calls, which write to `errno` only if they fail.
            let result = unsafe {
                let pid = libc::clone(
                    child,
                    stack.as_mut_ptr_range().end.cast(),
                    flags,
                    (&raw mut main).cast(),
                );
                let none = ptr::null_mut::<libc::rusage>();
                if pid == -1 {
                    -1
                } else {
                    libc::syscall(libc::SYS_wait4, pid, &raw mut status, 0, none)
                }
            };
            Errno::result(result).expect("clone and wait4");
            drop(stack);
            status
        });
        until("a child is there", || {
            pid.load(Ordering::SeqCst) != 0 || parent.is_finished()
        });
        Self {
            pid: Pid::from_raw(pid.load(Ordering::SeqCst)),
            parent: Some(parent),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Ends when it exited with 0; fails the test if it did not.
    #[track_caller]
    pub fn join(self) {
        assert_eq!(self.status(), 0, "the child's own checks");
    }

    /// Kills it; returns when it is gone.
    #[track_caller]
    pub fn kill(self) {
        kill(self.pid, Signal::SIGKILL).expect("kill");
        assert_eq!(self.status(), libc::SIGKILL, "how it ended");
    }

    /// What wait4(2) says of it.
    #[track_caller]
    fn status(mut self) -> i32 {
        let parent = self.parent.take().expect("it is joined once");
        parent.join()
    }
}

impl Drop for SharedChild {
    fn drop(&mut self) {
        if let Some(parent) = self.parent.take() {
            let _ = kill(self.pid, Signal::SIGKILL);
            parent.join();
        }
    }
}
