// SPDX-License-Identifier: GPL-2.0
//! `memory.atomic.wait64` and `memory.atomic.notify` of WebAssembly, each by one call of the kernel.
//!
//! futex(2) compares 32 bits. So an engine has queues of its own, with locks: a thread takes a lock,
//! compares, queues itself, and sleeps on something else. Here the kernel does all of this, for 64
//! bits. Threads that wait for 32 bits at the same address are woken by the same notification,
//! because the size does not identify a word.

use nix::unistd::alarm;
use rfutex::{Error, Rfutex, WaitOptions, Word};
use std::sync::atomic::AtomicU64;
use std::{thread, time::Duration};

/// Only the upper half of it is not zero.
const VALUE: i64 = 1 << 32;

/// What the instruction gives.
#[derive(Debug, PartialEq)]
enum Waited {
    Ok = 0,
    NotEqual = 1,
    TimedOut = 2,
}

/// A shared memory. Its words are 8 bytes here, and addresses are offsets.
struct Memory {
    cells: [AtomicU64; 8192],
    rfutex: Rfutex,
}

impl Memory {
    /// Waits for a notification, for `timeout` nanoseconds: for ever if that is negative.
    fn wait64(&self, addr: usize, expected: i64, timeout: i64) -> Result<Waited, Error> {
        let mut options = WaitOptions::default();
        if let Ok(timeout) = timeout.try_into() {
            options = options.within(Duration::from_nanos(timeout));
        }
        let (word, expected) = (self.word(addr), expected as u64);
        loop {
            match self.rfutex.wait_with(word, expected, options) {
                Ok(()) => return Ok(Waited::Ok),
                Err(Error::Again) => return Ok(Waited::NotEqual),
                Err(Error::TimedOut) => return Ok(Waited::TimedOut),
                Err(Error::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Wakes up to `count` of those who wait at `addr`. Returns how many it woke.
    fn notify(&self, addr: usize, count: u32) -> Result<u32, Error> {
        self.rfutex.wake(self.word(addr), count, u64::MAX)
    }

    fn word(&self, addr: usize) -> Word<'_> {
        Word::new(&self.cells[addr / 8]).private()
    }
}

fn main() -> Result<(), Error> {
    let memory = Memory {
        cells: [const { AtomicU64::new(VALUE as u64) }; 8192],
        rfutex: Rfutex::open()?,
    };
    // If a notification is lost, this ends the program.
    alarm::set(60);
    assert_eq!(memory.wait64(8, 0, -1)?, Waited::NotEqual);
    assert_eq!(memory.wait64(8, VALUE, 1_000_000)?, Waited::TimedOut);
    thread::scope(|scope| {
        let memory = &memory;
        let wait = |timeout| scope.spawn(move || memory.wait64(8, VALUE, timeout));
        let waiters = [-1, -1, i64::MAX].map(wait);
        while memory.rfutex.key_info(memory.word(8))?.nr_waiters < 3 {
            thread::yield_now();
        }
        assert_eq!([memory.notify(8, 2)?, memory.notify(8, u32::MAX)?], [2, 1]);
        for waiter in waiters {
            assert_eq!(waiter.join().expect("it does not panic")?, Waited::Ok);
        }
        println!("not equal, timed out, and 3 woken");
        Ok(())
    })
}
