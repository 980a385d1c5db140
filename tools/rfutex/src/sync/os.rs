// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the algorithms of this module are written against: atomics, a wait and a
//! wake. The models in `tests/sync_models` put their own in this place.

use super::place::Place;
use crate::raw::uapi::RFUTEX_MASK_ANY;
use crate::{Atomic, Error, Rfutex, WaitOptions, Word};

pub use crate::Deadline;
pub use std::hint::spin_loop;
pub use std::process::abort;
pub use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// How often a thread looks at a word before it sleeps on it.
///
/// Spinning pays where a lock is held for a shorter time than it takes to sleep and
/// to be woken. Both a hundred looks and that time are in the order of a
/// microsecond, so a thread that spins in vain has lost no more than another
/// sleep would have cost it. The mutex of the standard library has the same number.
pub const SPINS: u32 = 100;

/// Every waiter, whatever its mask.
pub const ANY: u64 = RFUTEX_MASK_ANY;

mod sealed {
    pub trait Sealed {}
}

/// Which threads can meet on a lock: [`Shared`] or [`Private`].
pub trait Scope: sealed::Sealed + Send + Sync + 'static {
    /// Whether only threads of one process meet.
    const PRIVATE: bool;
}

/// All threads that have the memory of the lock mapped, in whatever processes.
#[derive(Debug, Clone, Copy)]
pub struct Shared;

/// The threads of one process. The kernel need not find out what kind of memory the
/// lock lies in, which is cheaper.
#[derive(Debug, Clone, Copy)]
pub struct Private;

impl sealed::Sealed for Shared {}
impl sealed::Sealed for Private {}

impl Scope for Shared {
    const PRIVATE: bool = false;
}

impl Scope for Private {
    const PRIVATE: bool = true;
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// A wake has counted this thread. (Or one that was meant for something else
    /// which lay at this address before: so nobody owns anything by this alone.)
    Woken,
    /// The word has another value, or a signal came. No wake has counted this thread.
    Changed,
    /// The deadline passed. No wake has counted this thread.
    TimedOut,
}

/// The word of a lock. What is done with it is no longer generic, and so a part of this crate.
#[derive(Clone, Copy)]
struct At {
    addr: usize,
    size: u32,
    private: bool,
}

impl At {
    #[inline]
    fn of<S: Scope, A: Atomic>(atomic: &A) -> Self {
        Self {
            addr: std::ptr::from_ref(atomic).addr(),
            size: size_of::<A>() as u32,
            private: S::PRIVATE,
        }
    }

    /// Where it is, and its name there.
    fn find(self) -> Result<(Place, Word<'static>), Error> {
        let place = Place::of(self.addr, self.private)?;
        let word = place.word(self.size, self.private);
        Ok((place, word))
    }

    fn place(self) -> (Place, Word<'static>) {
        self.find().unwrap_or_else(no_device)
    }

    fn wait(self, val: u64, mask: u64, deadline: Option<Deadline>) -> Waited {
        let (place, word) = self.place();
        let options = WaitOptions {
            mask,
            deadline,
            ..WaitOptions::default()
        };
        match place.rfutex().wait_with(word, val, options) {
            Ok(()) => Waited::Woken,
            Err(Error::Again | Error::Interrupted) => Waited::Changed,
            Err(Error::TimedOut) => Waited::TimedOut,
            Err(error) => panic!("rfutex: a thread cannot sleep on a lock: {error}"),
        }
    }

    // Another thread may have been faster: it has taken the lock, given it back, and unmapped
    // the memory. Then nobody waits there any more.
    fn wake(self, nr: u32, mask: u64) -> u32 {
        let (place, word) = match self.find() {
            Ok(found) => found,
            // It may have been an arena, for which no device was needed.
            Err(_) if !self.is_mapped() => return 0,
            Err(error) => no_device(error),
        };
        let rfutex = place.rfutex();
        let result = match (nr, mask) {
            (1, ANY) => rfutex.wake_one(word),
            (u32::MAX, ANY) => rfutex.wake_all(word),
            _ => rfutex.wake(word, nr, mask),
        };
        match result {
            Ok(woken) => woken,
            Err(Error::Fault) => 0,
            Err(error) => panic!("rfutex: the waiters of a lock cannot be woken: {error}"),
        }
    }

    /// Whether there is memory of any kind.
    fn is_mapped(self) -> bool {
        let mut resident = 0;
        // SAFETY: It has no argument.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let start = std::ptr::without_provenance_mut(self.addr & !(page - 1));
        // SAFETY: It writes one byte for one page, and does nothing to the page.
        unsafe { libc::mincore(start, page, &raw mut resident) == 0 }
    }

    fn requeue(self, to: Self) -> bool {
        let ((from_place, from), (to_place, to)) = (self.place(), to.place());
        if !from_place.has_table_of(&to_place) {
            return false;
        }
        match from_place.rfutex().requeue(from, to, 0, u32::MAX) {
            Ok(_) => true,
            // Waiters of other processes are not moved to just any word.
            Err(Error::Invalid) => false,
            Err(error) => panic!("rfutex: the waiters of a condition cannot be moved: {error}"),
        }
    }
}

fn no_device<T>(error: Error) -> T {
    panic!(
        "rfutex: a lock is contended, and {} cannot be opened: {error}",
        Rfutex::PATH
    )
}

/// Sleeps while `atomic` has the value `val`, until a wake that shares a bit with
/// `mask`.
pub fn wait<S: Scope, A: Atomic>(
    atomic: &A,
    val: u64,
    mask: u64,
    deadline: Option<Deadline>,
) -> Waited {
    At::of::<S, A>(atomic).wait(val, mask, deadline)
}

/// Wakes up to `nr` of those that wait on `atomic` with a bit of `mask`. Returns how
/// many it woke.
pub fn wake<S: Scope, A: Atomic>(atomic: &A, nr: u32, mask: u64) -> u32 {
    At::of::<S, A>(atomic).wake(nr, mask)
}

/// Lets all that wait on `from` wait on `to` instead. False if that is not possible:
/// then none was moved.
pub fn requeue<S: Scope, A: Atomic, B: Atomic>(from: &A, to: &B) -> bool {
    At::of::<S, A>(from).requeue(At::of::<S, B>(to))
}

/// Panics now if a thread cannot wait on `atomic` for want of the device, and not when it is too
/// late.
pub fn need_place<S: Scope, A: Atomic>(atomic: &A) {
    At::of::<S, A>(atomic).place();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where these tests run there is no device.
    #[test]
    fn without_a_device() {
        if Rfutex::open().is_ok() {
            return;
        }
        let word = AtomicU32::new(0);
        let wake = || wake::<Shared, _>(&word, 1, ANY);
        let panic = std::panic::catch_unwind(wake).expect_err("no device");
        let message = panic.downcast_ref::<String>().expect("a sentence");
        assert!(
            message.starts_with("rfutex: a lock is contended, and /dev/rfutex cannot be opened: "),
            "{message}"
        );
    }

    #[test]
    fn nobody_waits_where_nothing_is_mapped() {
        let nowhere = At {
            addr: 4096,
            size: 4,
            private: false,
        };
        assert!(!nowhere.is_mapped());
        assert_eq!(nowhere.wake(1, ANY), 0);
        let word = AtomicU32::new(0);
        assert!(At::of::<Shared, _>(&word).is_mapped());
    }
}
