// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lock for one writer or many readers.
//!
//! All of it is one word of 8 bytes, on which readers and writers sleep with different
//! masks. New readers stay out while a writer waits. When a writer leaves and readers sleep,
//! it is their *turn*: all of them are woken, and for each a read lock is reserved, so that
//! neither a writer nor those who come later get in between. So readers wait for one writer
//! at most, and writers only for those readers that were there before them.
//!
//! How many reservations it takes is known only when the kernel has counted those that it
//! woke. Until then a turn is open: `OPEN` reservations are there, many more than there can
//! be threads, and afterwards those are taken back that were too many. A woken reader uses up
//! a reservation, whichever. If one that was woken for something else was faster, another
//! finds none, and does as if it had just come.
//!
//! Among writers, it is as with the mutex (see there), with a bit `HANDED` for a fair unlock.
//! `WRITERS_WAIT` stays set while a woken writer is on its way, and is cleared when a wake
//! finds no writer.
//!
//! The file `upgrade` has what is said about upgradable locks.
//!
//! Readers and writers take turns in the phase-fair locks of Brandenburg and Anderson
//! ("Spin-based reader-writer synchronization for multiprocessor real-time systems", 2010).
//! One word with a count and a bit for each kind of waiter is in the standard library.

use super::os::{self, AtomicU64, Deadline, Ordering, Scope, Shared, Waited};
use std::marker::PhantomData;

/// One read lock; the count is in the lowest 24 bits.
pub(super) const READER: u64 = 1;
const READERS: u64 = (1 << 24) - 1;
/// One reserved read lock; the count is in the next 24 bits.
pub(super) const RESERVED: u64 = 1 << 24;
pub(super) const ALL_RESERVED: u64 = READERS << 24;
/// What an open turn has reserved: more than there can be threads.
const OPEN: u64 = 1 << 47;
/// A thread beside the readers has the lock, and may become the writer (see `upgrade`).
pub(super) const UPGRADABLE: u64 = 1 << 57;
/// With `UPGRADABLE`: that thread waits for the readers to leave.
pub(super) const UPGRADING: u64 = 1 << 58;
/// Others want the lock as upgradable.
pub(super) const UPGRADE_WAITS: u64 = 1 << 59;
pub(super) const WRITER: u64 = 1 << 60;
/// With `WRITER`: the lock is for a writer that is woken.
const HANDED: u64 = 1 << 61;
pub(super) const READERS_WAIT: u64 = 1 << 62;
pub(super) const WRITERS_WAIT: u64 = 1 << 63;

/// New readers stay out.
pub(super) const OUT: u64 = WRITER | WRITERS_WAIT | UPGRADING;

/// The most read locks at a time; far from `OPEN`, too.
const MAX_READERS: u64 = READERS >> 2;

/// The masks that the kinds of waiters sleep with.
pub(super) const READ: u64 = 1;
const WRITE: u64 = 2;
/// For the upgradable lock.
pub(super) const UPGRADE: u64 = 4;
/// With the upgradable lock, until there are no readers.
pub(super) const UPGRADED: u64 = 8;

/// Whether there are no readers, and none is on its way to a reserved lock.
pub(super) const fn has_no_readers(state: u64) -> bool {
    state & (READERS | ALL_RESERVED) == 0
}

/// Whether nobody has the lock, or has it reserved.
pub(super) const fn is_free(state: u64) -> bool {
    has_no_readers(state) && state & (UPGRADABLE | WRITER) == 0
}

/// Whether the last of those that are no writers has left, and somebody may sleep who can have the
/// lock now.
const fn is_awaited(state: u64) -> bool {
    has_no_readers(state) && state & WRITER == 0 && state & !UPGRADABLE != 0
}

/// A lock for one writer or many readers, without the data that it protects.
///
/// It is free when its 8 bytes are zero. Use it through [`RwLock`](super::RwLock), or by the
/// traits of the crate `lock_api`, of which it has all.
#[repr(transparent)]
pub struct RawRwLock<S: Scope = Shared> {
    pub(super) state: AtomicU64,
    pub(super) scope: PhantomData<S>,
}

impl<S: Scope> RawRwLock<S> {
    pub(super) fn load(&self) -> u64 {
        self.state.load(Ordering::Relaxed)
    }

