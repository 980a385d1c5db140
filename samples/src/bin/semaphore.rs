// SPDX-License-Identifier: GPL-2.0
//! A counting semaphore for the threads of one process. It is one word, one loop
//! and one wake. Eight threads share three places with it, and each uses the
//! device through a handle of its own.

use rfutex::{Error, PerThread, Word};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

const THREADS: u32 = 8;
const PLACES: u32 = 3;
const ROUNDS: u32 = 500;

/// The word is the number of free places.
struct Semaphore {
    free: AtomicU32,
    rfutex: PerThread,
}

impl Semaphore {
    /// Takes a place, and sleeps until there is one if necessary.
    fn acquire(&self) -> Result<(), Error> {
        loop {
            let take = |free: u32| free.checked_sub(1);
            let order = (Ordering::Acquire, Ordering::Relaxed);
            if self.free.fetch_update(order.0, order.1, take).is_ok() {
                return Ok(());
            }
            // If a place is released between the look above and this call, the
            // word is no longer 0, and the call does not sleep.
            match self.rfutex.get().wait(self.word(), 0) {
                Ok(()) | Err(Error::Again | Error::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives a place back, and wakes one thread that waits for it.
    fn release(&self) -> Result<(), Error> {
        self.free.fetch_add(1, Ordering::Release);
        self.rfutex.get().wake_one(self.word())?;
        Ok(())
    }

    fn word(&self) -> Word<'_> {
        Word::new(&self.free).private()
    }
}

fn main() -> Result<(), Error> {
    let semaphore = Semaphore {
        free: AtomicU32::new(PLACES),
        rfutex: PerThread::open()?,
    };
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let work = || -> Result<(), Error> {
        for _ in 0..ROUNDS {
            semaphore.acquire()?;
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::yield_now();
            inside.fetch_sub(1, Ordering::SeqCst);
            semaphore.release()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    let most = most.into_inner();
    println!("{THREADS} threads, {PLACES} places, {ROUNDS} times each: at most {most} inside");
    assert!(most <= PLACES, "too many inside");
    assert_eq!(semaphore.free.into_inner(), PLACES, "a place was lost");
    Ok(())
}
