// SPDX-License-Identifier: GPL-2.0
//! WAITV: waits on several words.

mod ends;
mod entries;
mod index;
mod race;

use crate::harness::{PAGE, Task, fx, nr_waiters, until};
use libtest_mimic::Trial;
use nix::unistd::Pid;
use rfutex::raw::uapi::RFUTEX_WAITV_MAX;
use rfutex::{Deadline, Error, WaitEntry, Word};

/// The tests of these modules.
pub fn trials() -> Vec<Trial> {
    [
        ends::trials(),
        entries::trials(),
        index::trials(),
        race::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The most words, for which the module allocates, and the most for which it does not.
const MAX: usize = RFUTEX_WAITV_MAX as usize;
const FEW: usize = 6;

/// Numbers of words at which something changes.
const NUMBERS: [usize; 5] = [1, 2, FEW, FEW + 1, MAX];

/// Each word, to be zero.
fn zeros(words: &[Word<'static>]) -> Vec<WaitEntry<'static>> {
    words.iter().map(|word| WaitEntry::new(*word, 0)).collect()
}

/// `nr` words from `base` on, of which half are private.
fn words(base: u64, nr: usize) -> Vec<Word<'static>> {
    assert!(nr * 8 <= PAGE);
    (0..nr as u64)
        .map(|at| {
            let word = Word::at(base + at * 8, 4);
            if at % 2 == 0 { word } else { word.private() }
        })
        .collect()
}

/// Nobody waits on any of these.
#[track_caller]
fn assert_nobody(words: &[Word<'static>]) {
    for (index, word) in words.iter().enumerate() {
        assert_eq!(
            nr_waiters(*word),
            0,
            "left on word {index} of {}",
            words.len()
        );
    }
}

/// A thread that waits on several words.
struct Waiter(Task<Result<usize, Error>>);

impl Waiter {
    /// Waits for each of `words` as long as it is 0. Returns when the thread is queued on the last.
    /// Nobody else may come to or leave that one meanwhile.
    #[track_caller]
    fn start(words: &[Word<'static>]) -> Self {
        Self::start_with(words, zeros(words), None)
    }

    /// The same with entries for these words, and with a deadline.
    #[track_caller]
    fn start_with(
        words: &[Word<'static>],
        entries: Vec<WaitEntry<'static>>,
        deadline: Option<Deadline>,
    ) -> Self {
        let last = words[words.len() - 1];
        let nr = nr_waiters(last) + words.iter().filter(|word| **word == last).count() as u32;
        let task = Task::spawn(move || fx().wait_any(&entries, deadline));
        until("a waiter is queued, or has failed", || {
            task.is_finished() || nr_waiters(last) == nr
        });
        if task.is_finished() {
            panic!("the wait ended at once: {:?}", task.join());
        }
        Self(task)
    }

    fn tid(&self) -> Pid {
        self.0.tid()
    }

    #[track_caller]
    fn join(self) -> Result<usize, Error> {
        self.0.join()
    }
}
