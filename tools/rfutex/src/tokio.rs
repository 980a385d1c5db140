// SPDX-License-Identifier: MIT OR Apache-2.0
//! Async waits on words, for programs that use tokio. (Feature `tokio`.)

use crate::{Error, Event, Rfutex, WatchId, WatchOptions, Watches, Word};
use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;
use ::tokio::sync::oneshot::{self, Receiver, Sender};
use ::tokio::task::{AbortHandle, coop};
use slab::Slab;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard};

/// How many events are read at a time.
const BATCH: usize = 64;

/// A watch set on which any number of tasks wait.
///
/// A runtime needs only one of them, whose clones share one file descriptor:
/// thousands of tasks may wait on as many words. A task of the runtime reads the
/// set, and wakes the tasks that were met. It ends with the last clone.
///
/// ```no_run
/// use rfutex::{Error, Rfutex, Word, tokio::AsyncWatches};
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// static WORD: AtomicU32 = AtomicU32::new(0);
///
/// # async fn wait() -> Result<(), Error> {
/// let watches = AsyncWatches::new(Rfutex::open()?)?;
/// while WORD.load(Ordering::Acquire) == 0 {
///     match watches.wait(Word::new(&WORD), 0).await {
///         // Woken, or changed before we waited: look again.
///         Ok(()) | Err(Error::Again) => {}
///         Err(error) => return Err(error),
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # A wait that is dropped
///
/// A future may be dropped before it is ready: by a timeout, by `select!`, or with
/// its task. Then its watch is removed. If a wake has counted the watch by then, the
/// future passes it on, before the drop is over: it wakes another waiter of the same
/// word whose mask shares a bit with its own. So a wake of one waiter is never lost
/// with a future, as long as
///
/// - the memory of the word is still mapped when the future is dropped;
/// - nobody else reads the set (see [`as_fd`](Self::as_fd));
/// - waiters that share a word have the same mask, or else a wake reaches all that
///   may be concerned;
/// - the waiter was not moved by [`Rfutex::requeue`]: the wake is passed on where it
///   began to wait.
///
/// A wake that is passed on may reach somebody who has begun to wait after it. As
/// with every wake, he has to look at the word.
#[derive(Debug, Clone)]
pub struct AsyncWatches(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    device: Rfutex,
    set: Arc<Set>,
    reader: AbortHandle,
}

/// A set and those who wait for its events.
#[derive(Debug)]
struct Set {
    watches: Watches,
    /// Whom to tell of the event whose cookie is the key. `None` when nobody reads
    /// the set any more.
    ///
    /// The key of a watch is used again only when its event has been read or
    /// withdrawn. So an event never reaches a later wait.
    ///
    /// While this is locked, nothing of a task may be woken or dropped: that can drop
    /// futures, which take the lock.
    waits: Mutex<Option<Slab<Sender<()>>>>,
}

impl AsyncWatches {
    /// Opens a watch set on the device, to be read by the current runtime.
    ///
    /// # Errors
    ///
    /// Those of [`Watches::new`], and those of registering a file with the runtime.
    ///
    /// # Panics
    ///
    /// If there is no current runtime, or its I/O is not enabled.
    pub fn new(device: Rfutex) -> Result<Self, Error> {
        let set = Arc::new(Set {
            watches: Watches::nonblocking(&device)?,
            waits: Mutex::new(Some(Slab::new())),
        });
        // SAFETY: The set never replaces its file, and keeps it open.
        let file = unsafe { AsyncFd::register_with_interest(Arc::clone(&set), Interest::READABLE) }
            .map_err(io::Error::from)?;
        let reader = ::tokio::spawn(Reader(file).run()).abort_handle();
        Ok(Self(Arc::new(Inner {
            device,
            set,
            reader,
        })))
    }

    /// Waits until a wake meets this task on `word`, if that has the value `val`.
    ///
    /// It takes its turn among all that wait on the word, in this program and in
    /// others, threads and tasks alike. `Ok` does not mean that the word has changed:
    /// look at it again.
    ///
    /// The word is compared when the future is polled first. That may have to fault in
    /// its page, as any other access. A deadline is that of a timer of the runtime, as
    /// `tokio::time::timeout`; see [above](Self#a-wait-that-is-dropped) for what
    /// becomes of a wake that comes at the same time.
    ///
    /// # Errors
    ///
    /// - [`Error::Again`]: the word does not have the value.
    /// - [`Error::Fault`]: there is no memory at this address on which threads can
    ///   meet, or it cannot be read.
    /// - [`Error::Invalid`]: the word is misaligned or has an unknown size, or `val`
    ///   is too large for it.
    /// - [`Error::Os`] with `ENOSPC`: this user has as many watches as are allowed
    ///   ([`Query::max_watches`](crate::Query::max_watches)); with `ENOMEM`: there is
    ///   no memory; with `ECANCELED`: the runtime in which the set was opened has
    ///   ended.
    pub async fn wait(&self, word: Word<'_>, val: u64) -> Result<(), Error> {
        self.wait_mask(word, val, WatchOptions::default().mask)
            .await
    }

