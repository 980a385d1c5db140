// SPDX-License-Identifier: MIT OR Apache-2.0
//! Safe access to `/dev/rfutex`: sleeping and waking on words of memory.
//!
//! A word is 1, 2, 4 or 8 bytes, at an address that is a multiple of its size.
//! A thread calls [`Rfutex::wait`] to sleep for as long as the word has a given
//! value; another thread changes the word and calls [`Rfutex::wake`]. If the
//! memory is shared, the two may be in different processes and have the word at
//! different addresses.
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
//!
//! # One handle for each thread
//!
//! All threads can share an [`Rfutex`], as in the example. But each call changes
//! the reference counter of the open file twice. So where many threads make many
//! calls, each of them should have a handle of its own: see [`PerThread`].
//!
//! # Locks
//!
//! The module [`sync`] has locks that are made of words: mutexes, condition variables and
//! more, for the threads of one process or of several that share memory.
//!
//! # A table of one's own
//!
//! All who open the device share one table. Those who have a [`Table`] meet nobody
//! else, and nobody else can find, guess or slow down what they do there. A table can
//! have memory, an [`Arena`], whose words are found faster than any other.
//!
//! # Who waits
//!
//! [`Rfutex::waiters`] lists those who wait in a table: which thread, on which word, and
//! for how long.
//!
//! # Event loops and async
//!
//! [`Watches`] is a file that has an event when a wake has come, for event loops. It
//! is all that a loop of the crates `polling` or `mio` needs. Two features go further:
//!
//! - `tokio`: the module `tokio`, with an async wait on a word.
//! - `io-uring`: the module `io_uring`, with entries that read the events.

mod arena;
mod device;
mod error;
#[cfg(feature = "io-uring")]
pub mod io_uring;
mod key;
mod multi;
mod owner;
mod per_thread;
pub mod raw;
pub mod sync;
mod table;
#[cfg(feature = "tokio")]
pub mod tokio;
mod wait;
mod waiters;
mod watches;
mod word;

pub use arena::{Arena, InArena};
pub use device::{Features, Hold, Query, Resolver, Rfutex};
pub use error::Error;
pub use key::{Folio, Key, KeyInfo};
pub use multi::{Compare, Op, Target, WaitEnd, WaitEntry};
pub use owner::{Identity, Owner};
pub use per_thread::PerThread;
pub use table::{Table, TableOptions};
pub use wait::{Clock, Deadline, WaitOptions};
pub use waiters::{FileId, KeyKind, NamedOwner, OwnerKind, Position, Waiter, Waiters, What};
pub use watches::{Event, WakeEntry, WatchId, WatchOptions, Watches};
pub use word::{Atomic, Word};
