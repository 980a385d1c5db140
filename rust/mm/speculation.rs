// SPDX-License-Identifier: GPL-2.0

//! Looking at what is mapped without any lock. It may change at the same time, but that is noticed.
//!
//! A task that changes the address space holds mmap_lock for writing. It increments
//! `mm->mm_lock_seq` both when it takes that lock and when it releases it. If the count was even,
//! and has not changed after the VMA was read, what was read is consistent. Uprobes look up their
//! VMA in the same way (kernel/events/uprobes.c).
//!
//! C header: [`include/linux/mmap_lock.h`](srctree/include/linux/mmap_lock.h)

use crate::{
    bindings as helpers,
    lab::{
        self,
        Point, //
    },
    mm::{
        task,
        vma::Area, //
    },
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    sync::rcu, //
};

/// A period that began when nobody was changing the address space of the current process.
/// [`Self::holds`] tells whether that is still true.
///
/// # Invariants
///
/// `mm` is the current task's mm. When its sequence count was `seq`, nobody held its mmap_lock for
/// writing.
#[derive(Clone, Copy)]
pub(crate) struct Speculation<'a> {
    mm: NonNull<bindings::mm_struct>,
    seq: u32,
    _rcu: &'a rcu::Guard,
}

impl<'a> Speculation<'a> {
    /// Begins such a period, in an RCU read-side critical section. Returns `None` if somebody is
    /// changing the address space, if the task has no mm, or if the kernel has no such count.
    #[inline(always)]
    pub(crate) fn begin(rcu: &'a rcu::Guard) -> Option<Self> {
        if lab::fault(Point::MmapLocked) {
            return None;
        }
        let mm = NonNull::new(task::current_mm_raw())?;
        let mut seq = 0;
        // SAFETY: This is the current task's mm, on which the task has a reference, and `seq` is
        // valid for a write.
        let begun =
            unsafe { helpers::rfutex_mmap_lock_speculate_try_begin(mm.as_ptr(), &raw mut seq) };
        if lab::fault(Point::AreaChanged) {
            // This is as if it had begun before the address space was changed last.
            seq = seq.wrapping_sub(2);
        }
        // INVARIANT: If the function returns true, nobody held the lock when the count was `seq`,
        // or 2 less than that.
        begun.then_some(Self { mm, seq, _rcu: rcu })
    }

    /// Whether nobody has changed the address space since this began.
    #[inline(always)]
    pub(crate) fn holds(self) -> bool {
        // SAFETY: By the type invariants, this is the current task's mm, on which the task has a
        // reference.
        !unsafe { helpers::rfutex_mmap_lock_speculate_retry(self.mm.as_ptr(), self.seq) }
    }

    /// What is mapped at the address `addr`; `None` if nothing is.
    ///
    /// What the caller reads there counts only if [`Self::holds`] returns true afterwards.
    /// Otherwise it may be a state that never existed.
    #[inline(always)]
    pub(crate) fn area(self, addr: usize) -> Option<Area<'a>> {
        // SAFETY: This is the current task's mm, on which the task has a reference. The function
        // walks a tree that is protected by RCU, and `self` borrows an RCU read-side critical
        // section.
        let vma = NonNull::new(unsafe { bindings::vma_lookup(self.mm.as_ptr(), addr) })?;
        // SAFETY: The VMA was found in the tree in the RCU read-side critical section. So the VMA,
        // its file and the inode that hosts the file were still alive when the section began. They
        // may be freed at any time, and VMAs and files may then be reused. But the memory of VMAs
        // and files remains that of a VMA or file until the section ends (SLAB_TYPESAFE_BY_RCU),
        // and inodes are freed by `call_rcu()`. So all of them are valid memory for `'a`.
        Some(unsafe { Area::from_raw(vma) })
    }

    /// The sequence count at which this began.
    #[cfg(RFUTEX_KUNIT)]
    pub(crate) fn seq(self) -> u32 {
        self.seq
    }

    /// What this would be if it had begun at another sequence count, which must be that of another
    /// speculation on the same mm.
    #[cfg(RFUTEX_KUNIT)]
    pub(crate) fn begun_at(self, seq: u32) -> Self {
        // INVARIANT: The count is that of another speculation, for which the invariants hold.
        Self { seq, ..self }
    }
}

#[cfg(RFUTEX_KUNIT)]
#[kernel::prelude::kunit_tests(rfutex_speculation)]
mod tests {
    use super::*;
    use crate::lab::kunit::{
        attach_mm,
        Access::ReadWrite,
        Mapping, //
    };
    use kernel::prelude::*;

    /// Whether a speculation that began before `change` still holds after it.
    fn holds_over(change: impl FnOnce() -> Result) -> Result<bool> {
        let seq = Speculation::begin(&rcu::read_lock()).ok_or(EDOM)?.seq();
        change()?;
        let rcu = rcu::read_lock();
        let speculation = Speculation::begin(&rcu).ok_or(EDOM)?;
        Ok(speculation.begun_at(seq).holds())
    }

    #[test]
    fn holds_while_nothing_changes() -> Result {
        let memory = Mapping::anonymous(1, ReadWrite)?;
        let undisturbed = holds_over(|| Ok(()))?;
        // To fault in a page does not change what is mapped.
        let touched = holds_over(|| memory.write(0, &[1]))?;
        assert!(undisturbed);
        assert!(touched);
        Ok(())
    }

    #[test]
    fn what_is_mapped_or_unmapped_is_noticed() -> Result {
        attach_mm()?;
        let mut other = None;
        let mapped = holds_over(|| {
            other = Some(Mapping::anonymous(1, ReadWrite)?);
            Ok(())
        })?;
        let unmapped = holds_over(|| {
            other = None;
            Ok(())
        })?;
        assert!(!mapped);
        assert!(!unmapped);
        Ok(())
    }

    #[test]
    fn nothing_is_seen_where_nothing_is_mapped() -> Result {
        attach_mm()?;
        let memory = Mapping::anonymous(1, ReadWrite)?;
        let addr = memory.at(0);
        let look = || {
            let rcu = rcu::read_lock();
            let speculation = Speculation::begin(&rcu)?;
            speculation.area(addr).map(|_| ())
        };
        let mapped = look();
        drop(memory);
        assert!(mapped.is_some());
        assert!(look().is_none());
        Ok(())
    }
}
