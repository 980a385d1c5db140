// SPDX-License-Identifier: GPL-2.0

//! Numbers that stand for an inode or an address space, and are never given to another one.
//!
//! The kernel has a field for such a number in each inode (`i_sequence`) and in each address space
//! (`futex.unique_id`). The field is 0 in a new object, and in an inode that a file system has
//! recycled in place. futex(2) fills it in when it is first needed, from a counter that modules
//! cannot access.
//!
//! The module does not need that counter. If the field is 0, either of the two may fill it in, and
//! each uses the number that it finds there. The module's numbers have bit 61 set, which the
//! kernel's counter never reaches, so that the two cannot give out the same number.
//!
//! C implementation: `get_object_id()` in [`kernel/futex/core.c`](srctree/kernel/futex/core.c)

use core::num::NonZero;
use kernel::{
    bindings,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed, //
    }, //
};

/// The bit that distinguishes the module's numbers from the kernel's own.
const OURS: NonZero<u64> = match NonZero::new(1 << 61) {
    Some(bit) => bit,
    None => NonZero::<u64>::MAX,
};

/// The number that was given out last, without the bit [`OURS`].
static LAST: Atomic<i64> = Atomic::new(0);

/// Sets the counter to the time since boot, in nanoseconds.
///
/// This must be called when the module is loaded. Numbers are given out far more slowly than one
/// per nanosecond. So if the module is unloaded and loaded again, the counter starts above all
/// numbers that were given out before.
pub(crate) fn begin() {
    // SAFETY: `ktime_get()` only reads the clock. It needs no lock, and may be called while a
    // module is loaded, because timekeeping is not suspended then.
    LAST.store(unsafe { bindings::ktime_get() }, Relaxed);
}

/// The number of an inode, of an address space or of an arena.
///
/// # Invariants
///
/// It is below 2^62.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(NonZero<u64>);

impl Number {
    /// A number that nothing else has.
    pub(crate) fn new() -> Self {
        // INVARIANT: The number has bit 61 set, and no higher one.
        Self(Self::next())
    }

    /// The next number of the module's own counter.
    fn next() -> NonZero<u64> {
        let next = LAST.fetch_add(1, Relaxed).wrapping_add(1) as u64;
        OURS | next & (OURS.get() - 1)
    }

    /// The number as an integer, whose two highest bits are 0.
    #[inline]
    pub(crate) fn get(self) -> NonZero<u64> {
        self.0
    }

    /// The number in the `field` of an object; `None` if the object has none yet.
    ///
    /// Implies acquire ordering: what is read after this is read after the number.
    #[inline]
    pub(super) fn read(field: &Atomic<i64>) -> Option<Self> {
        Self::of_field(field.load(Acquire))
    }

    /// The number in a field that has this `value`; `None` if the object has none yet.
    #[inline]
    pub(super) fn of_field(value: i64) -> Option<Self> {
        // INVARIANT: The kernel's numbers come from a counter that starts at 0 and is incremented
        // by 1, and those of the module are below 2^62.
        NonZero::new(value as u64).map(Self)
    }

    /// The number in the `field` of an object. The field is filled in if the object has none yet.
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

    /// Fills in a `field` that was 0, unless somebody else has done so since.
    #[cold]
    #[inline(never)]
    fn give(field: &Atomic<i64>) {
        // If this fails, somebody else has filled in the field, and the caller uses that number.
        let _ = field.cmpxchg(0, Self::next().get() as i64, Full);
    }

    /// A number that a test makes up, which must be below 2^62. 0 stands for 1.
    #[cfg(RFUTEX_KUNIT)]
    pub(crate) fn made_up(number: u64) -> Self {
        // INVARIANT: The caller has chosen a number within the limits.
        Self(NonZero::new(number).unwrap_or(NonZero::<u64>::MIN))
    }
}

#[cfg(RFUTEX_KUNIT)]
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
        assert!(first.get().get() & OURS.get() != 0 && first.get().get() < 2 * OURS.get());
        // A number that was given does not change.
        assert!(Number::read_or_give(&one) == first);
        assert!(Number::read(&one) == Some(first));
        Ok(())
    }

    #[test]
    fn number_of_the_kernel_is_taken() -> Result {
        let field = Atomic::new(4711);
        assert!(Number::read_or_give(&field).get().get() == 4711);
        assert!(field.load(Relaxed) == 4711);
        Ok(())
    }

    #[test]
    fn number_that_somebody_else_gave_first_is_taken() -> Result {
        let field = Atomic::new(5);
        // This is what happens if the field was 0 when it was read, and is filled in by somebody
        // else just then.
        Number::give(&field);
        assert!(Number::read(&field).map(|number| number.get().get()) == Some(5));
        Ok(())
    }

    #[test]
    fn no_number_is_below_the_time() -> Result {
        let field = Atomic::new(0);
        let given = Number::read_or_give(&field).get().get() & (OURS.get() - 1);
        begin();
        let again = Atomic::new(0);
        assert!(Number::read_or_give(&again).get().get() & (OURS.get() - 1) > given);
        Ok(())
    }
}
