// SPDX-License-Identifier: GPL-2.0
//! A child process of which all that is left is a thread that waits.

use crate::harness::{Child, Waiter};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::pipe;
use rfutex::{Error, WaitOptions, Word};
use std::fs::File;
use std::io::{Read, Write};

/// Such a child.
#[derive(Debug)]
pub struct LoneWaiter(Child);

impl LoneWaiter {
    /// Forks a child, where `prepare` gives a word, and what to do when somebody waits there: to
    /// let go of everything else. Returns when that is done.
    ///
    /// The parent must not have what the child is to let go of: the child has it, too.
    #[track_caller]
    pub fn start<F: FnOnce()>(
        options: WaitOptions,
        prepare: impl FnOnce() -> (Word<'static>, F),
    ) -> Self {
        let (told, tell) = pipe().expect("pipe");
        let child = Child::run(|| {
            let (word, let_go) = prepare();
            let waiter = Waiter::start_with(word, 0, options);
            let_go();
            assert!(!waiter.is_finished(), "it sleeps on");
            File::from(tell.try_clone().expect("dup"))
                .write_all(&[1])
                .expect("a pipe");
            assert_eq!(waiter.join(), Err(Error::TimedOut));
        });
        drop(tell);
        File::from(told)
            .read_exact(&mut [0])
            .expect("the child tells that it waits");
        Self(child)
    }

    /// Kills it.
    #[track_caller]
    pub fn kill(self) {
        self.0.kill(Signal::SIGKILL);
        let pid = self.0.pid();
        assert_eq!(
            self.0.status(),
            WaitStatus::Signaled(pid, Signal::SIGKILL, false)
        );
    }

    /// Returns when it ended because its deadline passed.
    #[track_caller]
    pub fn timed_out(self) {
        self.0.join();
    }
}