    /// Changes the state if it is `from` still.
    #[inline]
    pub(super) fn change(&self, from: u64, to: u64, success: Ordering) -> bool {
        self.state
            .compare_exchange(from, to, success, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether a reader may enter that has not waited. One that has the lock already may
    /// enter `again`, even if a writer waits.
    #[inline]
    fn may_enter(state: u64, again: bool) -> bool {
        if state & READERS == MAX_READERS {
            panic!("rfutex: a lock has too many readers");
        }
        state & OUT == 0 || (again && state & WRITER == 0 && state & (READERS | UPGRADABLE) != 0)
    }

    #[inline]
    pub(super) fn try_acquire_shared(&self, again: bool) -> bool {
        let mut state = self.load();
        while Self::may_enter(state, again) {
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            match self
                .state
                .compare_exchange_weak(state, state + READER, success, failure)
            {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// False if the deadline passed.
    #[cold]
    pub(super) fn acquire_shared_slow(&self, again: bool, deadline: Option<Deadline>) -> bool {
        let (mut woken, mut spins) = (false, os::SPINS);
        loop {
            let state = self.load();
            let next = if woken && state & ALL_RESERVED != 0 {
                state - RESERVED + READER
            } else if Self::may_enter(state, again) {
                state + READER
            } else if state & (READERS_WAIT | WRITERS_WAIT) == 0 && spins > 0 {
                spins -= 1;
                os::spin_loop();
                continue;
            } else if state & READERS_WAIT == 0 {
                self.change(state, state | READERS_WAIT, Ordering::Relaxed);
                continue;
            } else {
                match os::wait::<S, _>(&self.state, state, READ, deadline) {
                    Waited::Woken => (woken, spins) = (true, os::SPINS),
                    Waited::Changed => woken = false,
                    Waited::TimedOut => return false,
                }
                continue;
            };
            if self.change(state, next, Ordering::Acquire) {
                return true;
            }
        }
    }

    #[inline]
    pub(super) fn release_shared(&self) {
        let state = self.state.fetch_sub(READER, Ordering::Release) - READER;
        if is_awaited(state) {
            self.released();
        }
    }

    /// The last reader hands the lock to a writer that sleeps.
    pub(super) fn release_shared_fair(&self) {
        if !self.hand_to_writer(READER) {
            self.release_shared();
        }
    }

    /// The caller has the lock as `what`. If nobody else has it and a writer sleeps, that one
    /// has it now.
    pub(super) fn hand_to_writer(&self, what: u64) -> bool {
        loop {
            let state = self.load();
            let left = state - what;
            if !is_free(left) || left & WRITERS_WAIT == 0 {
                return false;
            }
            if self.change(state, left | WRITER | HANDED, Ordering::AcqRel) {
                self.hand_over();
                return true;
            }
        }
    }

    #[inline]
    pub(super) fn try_acquire_exclusive(&self) -> bool {
        self.change(0, WRITER, Ordering::Acquire)
    }

    /// Takes the lock if nobody has it, even if others are on their way to it.
    #[cold]
    pub(super) fn try_acquire_awaited(&self) -> bool {
        let mut state = self.load();
        while is_free(state) {
            if self.change(state, state | WRITER, Ordering::Acquire) {
                return true;
            }
            state = self.load();
        }
        false
    }

    /// False if the deadline passed.
    #[cold]
    pub(super) fn acquire_exclusive_slow(&self, deadline: Option<Deadline>) -> bool {
        // What is set with `WRITER`: that there may be others who sleep.
        let mut others = 0;
        let (mut woken, mut spins) = (false, os::SPINS);
        loop {
            let state = self.load();
            let next = if is_free(state) {
                state | WRITER | others
            } else if woken && state & HANDED != 0 {
                (state & !HANDED) | WRITERS_WAIT
            } else if state & (READERS_WAIT | WRITERS_WAIT) == 0 && spins > 0 {
                spins -= 1;
                os::spin_loop();
                continue;
            } else if state & WRITERS_WAIT == 0 {
                self.change(state, state | WRITERS_WAIT, Ordering::Relaxed);
                continue;
            } else {
                match os::wait::<S, _>(&self.state, state, WRITE, deadline) {
                    Waited::Woken => {
                        (others, woken, spins) = (WRITERS_WAIT, true, os::SPINS);
                    }
                    Waited::Changed => woken = false,
                    Waited::TimedOut => {
                        self.gave_up();
                        return false;
                    }
                }
                continue;
            };
            if self.change(state, next, Ordering::Acquire) {
                return true;
            }
        }
    }

    #[inline]
    pub(super) fn release_exclusive(&self) {
        if !self.change(WRITER, 0, Ordering::Release) {
            self.leave(0);
        }
    }

    /// Like a plain release if readers sleep, whose turn it is then. Else a writer that
    /// sleeps has the lock.
    pub(super) fn release_exclusive_fair(&self) {
        loop {
            let state = self.load();
            if state & (READERS_WAIT | UPGRADE_WAITS | WRITERS_WAIT) != WRITERS_WAIT {
                return self.release_exclusive();
            }
            if self.change(state, state | HANDED, Ordering::Release) {
                return self.hand_over();
            }
        }
    }

    /// The writer becomes a reader, and all readers that sleep enter.
    pub(super) fn downgrade(&self) {
        self.become_other(READER);
    }

    /// The writer stays as something else.
    pub(super) fn become_other(&self, stays: u64) {
        if !self.change(WRITER, stays, Ordering::Release) {
            self.leave(stays);
        }
    }

    /// The writer leaves, or stays as something else, and somebody may sleep.
    #[cold]
    fn leave(&self, stays: u64) {
        loop {
            let state = self.load();
            let left = (state & (WRITERS_WAIT | UPGRADE_WAITS)) | stays;
            // Who keeps the upgradable lock wakes the next one when it gives that up.
            let upgrade = left & UPGRADE_WAITS != 0 && stays != UPGRADABLE;
            if state & READERS_WAIT != 0 || upgrade {
                if self.change(state, left | OPEN, Ordering::AcqRel) {
                    return self.turn(upgrade);
                }
            } else if self.change(state, left, Ordering::Release) {
                if is_free(left) && left != 0 {
                    self.released();
                }
                return;
            }
        }
    }

    /// The caller has just set `HANDED`.
    #[cold]
    fn hand_over(&self) {
        if self.wake(1, WRITE) != 0 {
            return;
        }
        // No writer sleeps. So the caller has the lock again, unless one that was woken before
        // has taken it; and leaves as always.
        loop {
            let state = self.load();
            if state & HANDED == 0 {
                return;
            }
            if self.change(state, state & !HANDED, Ordering::Acquire) {
                return self.leave(0);
            }
        }
    }

    /// The caller has just opened a turn: wakes the readers, and one that wants to `upgrade`, and
    /// closes it.
    #[cold]
    fn turn(&self, upgrade: bool) {
        let mut woken = u64::from(self.wake(u32::MAX, READ));
        if upgrade {
            woken += u64::from(self.wake_upgradable());
        }
        loop {
            let state = self.load();
            let entered = (OPEN - (state & ALL_RESERVED)) / RESERVED;
            let reserved = woken.saturating_sub(entered) * RESERVED;
            let closed = (state & !ALL_RESERVED) | reserved;
            if self.change(state, closed, Ordering::AcqRel) {
                if is_awaited(closed) {
                    self.released();
                }
                return;
            }
        }
    }

    /// Nobody had the lock a moment ago, or nobody as upgradable, or nobody but that one; and
    /// somebody may sleep.
    #[cold]
    pub(super) fn released(&self) {
        loop {
            let state = self.load();
            if state & WRITER != 0 || state == 0 {
                // Whoever has the lock now will see the bits when it leaves.
                return;
            }
            let readers = !has_no_readers(state);
            if state & UPGRADABLE != 0 {
                if !readers && state & UPGRADING != 0 {
                    self.wake(1, UPGRADED);
                }
                return;
            }
            if readers {
                // One can have the upgradable lock beside them. The others are woken by the last
                // reader.
                if state & (UPGRADE_WAITS | WRITERS_WAIT) == UPGRADE_WAITS {
                    self.wake_upgradable();
                }
                return;
            }
            if state & WRITERS_WAIT == 0 {
                // An acquire: the readers must see what all writers before them have done.
                let upgrade = state & UPGRADE_WAITS;
                if self.change(state, upgrade | OPEN, Ordering::AcqRel) {
                    return self.turn(upgrade != 0);
                }
            } else if self.wake(1, WRITE) != 0
                || (self.change(state, state & !WRITERS_WAIT, Ordering::Relaxed)
                    // One that has come since then sleeps while the bit is set.
                    && self.wake(1, WRITE) != 0)
            {
                return;
            }
        }
    }

    /// A writer does not wait any longer. If it was the only one, the readers that it has kept
    /// out would sleep for nothing: so all have to look again.
    #[cold]
    fn gave_up(&self) {
        loop {
            let state = self.load();
            if state & WRITERS_WAIT == 0 {
                return;
            }
            // With a writer inside, the readers have to wait in any case.
            let (bits, mask) = if state & WRITER != 0 {
                (WRITERS_WAIT, WRITE)
            } else {
                (
                    WRITERS_WAIT | READERS_WAIT | UPGRADE_WAITS,
                    READ | WRITE | UPGRADE,
                )
            };
            if self.change(state, state & !bits, Ordering::Relaxed) {
                self.wake(u32::MAX, mask);
                return;
            }
        }
    }

    pub(super) fn wake(&self, nr: u32, mask: u64) -> u32 {
        os::wake::<S, _>(&self.state, nr, mask)
    }

    #[inline]
    pub(super) fn is_taken(&self) -> bool {
        !is_free(self.load())
    }

    #[inline]
    pub(super) fn is_taken_exclusive(&self) -> bool {
        self.load() & WRITER != 0
    }
}
