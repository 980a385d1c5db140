// SPDX-License-Identifier: GPL-2.0
//! rfutex and futex(2) behind one face, for what must be the same in both.

use super::{Task, futex, fx, nr_waiters, until};
use nix::unistd::Pid;
use rfutex::raw::uapi::RFUTEX_MASK_ANY;
use rfutex::{Error, Word};

/// One of the two. Its words have 32 bits, its errors are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// rfutex.
    Ours,
    /// futex(2).
    Theirs,
}

/// Both of them.
pub const BOTH: [Service; 2] = [Service::Ours, Service::Theirs];

/// A count for futex(2): what does not fit is a large one.
fn count(nr: u32) -> i32 {
    i32::try_from(nr).unwrap_or(i32::MAX)
}

impl Service {
    /// Waits on `word` until woken, while it is `val`. The errno, 0 if woken.
    pub fn wait(self, word: Word<'_>, val: u32) -> i32 {
        match self {
            Self::Ours => super::errno(fx().wait(word, val.into())),
            Self::Theirs => futex::wait(word.addr(), val, word.is_private())
                .map_or_else(|error| error as i32, |()| 0),
        }
    }

    /// Wakes up to `nr`. Returns how many.
    pub fn wake(self, word: Word<'_>, nr: u32) -> Result<u32, i32> {
        match self {
            Self::Ours => fx().wake(word, nr, RFUTEX_MASK_ANY).map_err(Error::errno),
            Self::Theirs => {
                futex::wake(word.addr(), count(nr), word.is_private()).map_err(|e| e as i32)
            }
        }
    }

    /// Wakes up to `nr_wake`, and moves up to `nr_move` more to `to`; if `val` is there, only
    /// while `from` has that value. Of futex(2), both words must be of one kind.
    pub fn requeue(
        self,
        from: Word<'_>,
        val: Option<u32>,
        to: Word<'_>,
        [nr_wake, nr_move]: [u32; 2],
    ) -> Result<u32, i32> {
        match (self, val) {
            (Self::Ours, None) => fx()
                .requeue(from, to, nr_wake, nr_move)
                .map_err(Error::errno),
            (Self::Ours, Some(val)) => fx()
                .requeue_if(from, val.into(), to, nr_wake, nr_move)
                .map_err(Error::errno),
            (Self::Theirs, val) => {
                assert_eq!(from.is_private(), to.is_private(), "as futex(2) wants it");
                let nrs = [count(nr_wake), count(nr_move)];
                futex::requeue([from.addr(), to.addr()], val, nrs, from.is_private())
                    .map_err(|e| e as i32)
            }
        }
    }

    /// A thread that waits on `word` while it is `val`. Returns when it is queued. Nobody else may
    /// come to or leave the word meanwhile.
    #[track_caller]
    pub fn sleeper(self, word: Word<'static>, val: u32) -> Sleeper {
        self.sleeper_after(word, val, || ())
    }

    /// The same with a thread that does `before` at first.
    #[track_caller]
    pub fn sleeper_after(
        self,
        word: Word<'static>,
        val: u32,
        before: impl FnOnce() + Send + 'static,
    ) -> Sleeper {
        let nr = match self {
            Self::Ours => nr_waiters(word) + 1,
            Self::Theirs => 0,
        };
        let task = Task::spawn(move || {
            before();
            self.wait(word, val)
        });
        until("a sleeper is queued, or has failed", || {
            task.is_finished()
                || match self {
                    Self::Ours => nr_waiters(word) == nr,
                    Self::Theirs => task.sleeps_in_futex(word.addr()),
                }
        });
        if task.is_finished() {
            panic!("the wait ended at once: {}", task.join());
        }
        Sleeper(task)
    }

    /// `N` threads that wait on `word` while it is 0, in this order.
    #[track_caller]
    pub fn sleepers<const N: usize>(self, word: Word<'static>) -> [Sleeper; N] {
        [(); N].map(|()| self.sleeper(word, 0))
    }

    /// Wakes one, and says which of the `sleepers` it was.
    #[track_caller]
    pub fn wake_one_of<N>(self, word: Word<'static>, sleepers: &mut Vec<(N, Sleeper)>) -> N {
        assert_eq!(self.wake(word, 1), Ok(1), "{self:?}");
        let mut index = None;
        until("a sleeper ends", || {
            index = sleepers
                .iter()
                .position(|(_, sleeper)| sleeper.is_finished());
            index.is_some()
        });
        let (name, sleeper) = sleepers.remove(index.expect("just found"));
        sleeper.woken();
        name
    }
}

/// A thread that waits on a word of one of the services.
#[derive(Debug)]
pub struct Sleeper(Task<i32>);

impl Sleeper {
    /// Its thread id.
    pub fn tid(&self) -> Pid {
        self.0.tid()
    }

    /// Whether the wait has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// The errno of the wait; fails the test if it does not end.
    #[track_caller]
    pub fn join(self) -> i32 {
        self.0.join()
    }

    /// Ends when it was woken; fails the test if it was not.
    #[track_caller]
    pub fn woken(self) {
        assert_eq!(self.join(), 0, "woken");
    }
}
