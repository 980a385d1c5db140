// SPDX-License-Identifier: GPL-2.0
//! A thread calls another, and sleeps until it has the answer: all in one call of the kernel.
//!
//! futex(2) has no such call (`FUTEX_SWAP` was proposed in 2020, but not merged): a thread has to
//! wake the other, and then to sleep. Those are two calls in each direction, and the other runs
//! before the caller sleeps. With `RFUTEX_SWAP`, the caller is queued in the step that wakes the
//! other.

use nix::unistd::alarm;
use rfutex::{Error, Rfutex, Word};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::scope;

const CALLS: u64 = 2000;
const END: u64 = u64::MAX;

/// Room for one message. Zero: there is none.
#[derive(Default)]
struct Mailbox(AtomicU64);

impl Mailbox {
    fn word(&self) -> Word<'_> {
        Word::new(&self.0).private()
    }

    /// Sleeps until there is a message, and takes it.
    fn receive(&self, rfutex: &Rfutex) -> Result<u64, Error> {
        loop {
            match self.0.swap(0, Ordering::Acquire) {
                0 => awake(rfutex.wait(self.word(), 0))?,
                message => return Ok(message),
            }
        }
    }

    /// Sends a message, and sleeps until there is one in the mailbox `answers`.
    fn call(&self, rfutex: &Rfutex, message: u64, answers: &Self) -> Result<u64, Error> {
        self.0.store(message, Ordering::Release);
        awake(rfutex.swap(answers.word(), 0, self.word()))?;
        answers.receive(rfutex)
    }
}

/// Leaves only those errors after which there is no use in looking at the word again.
fn awake(slept: Result<(), Error>) -> Result<(), Error> {
    match slept {
        Err(Error::Again | Error::Interrupted) => Ok(()),
        other => other,
    }
}

fn main() -> Result<(), Error> {
    let rfutex = Rfutex::open()?;
    let (questions, answers) = (Mailbox::default(), Mailbox::default());
    // If a wake is lost, this ends the program.
    alarm::set(60);
    scope(|scope| {
        let server = scope.spawn(|| -> Result<(), Error> {
            let mut question = questions.receive(&rfutex)?;
            while question != END {
                question = answers.call(&rfutex, question * question, &questions)?;
            }
            Ok(())
        });
        for question in 1..=CALLS {
            let answer = questions.call(&rfutex, question, &answers)?;
            assert_eq!(answer, question * question);
        }
        questions.0.store(END, Ordering::Release);
        rfutex.wake_one(questions.word())?;
        server.join().expect("it does not panic")
    })?;
    println!("{CALLS} questions were answered");
    Ok(())
}
