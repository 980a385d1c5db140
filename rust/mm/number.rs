// SPDX-License-Identifier: GPL-2.0

//! Numbers that stand for an inode or an address space, and never for another one.
//!
//! The kernel has a field for such a number in each inode (`i_sequence`) and in each address space
//! (`futex.unique_id`). It is 0 in a new object, also in an inode that a file system recycles in
//! place, and futex(2) fills it in on first use, from a counter that modules cannot reach. It need
//! not be reached: whoever finds a 0 may fill it in, and whoever finds a number takes it. Our
//! numbers have bit 61 set, which the kernel's counter will never reach.
//!
//! C implementation: `get_object_id()` in [`kernel/futex/core.c`](srctree/kernel/futex/core.c)

use kernel::{
    bindings,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed, //
    }, //
};

/// The bit that sets our numbers apart from the kernel's own.
const OURS: u64 = 1 << 61;

/// The number that was given out last, less [`OURS`].
static LAST: Atomic<i64> = Atomic::new(0);

/// Sets the counter to the time since boot, in nanoseconds.
///
/// To be called when the module is loaded. Numbers are given out far more slowly than one each
/// nanosecond, so that a module that is loaded again begins beyond all that it gave out before.
pub(crate) fn begin() {
    // SAFETY: May be called in any context.
    LAST.store(unsafe { bindings::ktime_get() }, Relaxed);
}

/// The number of an inode or of an address space.
///
/// # Invariants
///
/// Not 0, and below 2^62.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(u64);

impl Number {
    /// The number, with room for two more bits above it.
    #[inline]
    pub(crate) fn get(self) -> u64 {
        self.0
    }

    /// The number in an object's `field`; `None` if the object has none yet.
    ///
    /// Implies acquire ordering: what is read after this is not older than the number.
    #[inline]
    pub(super) fn read(field: &Atomic<i64>) -> Option<Self> {
        match field.load(Acquire) {
            0 => None,
            // INVARIANT: It is not 0. The kernel's numbers are small, ours are below 2^62.
            number => Some(Self(number as u64)),
        }
    }

    /// The number in an object's `field`, which is filled in if the object has none yet.
    ///
    /// Implies acquire ordering, as [`Self::read`] does.
    #[inline]
    pub(super) fn read_or_give(field: &Atomic<i64>) -> Self {
        loop {
            if let Some(number) = Self::read(field) {
                return number;
            }
            Self::give(field);
        }
    }

    /// Fills in a `field` that was 0, unless somebody else does so first.
    #[cold]
    #[inline(never)]
    fn give(field: &Atomic<i64>) {
        let next = LAST.fetch_add(1, Relaxed).wrapping_add(1) as u64;
        // Whoever comes second reads the number of whoever came first.
        let _ = field.cmpxchg(0, (OURS | next & (OURS - 1)) as i64, Full);
    }

    /// A number out of nothing, which is to be as the type wants it.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn made_up(number: u64) -> Self {
        // INVARIANT: Made so.
        Self(number)
    }
}

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
#[kernel::prelude::kunit_tests(rfutex_number)]
mod tests {
    use super::*;
    use kernel::prelude::*;

    #[test]
    fn object_without_a_number_gets_one() -> Result {
        let (one, other) = (Atomic::new(0), Atomic::new(0));
        assert!(Number::read(&one).is_none());
        let (first, second) = (Number::read_or_give(&one), Number::read_or_give(&other));
        assert!(first != second);
        assert!(first.get() & OURS != 0 && first.get() < 2 * OURS);
        // Once given, it stays.
        assert!(Number::read_or_give(&one) == first);
        assert!(Number::read(&one) == Some(first));
        Ok(())
    }

    #[test]
    fn number_of_the_kernel_is_taken() -> Result {
        let field = Atomic::new(4711);
        assert!(Number::read_or_give(&field).get() == 4711);
        assert!(field.load(Relaxed) == 4711);
        Ok(())
    }

    #[test]
    fn number_that_somebody_else_gave_first_is_taken() -> Result {
        let field = Atomic::new(5);
        // As if it had been 0 a moment ago.
        Number::give(&field);
        assert!(Number::read(&field).map(Number::get) == Some(5));
        Ok(())
    }

    #[test]
    fn no_number_is_below_the_time() -> Result {
        let field = Atomic::new(0);
        let given = Number::read_or_give(&field).get() & (OURS - 1);
        begin();
        let again = Atomic::new(0);
        assert!(Number::read_or_give(&again).get() & (OURS - 1) > given);
        Ok(())
    }
}
