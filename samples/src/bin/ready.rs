// SPDX-License-Identifier: GPL-2.0
//! A thread that waits for another, as in the README.

use rfutex::{Error, Rfutex, Word};
use std::sync::atomic::{AtomicU8, Ordering};

static READY: AtomicU8 = AtomicU8::new(0);

fn main() -> Result<(), Error> {
    let rfutex = Rfutex::open()?;
    let word = Word::new(&READY).private();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            READY.store(1, Ordering::Release);
            rfutex.wake_all(word)
        });
        while READY.load(Ordering::Acquire) == 0 {
            match rfutex.wait(word, 0) {
                // Woken, or changed before we slept: look again.
                Ok(()) | Err(Error::Again | Error::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        println!("the thread is ready");
        Ok(())
    })
}
