// SPDX-License-Identifier: MIT OR Apache-2.0
//! Safe access to `/dev/rfutex`: wait on, and wake, words of memory.
//!
//! A word is 1, 2, 4 or 8 bytes, at an address that is a multiple of its size.
//! A thread sleeps on it with [`Rfutex::wait`] for as long as it has a given
//! value, and another one that changed it calls [`Rfutex::wake`]. The two may
//! be in different processes, and the word at different addresses there, if
//! the memory is shared.
//!
//! ```no_run
//! use rfutex::{Error, Rfutex, Word};
//! use std::sync::atomic::{AtomicU8, Ordering};
//!
//! static READY: AtomicU8 = AtomicU8::new(0);
//!
//! fn main() -> Result<(), Error> {
//!     let rfutex = Rfutex::open()?;
//!     let word = Word::new(&READY).private();
//!     std::thread::scope(|scope| {
//!         scope.spawn(|| {
//!             READY.store(1, Ordering::Release);
//!             rfutex.wake_all(word)
//!         });
//!         while READY.load(Ordering::Acquire) == 0 {
//!             match rfutex.wait(word, 0) {
//!                 // Woken, or changed before we slept: look again.
//!                 Ok(()) | Err(Error::Again | Error::Interrupted) => {}
//!                 Err(error) => return Err(error),
//!             }
//!         }
//!         Ok(())
//!     })
//! }
//! ```

mod device;
mod error;
mod key;
mod multi;
mod per_thread;
pub mod raw;
mod wait;
mod word;

pub use device::{Features, Hold, Query, Resolver, Rfutex};
pub use error::Error;
pub use key::{Folio, Key, KeyInfo};
pub use multi::{Compare, Op, Target, WaitEntry};
pub use per_thread::PerThread;
pub use wait::{Clock, Deadline, WaitOptions};
pub use word::{Atomic, Word};
