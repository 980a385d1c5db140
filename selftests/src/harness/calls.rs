// SPDX-License-Identifier: GPL-2.0
//! Every operation, once for each of the words that it takes.

use rfutex::raw::uapi::RFUTEX_MASK_ANY;
use rfutex::{Clock, Compare, Deadline, Error, Op, Rfutex, Target, WaitEntry, WaitOptions, Word};

/// What an operation does with the memory of the word, apart from finding its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// Nothing.
    Nothing,
    /// It reads the word.
    Reads,
    /// It writes to the word.
    Writes,
}

/// One operation on a word.
///
/// Waits have a deadline that is past, so that none of them sleeps until a wake.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// What to call it in a message.
    pub name: &'static str,
    /// What it does with the word's memory.
    pub touch: Touch,
    /// Whether it takes a second word.
    pub both: bool,
    run: Run,
}

impl Call {
    /// Does it to `word`. Where the operation takes two words, `other` is the second one. Both must
    /// be 0, if they can be read at all. Returns how many were woken or moved.
    pub fn run(self, fx: &Rfutex, word: Word<'static>, other: Word<'static>) -> Result<u32, Error> {
        (self.run)(fx, [word, other])
    }
}

/// All of them.
pub const CALLS: [Call; 13] = [
    on_one("WAIT", Touch::Reads, |fx, [word, _]| {
        timed_out(fx.wait_with(word, 0, past()))
    }),
    on_two("WAITV", Touch::Reads, |fx, [word, other]| {
        let entries = [other, word].map(|word| WaitEntry::new(word, 0));
        timed_out(fx.wait_any(&entries, past().deadline))
    }),
    on_one("WAKE", Touch::Nothing, |fx, [word, _]| {
        fx.wake(word, 1, RFUTEX_MASK_ANY)
    }),
    on_one("WAKE_ONE", Touch::Nothing, |fx, [word, _]| {
        fx.wake_one(word)
    }),
    on_one("WAKE_ALL", Touch::Nothing, |fx, [word, _]| {
        fx.wake_all(word)
    }),
    on_two("REQUEUE from it", Touch::Nothing, |fx, [word, other]| {
        fx.requeue(word, other, 1, 1)
    }),
    on_two(
        "REQUEUE from it, compared",
        Touch::Reads,
        |fx, [word, other]| fx.requeue_if(word, 0, other, 1, 1),
    ),
    on_two("REQUEUE to it", Touch::Nothing, |fx, [word, other]| {
        fx.requeue_if(other, 0, word, 1, 1)
    }),
    on_two("WAKE_OP on it", Touch::Nothing, |fx, [word, other]| {
        wake_op(fx, word, other)
    }),
    on_two(
        "WAKE_OP that changes it",
        Touch::Writes,
        |fx, [word, other]| wake_op(fx, other, word),
    ),
    on_two(
        "SWAP that sleeps on it",
        Touch::Reads,
        |fx, [word, other]| timed_out(fx.swap_with(word, 0, other, past())),
    ),
    on_two(
        "SWAP that wakes on it",
        Touch::Nothing,
        |fx, [word, other]| timed_out(fx.swap_with(other, 0, word, past())),
    ),
    on_one("KEY_INFO", Touch::Nothing, |fx, [word, _]| {
        fx.key_info(word).map(|info| info.nr_waiters)
    }),
];

type Run = fn(&Rfutex, [Word<'static>; 2]) -> Result<u32, Error>;

const fn on_one(name: &'static str, touch: Touch, run: Run) -> Call {
    let both = false;
    Call {
        name,
        touch,
        both,
        run,
    }
}

const fn on_two(name: &'static str, touch: Touch, run: Run) -> Call {
    let both = true;
    Call {
        name,
        touch,
        both,
        run,
    }
}

/// Options for a wait that ends as soon as it is queued.
pub fn past() -> WaitOptions {
    WaitOptions::default().deadline(Deadline {
        clock: Clock::Monotonic,
        ns: 0,
    })
}

/// Turns the time-out with which such a wait has to end into success.
fn timed_out<T>(result: Result<T, Error>) -> Result<u32, Error> {
    match result {
        Err(Error::TimedOut) => Ok(0),
        Ok(_) => panic!("woken by nobody"),
        Err(error) => Err(error),
    }
}

/// Writes to `target` the value that it has.
fn wake_op(fx: &Rfutex, word: Word<'static>, target: Word<'static>) -> Result<u32, Error> {
    // SAFETY: In the tests' mappings is nothing but atomics.
    let target = unsafe { Target::from_word(target) };
    fx.wake_op(word, 1, target, 1, Op::Or(0), Compare::Equal(0))
}