    /// The same, but only for wakes whose mask shares a bit with `mask`.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), and [`Error::Invalid`] if `mask` is zero.
    pub async fn wait_mask(&self, word: Word<'_>, val: u64, mask: u64) -> Result<(), Error> {
        let (watch, met) = Watch::add(&self.0, word, val, mask)?;
        match met.await {
            Ok(()) => {
                watch.consume();
                Ok(())
            }
            Err(_) => Err(ENDED),
        }
    }

    /// The device, for instance to wake others: that takes no async call.
    pub fn device(&self) -> &Rfutex {
        &self.0.device
    }
}

/// Nobody reads the set any more.
const ENDED: Error = Error::Os(libc::ECANCELED);

/// The set. Whoever reads it takes an event away from the task that waits for it.
impl AsFd for AsyncWatches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.set.watches.as_fd()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A watch whose event nobody has consumed. If it is dropped, it passes on what it
/// was met by.
struct Watch<'a> {
    inner: &'a Inner,
    word: Word<'a>,
    mask: u64,
    key: usize,
    id: WatchId,
}

impl<'a> Watch<'a> {
    fn add(
        inner: &'a Inner,
        word: Word<'a>,
        val: u64,
        mask: u64,
    ) -> Result<(Self, Receiver<()>), Error> {
        let set = &inner.set;
        let (sender, met) = oneshot::channel();
        // The event may be read before the call below returns.
        let key = set.insert(sender).ok_or(ENDED)?;
        let options = WatchOptions::default().mask(mask);
        match set.watches.add(word, val, key as u64, options) {
            Ok(id) => {
                let watch = Self {
                    inner,
                    word,
                    mask,
                    key,
                    id,
                };
                Ok((watch, met))
            }
            Err(error) => {
                set.remove(key);
                Err(error)
            }
        }
    }

    /// Ends the watch, whose event has arrived.
    fn consume(self) {
        std::mem::forget(self);
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let set = &self.inner.set;
        let unread = match set.watches.remove(self.id) {
            // The event does not come any more.
            Ok(Some(unread)) => {
                set.remove(self.key);
                unread
            }
            // The reader has got the event, or is just getting it: it removes the
            // entry, and tells a receiver that is gone. A watch that does not repeat is
            // met only once.
            _ => 1,
        };
        if unread > 0 {
            // If there is no such word any more, nobody can wait on it.
            let _ = self.inner.device.wake(self.word, unread, self.mask);
        }
    }
}

impl Set {
    fn waits(&self) -> MutexGuard<'_, Option<Slab<Sender<()>>>> {
        self.waits
            .lock()
            .expect("nobody panics while this is locked")
    }

    fn insert(&self, sender: Sender<()>) -> Option<usize> {
        Some(self.waits().as_mut()?.insert(sender))
    }

    fn remove(&self, key: usize) {
        let sender = self.waits().as_mut().map(|waits| waits.try_remove(key));
        drop(sender);
    }

    /// Tells those who wait for these events. `met` is for the use of this function,
    /// and empty before and after it.
    fn dispatch(&self, events: &[Event], met: &mut Vec<Sender<()>>) {
        if let Some(waits) = &mut *self.waits() {
            let key = |event: &Event| event.cookie as usize;
            met.extend(events.iter().filter_map(|e| waits.try_remove(key(e))));
        }
        for sender in met.drain(..) {
            // Whoever has dropped the receiver passes the wake on.
            let _ = sender.send(());
        }
    }
}

impl AsRawFd for Set {
    fn as_raw_fd(&self) -> RawFd {
        self.watches.as_raw_fd()
    }
}

/// Reads the set. When this is dropped, all waits end.
struct Reader(AsyncFd<Arc<Set>>);

impl Reader {
    /// Returns when the runtime ends.
    async fn run(self) {
        let mut events = [Event::default(); BATCH];
        let mut met = Vec::with_capacity(BATCH);
        while let Ok(mut ready) = self.0.readable().await {
            let set = ready.get_inner();
            // Nothing may come between reading events and dispatching them.
            let nr = match set.watches.read(&mut events) {
                Ok(nr) => nr,
                Err(Error::Again) => 0,
                Err(_) => return,
            };
            set.dispatch(&events[..nr], &mut met);
            // There were no more. An event that has come in the meantime makes the file
            // ready again, in whatever order the two are noticed.
            if nr < events.len() {
                ready.clear_ready();
            }
            drop(ready);
            coop::consume_budget().await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let waits = self.0.get_ref().waits().take();
        drop(waits);
    }
}
