// SPDX-License-Identifier: GPL-2.0
//! A task of tokio that waits for a thread, as in the README.

use rfutex::{Error, Rfutex, Word, tokio::AsyncWatches};
use std::sync::atomic::{AtomicU8, Ordering};

static READY: AtomicU8 = AtomicU8::new(0);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let watches = AsyncWatches::new(Rfutex::open()?)?;
    let word = Word::new(&READY).private();
    std::thread::spawn(move || {
        READY.store(1, Ordering::Release);
        Rfutex::open()?.wake_all(word)
    });
    while READY.load(Ordering::Acquire) == 0 {
        match watches.wait(word, 0).await {
            // Woken, or changed before we waited: look again.
            Ok(()) | Err(Error::Again) => {}
            Err(error) => return Err(error),
        }
    }
    println!("the thread is ready");
    Ok(())
}
