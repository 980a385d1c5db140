// SPDX-License-Identifier: GPL-2.0
//! Waits in which no thread sleeps.

use super::{device, ring};
use crate::oracle::call::{ARMED, Means, Wait};
use crate::oracle::script::{Size, Waiter};
use nix::poll::{PollFd, PollFlags, poll};
use rfutex::raw::uapi;
use rfutex::{Error, Event, WatchId, Watches};
use std::cell::RefCell;
use std::os::fd::AsFd;
use std::time::Duration;

thread_local! {
    /// What waits for this thread.
    static OWN: RefCell<Option<Armed>> = const { RefCell::new(None) };
}

/// What a wait comes to that was ended before a wake has met it.
pub const CANCELED: i64 = -(libc::ECANCELED as i64);

/// What a wait comes to whose parts do not fit together.
pub const ABSURD: i64 = -(libc::EBADMSG as i64);

/// Begins to wait for the calling thread. Returns [`ARMED`], or a negative errno.
pub fn arm(wait: &Wait, waiter: Waiter, means: Means) -> i64 {
    let mut armed = Armed::new(waiter, means);
    if let Some(result) = armed.arm(wait) {
        return result;
    }
    OWN.set(Some(armed));
    ARMED
}

/// What the wait has come to; [`ARMED`] if it goes on.
pub fn ask() -> i64 {
    let mut armed = own();
    if let Some(result) = armed.ended(Duration::ZERO) {
        return result;
    }
    OWN.set(Some(armed));
    ARMED
}

/// Ends the wait. Returns what it has come to: `ECANCELED`, unless it was met by a wake.
pub fn remove() -> i64 {
    own().remove()
}

/// Closes the file that the wait belongs to. Returns `ECANCELED`.
pub fn close() -> i64 {
    own().close();
    CANCELED
}

fn own() -> Armed {
    OWN.take().expect("it was armed")
}

/// A watch with a set of its own, or a request on the ring of the thread.
pub enum Armed {
    Watch {
        set: Watches,
        size: Size,
        /// Of the last one that was added.
        id: WatchId,
    },
    Request {
        means: Means,
    },
}

impl Armed {
    /// One that does not wait yet.
    pub fn new(waiter: Waiter, means: Means) -> Self {
        if waiter == Waiter::Request || means.backend.is_futex() {
            return Self::Request { means };
        }
        let set = Watches::nonblocking(&device::file(means.device)).expect("a watch set");
        let (size, id) = (means.size, WatchId::default());
        Self::Watch { set, size, id }
    }

    /// Begins to wait. Returns what that has come to, if it is over already.
    pub fn arm(&mut self, wait: &Wait) -> Option<i64> {
        match self {
            Self::Watch { set, size, id } => match device::watch(set, wait, *size) {
                Ok(added) => {
                    *id = added;
                    None
                }
                Err(error) => Some(error),
            },
            Self::Request { means } => ring::arm(wait, *means),
        }
    }

    /// What the wait has come to within that time. `None` if it goes on.
    pub fn ended(&mut self, patience: Duration) -> Option<i64> {
        let (set, id) = match self {
            Self::Watch { set, id, .. } => (set, id),
            Self::Request { .. } => return ring::ended(patience),
        };
        if !patience.is_zero() {
            let mut set = [PollFd::new(set.as_fd(), PollFlags::POLLIN)];
            // A signal ends it early.
            let _ = poll(&mut set, patience.as_millis() as u16);
        }
        let mut events = [Event::default(); 2];
        match set.read(&mut events) {
            Err(Error::Again) => None,
            Err(error) => Some(-i64::from(error.errno())),
            Ok(nr) => {
                let Event {
                    id: met,
                    woken,
                    what,
                    ..
                } = events[0];
                let once = (nr, met, woken, what) == (1, *id, 1, uapi::RFUTEX_EVENT_WOKEN);
                Some(if once { 0 } else { ABSURD })
            }
        }
    }

    /// Ends the wait. Returns what it has come to: `ECANCELED`, unless it was met by a wake.
    pub fn remove(&mut self) -> i64 {
        match self {
            Self::Watch { set, id, .. } => match set.remove(*id) {
                Ok(Some(0)) => CANCELED,
                Ok(Some(1)) => 0,
                // Nobody else reads.
                Ok(_) => ABSURD,
                Err(error) => -i64::from(error.errno()),
            },
            Self::Request { means } => ring::remove(*means),
        }
    }

    /// Closes the set or the ring, and waits until it is gone.
    fn close(self) {
        match self {
            Self::Watch { set, .. } => drop(set),
            Self::Request { .. } => ring::close(),
        }
    }
}
