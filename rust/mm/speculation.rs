// SPDX-License-Identifier: GPL-2.0

//! Looking at what is mapped without any lock: it may change meanwhile, but that is seen.
//!
//! Who changes what is mapped holds mmap_lock, and counts `mm->mm_lock_seq` up as it takes and as it
//! releases it. As uprobes find theirs (kernel/events/uprobes.c).
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

/// A time in which nothing that the current process has mapped has changed, so far.
///
/// # Invariants
///
/// `mm` is the current task's. Nobody held its mmap_lock for writing when `seq` was its count.
#[derive(Clone, Copy)]
pub(crate) struct Speculation<'a> {
    mm: NonNull<bindings::mm_struct>,
    seq: u32,
    _rcu: &'a rcu::Guard,
}

impl<'a> Speculation<'a> {
    /// Begins one, in an RCU section. `None`: somebody is changing what is mapped.
    #[inline(always)]
    pub(crate) fn begin(rcu: &'a rcu::Guard) -> Option<Self> {
        if lab::fault(Point::MmapLocked) {
            return None;
        }
        let mm = NonNull::new(task::current_mm_raw())?;
        let mut seq = 0;
        // SAFETY: It is the current task's mm, which it keeps.
        let begun =
            unsafe { helpers::rfutex_mmap_lock_speculate_try_begin(mm.as_ptr(), &raw mut seq) };
        // INVARIANT: Nobody held it.
        begun.then_some(Self { mm, seq, _rcu: rcu })
    }

    /// Whether all is as it was when this began.
    #[inline(always)]
    pub(crate) fn holds(self) -> bool {
        // SAFETY: By the type invariants, it is the current task's mm.
        !unsafe { helpers::rfutex_mmap_lock_speculate_retry(self.mm.as_ptr(), self.seq) }
    }

    /// Looks at what is mapped at `addr`. `None`: nothing is; or something has changed, so that what
    /// was seen may never have been.
    #[inline(always)]
    pub(crate) fn look<R>(self, addr: usize, look: impl FnOnce(Area<'a>) -> R) -> Option<R> {
        // SAFETY: It is the current task's mm. The function itself needs no more than RCU.
        let vma = NonNull::new(unsafe { bindings::vma_lookup(self.mm.as_ptr(), addr) })?;
        // SAFETY: What the tree has led to was in it when the RCU section began, or later. So all
        // that it names was alive then. It may end at any time, and be made anew; but the memory of
        // VMAs and files stays theirs (SLAB_TYPESAFE_BY_RCU), and that of an inode is freed by
        // `call_rcu()`, each after our section.
        let seen = look(unsafe { Area::from_raw(vma) });
        self.holds().then_some(seen)
    }

    /// Its count.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn seq(self) -> u32 {
        self.seq
    }

    /// The same, as if it had begun at another count.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn begun_at(self, seq: u32) -> Self {
        // INVARIANT: The caller has it from another one.
        Self { seq, ..self }
    }
}

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
#[kernel::prelude::kunit_tests(rfutex_speculation)]
mod tests {
    use super::*;
    use crate::lab::kunit::{
        attach_mm,
        Access::ReadWrite,
        Mapping, //
    };
    use kernel::prelude::*;

    /// Whether a time that begins before `change` still holds after it, by each way of asking.
    fn holds_over(addr: usize, change: impl FnOnce() -> Result) -> Result<(bool, bool)> {
        let seq = Speculation::begin(&rcu::read_lock()).ok_or(EDOM)?.seq();
        change()?;
        let rcu = rcu::read_lock();
        let speculation = Speculation::begin(&rcu).ok_or(EDOM)?;
        let seen = speculation.look(addr, |_| ());
        let old = speculation.begun_at(seq);
        let result = (old.holds(), old.look(addr, |_| ()).is_some());
        drop(rcu);
        // Else `look` says nothing.
        seen.ok_or(EDOM)?;
        Ok(result)
    }

    #[test]
    fn holds_while_nothing_changes() -> Result {
        let memory = Mapping::anonymous(1, ReadWrite)?;
        let undisturbed = holds_over(memory.at(0), || Ok(()))?;
        // A page is no mapping.
        let touched = holds_over(memory.at(0), || memory.write(0, &[1]))?;
        assert!(undisturbed == (true, true));
        assert!(touched == (true, true));
        Ok(())
    }

    #[test]
    fn what_is_mapped_or_unmapped_is_noticed() -> Result {
        let memory = Mapping::anonymous(1, ReadWrite)?;
        let mut other = None;
        let mapped = holds_over(memory.at(0), || {
            other = Some(Mapping::anonymous(1, ReadWrite)?);
            Ok(())
        })?;
        let unmapped = holds_over(memory.at(0), || {
            other = None;
            Ok(())
        })?;
        assert!(mapped == (false, false));
        assert!(unmapped == (false, false));
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
            speculation.look(addr, |_| ())
        };
        let mapped = look();
        drop(memory);
        assert!(mapped.is_some());
        assert!(look().is_none());
        Ok(())
    }
}
