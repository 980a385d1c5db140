// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a wait lasts, and which wakes reach it.

use crate::raw::uapi;
use crate::{Owner, Word};
use std::time::Duration;

/// A clock of the kernel, as the caller's time namespace shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Clock {
    /// `CLOCK_MONOTONIC`, which stands still while the machine is suspended.
    Monotonic,
    /// `CLOCK_REALTIME`, which can be set.
    Realtime,
    /// `CLOCK_BOOTTIME`, which goes on while the machine is suspended.
    Boottime,
}

impl Clock {
    /// Every clock.
    pub const ALL: [Self; 3] = [Self::Monotonic, Self::Realtime, Self::Boottime];

    /// The number of this clock in `clock_gettime(2)`.
    pub fn id(self) -> libc::clockid_t {
        match self {
            Self::Monotonic => libc::CLOCK_MONOTONIC,
            Self::Realtime => libc::CLOCK_REALTIME,
            Self::Boottime => libc::CLOCK_BOOTTIME,
        }
    }

    /// The time on this clock, in nanoseconds.
    pub fn now(self) -> i64 {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `now` is a valid timespec to write to.
        let result = unsafe { libc::clock_gettime(self.id(), &mut now) };
        assert_eq!(result, 0, "the kernel has {self:?}");
        now.tv_sec * 1_000_000_000 + now.tv_nsec
    }
}

impl From<Clock> for u32 {
    fn from(clock: Clock) -> Self {
        match clock {
            Clock::Monotonic => uapi::RFUTEX_CLOCK_MONOTONIC,
            Clock::Realtime => uapi::RFUTEX_CLOCK_REALTIME,
            Clock::Boottime => uapi::RFUTEX_CLOCK_BOOTTIME,
        }
    }
}

/// When a wait ends with [`Error::TimedOut`](crate::Error::TimedOut).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deadline {
    /// The clock.
    pub clock: Clock,
    /// The time on that clock, in nanoseconds. Not negative.
    pub ns: i64,
}

impl Deadline {
    /// A deadline `after` from now on `clock`, or the latest possible one if that is
    /// earlier.
    pub fn after(clock: Clock, after: Duration) -> Self {
        let after = i64::try_from(after.as_nanos()).unwrap_or(i64::MAX);
        Self {
            clock,
            ns: clock.now().saturating_add(after),
        }
    }
}

/// How to wait. By default: for any wake, and without a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitOptions {
    /// A wake reaches this waiter if its mask and this one share a bit. Zero
    /// is an error.
    pub mask: u64,
    /// When to give up.
    pub deadline: Option<Deadline>,
    /// The thread or process whose end also ends the wait.
    pub owner: Option<Owner>,
}

impl Default for WaitOptions {
    fn default() -> Self {
        Self {
            mask: uapi::RFUTEX_MASK_ANY,
            deadline: None,
            owner: None,
        }
    }
}

impl WaitOptions {
    /// A wait on `word` with these options, as a struct of the interface.
    pub(crate) fn wait_on(self, word: Word<'_>, val: u64) -> uapi::rfutex_wait {
        let (flags, owner, owner_id) = self.owner.map_or((0, 0, 0), Owner::into_uapi);
        uapi::rfutex_wait {
            word: word.into(),
            val,
            mask: self.mask,
            deadline: self.deadline.map_or(0, |deadline| deadline.ns),
            clock: self
                .deadline
                .map_or(uapi::RFUTEX_CLOCK_NONE, |deadline| deadline.clock.into()),
            flags,
            cond: 0,
            owner,
            owner_id,
        }
    }

    /// These options with this mask.
    pub fn mask(self, mask: u64) -> Self {
        Self { mask, ..self }
    }

    /// These options with this deadline.
    pub fn deadline(self, deadline: Deadline) -> Self {
        Self {
            deadline: Some(deadline),
            ..self
        }
    }

    /// These options with this owner.
    pub fn owner(self, owner: Owner) -> Self {
        Self {
            owner: Some(owner),
            ..self
        }
    }

    /// These options with a deadline `after` from now on `CLOCK_MONOTONIC`.
    pub fn within(self, after: Duration) -> Self {
        self.deadline(Deadline::after(Clock::Monotonic, after))
    }
}
