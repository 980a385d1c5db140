// SPDX-License-Identifier: MIT OR Apache-2.0
//! The upgradable form of the lock for one writer or many readers.
//!
//! One thread at a time has the lock as `UPGRADABLE`, beside any number of readers, and may
//! become the writer. It is not counted as a reader. When it wants to write, it sets
//! `UPGRADING`, which keeps new readers out, and sleeps until the last reader has left: it comes
//! before the writers that wait.
//!
//! Those that want the lock as upgradable are like readers that exclude each other. They stay out
//! while a writer waits, and one of them is woken with the readers whose turn it is, and has a
//! read lock reserved. If another was faster it gives that back. Besides, one is woken
//! when the upgradable lock is given up and no writer waits.
//!
//! The upgradable lock is that of parking_lot, as `lock_api` has it.

use super::os::{self, Deadline, Ordering, Scope, Waited};
use super::rwlock::{
    ALL_RESERVED, OUT, READ, READERS_WAIT, RESERVED, RawRwLock, UPGRADABLE, UPGRADE, UPGRADE_WAITS,
    UPGRADED, UPGRADING, WRITER, WRITERS_WAIT, has_no_readers, is_free,
};

impl<S: Scope> RawRwLock<S> {
    #[inline]
    pub(super) fn try_acquire_upgradable(&self) -> bool {
        let mut state = self.load();
        while state & (OUT | UPGRADABLE) == 0 {
            if self.change(state, state | UPGRADABLE, Ordering::Acquire) {
                return true;
            }
            state = self.load();
        }
        false
    }

    /// False if the deadline passed.
    #[cold]
    pub(super) fn acquire_upgradable_slow(&self, deadline: Option<Deadline>) -> bool {
        // What is set with `UPGRADABLE`: that there may be others who sleep.
        let mut others = 0;
        let (mut woken, mut spins) = (false, os::SPINS);
        loop {
            let state = self.load();
            let next = if woken && state & ALL_RESERVED != 0 {
                if state & UPGRADABLE != 0 {
                    woken = !self.give_back(state);
                    continue;
                }
                (state - RESERVED) | UPGRADABLE | others
            } else if state & (OUT | UPGRADABLE) == 0 {
                state | UPGRADABLE | others
            } else if state & (READERS_WAIT | WRITERS_WAIT | UPGRADE_WAITS) == 0 && spins > 0 {
                spins -= 1;
                os::spin_loop();
                continue;
            } else if state & UPGRADE_WAITS == 0 {
                self.change(state, state | UPGRADE_WAITS, Ordering::Relaxed);
                continue;
            } else {
                match os::wait::<S, _>(&self.state, state, UPGRADE, deadline) {
                    Waited::Woken => {
                        (others, woken, spins) = (UPGRADE_WAITS, true, os::SPINS);
                    }
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

    /// Another thread has the upgradable lock, so that a reserved lock is of no use. If that was
    /// the last one, the other may be waiting for it.
    fn give_back(&self, state: u64) -> bool {
        let next = state - RESERVED;
        let changed = self.change(state, next, Ordering::Release);
        if changed && has_no_readers(next) {
            self.released();
        }
        changed
    }

    #[inline]
    pub(super) fn release_upgradable(&self) {
        let state = self.state.fetch_and(!UPGRADABLE, Ordering::Release) & !UPGRADABLE;
        if state & UPGRADE_WAITS != 0 || (is_free(state) && state != 0) {
            self.released();
        }
    }

    /// If there are no readers, a writer that sleeps has the lock next.
    pub(super) fn release_upgradable_fair(&self) {
        if !self.hand_to_writer(UPGRADABLE) {
            self.release_upgradable();
        }
    }

    /// The upgradable lock becomes that of a reader.
    pub(super) fn downgrade_upgradable(&self) {
        let change = UPGRADABLE - 1;
        let state = self.state.fetch_sub(change, Ordering::Release) - change;
        if state & UPGRADE_WAITS != 0 {
            self.released();
        }
    }

    /// The writer has the upgradable lock instead, and all readers that sleep enter.
    pub(super) fn downgrade_to_upgradable(&self) {
        self.become_other(UPGRADABLE);
    }

    /// Makes the upgradable lock, which the caller has, that of a writer, if there are no readers.
    #[inline]
    pub(super) fn try_upgrade_now(&self) -> bool {
        let mut state = self.load();
        while has_no_readers(state) {
            if self.change(state, Self::upgraded(state), Ordering::Acquire) {
                return true;
            }
            state = self.load();
        }
        false
    }

    fn upgraded(state: u64) -> u64 {
        (state & !(UPGRADABLE | UPGRADING)) | WRITER
    }

    /// Waits until there are no readers. False if the deadline passed: then the caller has the
    /// upgradable lock still.
    #[cold]
    pub(super) fn upgrade_slow(&self, deadline: Option<Deadline>) -> bool {
        let mut spins = os::SPINS;
        loop {
            if self.try_upgrade_now() {
                return true;
            }
            let state = self.load();
            if has_no_readers(state) {
                continue;
            }
            if state & UPGRADING == 0 {
                self.change(state, state | UPGRADING, Ordering::Relaxed);
            } else if spins > 0 {
                spins -= 1;
                os::spin_loop();
            } else if os::wait::<S, _>(&self.state, state, UPGRADED, deadline) == Waited::TimedOut {
                self.stop_upgrading();
                return false;
            }
        }
    }

    /// The caller does not wait any longer: the readers that it has kept out have to look again.
    #[cold]
    fn stop_upgrading(&self) {
        loop {
            let state = self.load();
            if self.change(
                state,
                state & !(UPGRADING | READERS_WAIT),
                Ordering::Relaxed,
            ) {
                if state & READERS_WAIT != 0 {
                    self.wake(u32::MAX, READ);
                }
                return;
            }
        }
    }

    /// Wakes one of those that want the upgradable lock. Returns how many it woke.
    #[cold]
    pub(super) fn wake_upgradable(&self) -> u32 {
        let woken = self.wake(1, UPGRADE);
        if woken != 0 {
            return woken;
        }
        // One that has come since then sleeps while the bit is set. It sets it again when it has the
        // lock, as there may be others.
        self.state.fetch_and(!UPGRADE_WAITS, Ordering::Relaxed);
        self.wake(1, UPGRADE)
    }
}
