// SPDX-License-Identifier: GPL-2.0
//! futex's system calls, turned into requests of `/dev/rfutex`.
//!
//! What is decoded is what the kernel's futex accepts and rfutex has too. All
//! else is for the kernel: operations that rfutex has not, and calls with an
//! argument that the kernel refuses. So it is the kernel itself that says with
//! which error, and in which order it looks. Such a call never sleeps.

mod futex;
mod futex2;
#[cfg(test)]
mod tests;

pub(crate) use futex::futex;
pub(crate) use futex2::{requeue, wait, waitv, wake};

use crate::user;
use core::mem::MaybeUninit;
use libc::timespec;
use rfutex::raw::uapi;

/// What `/dev/rfutex` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Wait(uapi::rfutex_wait),
    Wake(uapi::rfutex_wake),
    /// A wake without a struct: one of the commands `RFUTEX_WAKE_*`, and the
    /// word's address.
    WakeAt(u32, u64),
    Requeue(uapi::rfutex_requeue),
    WakeOp(uapi::rfutex_wake_op),
    /// Its entries are in an [`Entries`].
    Waitv(uapi::rfutex_waitv),
}

/// Room for the words of a `RFUTEX_WAITV`.
pub(crate) type Entries = [MaybeUninit<uapi::rfutex_waitv_entry>; uapi::RFUTEX_WAITV_MAX as usize];

/// futex's mask that meets every waiter.
const MATCH_ANY: u32 = u32::MAX;

/// A word of 32 bits, the only size that futex has; `None` if misaligned.
fn word(addr: u64, private: bool) -> Option<uapi::rfutex_word> {
    (addr & 3 == 0).then_some(uapi::rfutex_word {
        addr,
        size: 4,
        flags: if private {
            uapi::RFUTEX_WORD_PRIVATE
        } else {
            0
        },
    })
}

/// The mask of a wait or a wake; `None` if it meets nobody.
fn mask(bits: u32) -> Option<u64> {
    match bits {
        0 => None,
        MATCH_ANY => Some(uapi::RFUTEX_MASK_ANY),
        bits => Some(bits.into()),
    }
}

/// A number of waiters that must not be negative.
fn count(nr: i32) -> Option<u32> {
    u32::try_from(nr).ok()
}

/// A number of waiters as futex's loops take it: they look whether it is
/// enough after the first.
fn at_least_one(nr: i32) -> u32 {
    nr.max(1) as u32
}

/// Wakes `nr` waiters.
fn wake_request(word: uapi::rfutex_word, mask: u64, nr: u32) -> Request {
    let private = word.flags & uapi::RFUTEX_WORD_PRIVATE != 0;
    match (mask, nr, private) {
        (uapi::RFUTEX_MASK_ANY, 1, false) => Request::WakeAt(uapi::RFUTEX_WAKE_ONE, word.addr),
        (uapi::RFUTEX_MASK_ANY, 1, true) => {
            Request::WakeAt(uapi::RFUTEX_WAKE_ONE_PRIVATE, word.addr)
        }
        // No word has more waiters than this.
        (uapi::RFUTEX_MASK_ANY, ALL, false) => Request::WakeAt(uapi::RFUTEX_WAKE_ALL, word.addr),
        (uapi::RFUTEX_MASK_ANY, ALL, true) => {
            Request::WakeAt(uapi::RFUTEX_WAKE_ALL_PRIVATE, word.addr)
        }
        _ => Request::Wake(uapi::rfutex_wake {
            word,
            mask,
            nr,
            pad: 0,
        }),
    }
}

/// The number by which programs wake everybody.
const ALL: u32 = i32::MAX as u32;

/// When a wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deadline {
    clock: u32,
    /// Nanoseconds.
    ns: i64,
}

impl Deadline {
    const NEVER: Self = Self {
        clock: uapi::RFUTEX_CLOCK_NONE,
        ns: 0,
    };

    /// The time in the timespec at `addr` on `clock`; never if there is none.
    /// `None` if it is not readable or no time.
    ///
    /// # Safety
    ///
    /// Those of [`user::read`].
    unsafe fn absolute(addr: u64, clock: u32) -> Option<Self> {
        if addr == 0 {
            return Some(Self::NEVER);
        }
        // SAFETY: The caller's promise.
        let ns = nanoseconds(&unsafe { user::read(addr) }?)?;
        Some(Self { clock, ns })
    }

    /// The same, counted from now on, on the monotonic clock.
    ///
    /// # Safety
    ///
    /// Those of [`user::read`].
    unsafe fn relative(addr: u64) -> Option<Self> {
        // SAFETY: The caller's promise.
        let mut deadline = unsafe { Self::absolute(addr, uapi::RFUTEX_CLOCK_MONOTONIC) }?;
        if deadline != Self::NEVER {
            deadline.ns = deadline.ns.saturating_add(now()?);
        }
        Some(deadline)
    }
}

/// A time as the kernel counts it: one that does not fit is the end of time.
/// `None` if it is no time.
fn nanoseconds(time: &timespec) -> Option<i64> {
    const SECOND: i64 = 1_000_000_000;
    /// From this second on the kernel does not look at nanoseconds.
    const END: i64 = i64::MAX / SECOND;
    if time.tv_sec < 0 || !(0..SECOND).contains(&time.tv_nsec) {
        return None;
    }
    if time.tv_sec >= END {
        return Some(i64::MAX);
    }
    Some(time.tv_sec * SECOND + time.tv_nsec)
}

/// The monotonic clock, in nanoseconds.
fn now() -> Option<i64> {
    let mut time = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: Writes to `time`. It may be called from a signal handler, and
    // cannot fail with this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    nanoseconds(&time)
}
