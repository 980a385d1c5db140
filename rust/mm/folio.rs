// SPDX-License-Identifier: GPL-2.0

//! `folio->mapping`, read without the folio lock.
//!
//! Reclaim, truncation and the swap-out of shmem may change this field at any time. What may be
//! concluded from its value, and at which point, is what [`crate::key::page`] is about.
//!
//! C header: [`include/linux/page-flags.h`](srctree/include/linux/page-flags.h)

use crate::{
    bindings as helpers,
    mm::{
        gup::PageRef,
        inode::Host, //
    },
};
use core::ptr::NonNull;
#[cfg(RFUTEX_LAB)]
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::rcu, //
};

/// A value that `folio->mapping` had. The address is only good for comparing: the mapping may have
/// been freed since.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileMapping(NonNull<bindings::address_space>);

/// What a folio belonged to when `folio->mapping` was read.
#[derive(Clone, Copy)]
pub(crate) enum Mapping {
    /// It is anonymous memory, which includes pages of KSM.
    Anonymous,
    /// It belongs to a file: it is in the page cache.
    File(FileMapping),
    /// It belongs to nothing: it is the zero page, or of the gate area, or was removed from its
    /// file after it was looked up.
    None,
}

impl PageRef {
    /// The current value of `folio->mapping`.
    #[inline]
    fn raw_mapping(&self) -> *mut bindings::address_space {
        // SAFETY: `self` has a reference on the folio, which keeps the folio from being freed.
        unsafe { helpers::rfutex_folio_mapping(self.folio()) }
    }

    /// What the page belongs to at this moment. Takes no lock.
    #[inline]
    pub(crate) fn mapping(&self) -> Mapping {
        let raw = self.raw_mapping();
        if raw.addr() & bindings::FOLIO_MAPPING_ANON as usize != 0 {
            return Mapping::Anonymous;
        }
        NonNull::new(raw).map_or(Mapping::None, |m| Mapping::File(FileMapping(m)))
    }

    /// Whether the page still belongs to `mapping`.
    #[inline]
    pub(crate) fn belongs_to(&self, mapping: FileMapping) -> bool {
        self.raw_mapping() == mapping.0.as_ptr()
    }

    /// The inode that hosts `mapping`; `None` if the page no longer belongs to that mapping, or the
    /// mapping has no host.
    ///
    /// The order in which this happens is what makes it safe. The RCU read-side critical section
    /// begins before `folio->mapping` is read again. The page cache removes a folio from its
    /// mapping before the inode is destroyed, and the inode is freed only after a further grace
    /// period. So a mapping that the page belongs to now remains valid memory until the critical
    /// section ends, even if the folio is removed from it in the next moment.
    #[inline]
    pub(crate) fn host<'rcu>(
        &self,
        mapping: FileMapping,
        _rcu: &'rcu rcu::Guard,
    ) -> Option<Host<'rcu>> {
        if !self.belongs_to(mapping) {
            return None;
        }
        if cfg!(CONFIG_PROVE_RCU) {
            // `rcu_dereference()` makes the same check.
            // SAFETY: The function only looks at the state of the current task and processor.
            unsafe { helpers::rfutex_assert_rcu() };
        }
        // SAFETY: The page still belonged to `mapping` after the RCU read-side critical section had
        // begun, so that `mapping` is valid memory until the section ends: see above. `host` may
        // change at the same time, hence the volatile read.
        let host = unsafe { (&raw const (*mapping.0.as_ptr()).host).read_volatile() };
        // SAFETY: The inode hosts a mapping that was seen in this RCU read-side critical section,
        // so that it is freed only after the section, for which `'rcu` stands.
        NonNull::new(host).map(|inode| unsafe { Host::from_raw(inode) })
    }

    /// Holds the folio lock for the given number of `milliseconds`. Meanwhile, `held` is higher by
    /// 1.
    ///
    /// # Errors
    ///
    /// `EINTR`: the task was killed while it waited for the lock.
    ///
    /// # Context
    ///
    /// Process context, no locks held. Sleeps.
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn hold_lock(&self, milliseconds: u32, held: &Atomic<u32>) -> Result {
        let _lock = FolioLock::take(self)?;
        held.add(1, Relaxed);
        // SAFETY: The function may be called wherever a task may sleep, which this function
        // requires of its caller; and to sleep is allowed with the folio lock held.
        unsafe { bindings::msleep_interruptible(milliseconds) };
        held.fetch_sub(1, Relaxed);
        Ok(())
    }
}

/// The lock of a page's folio. It is released when this is dropped.
///
/// # Invariants
///
/// The lock is held on behalf of this object.
pub(crate) struct FolioLock<'p>(&'p PageRef);

impl<'p> FolioLock<'p> {
    /// Takes the lock of the folio of `page`.
    ///
    /// # Errors
    ///
    /// `EINTR`: the task was killed while it waited.
    ///
    /// # Context
    ///
    /// Process context, no spinlocks held. May sleep, for as long as another task holds the lock.
    pub(crate) fn take(page: &'p PageRef) -> Result<Self> {
        // SAFETY: `page` has a reference on the folio, which keeps the folio from being freed.
        to_result(unsafe { helpers::rfutex_folio_lock_killable(page.folio()) })?;
        // INVARIANT: The lock was just taken.
        Ok(Self(page))
    }

    /// Whether a page that was seen without a mapping has one after all, or is in the swap cache.
    ///
    /// shmem moves a page from a file to the swap cache, and back, under the folio lock. If a page
    /// was seen in the middle of that, the caller has to look again. Any other page without a
    /// mapping never gets one.
    pub(crate) fn is_moving(&self) -> bool {
        // SAFETY: The `PageRef` has a reference on the folio, which keeps the folio from being
        // freed.
        let in_swap_cache = unsafe { helpers::rfutex_folio_test_swapcache(self.0.folio()) };
        in_swap_cache || !self.0.raw_mapping().is_null()
    }
}

impl Drop for FolioLock<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the lock is held on behalf of this object, and the
        // `PageRef` keeps the folio from being freed.
        unsafe { bindings::folio_unlock(self.0.folio()) };
    }
}

#[cfg(RFUTEX_KUNIT)]
#[kunit_tests(rfutex_folio)]
mod tests {
    use super::*;
    use crate::{
        lab::kunit::{
            Access::{
                Read,
                ReadWrite, //
            },
            Mapping as Memory,
            OnFile, //
        },
        mm::gup::Access, //
    };

    /// The mapping of `page`, which must be a page of a file.
    fn file_mapping(page: &PageRef) -> Result<FileMapping> {
        match page.mapping() {
            Mapping::File(mapping) => Ok(mapping),
            _ => Err(EDOM),
        }
    }

    #[test]
    fn anonymous_page_says_so() -> Result {
        let memory = Memory::anonymous(1, ReadWrite)?;
        let page = PageRef::get(memory.at(0), Access::Write)?;
        assert!(matches!(page.mapping(), Mapping::Anonymous));
        Ok(())
    }

    #[test]
    fn zero_page_has_no_mapping_and_gets_none() -> Result {
        let memory = Memory::anonymous(1, Read)?;
        let page = PageRef::get(memory.at(0), Access::Read)?;
        assert!(matches!(page.mapping(), Mapping::None));
        let written = PageRef::get(memory.at(0), Access::Write).err();
        assert!(written == Some(EFAULT));
        assert!(!FolioLock::take(&page)?.is_moving());
        Ok(())
    }

    #[test]
    fn page_of_a_file_belongs_to_it_and_to_no_other() -> Result {
        let (one, other) = (OnFile::new()?, OnFile::new()?);
        let page = PageRef::get(one.mapping()?.at(0), Access::Read)?;
        let elsewhere = PageRef::get(other.mapping()?.at(0), Access::Read)?;
        let (mapping, stranger) = (file_mapping(&page)?, file_mapping(&elsewhere)?);
        let rcu = rcu::read_lock();
        let host = page.host(mapping, &rcu).map(Host::addr);
        let strange = page.host(stranger, &rcu).is_none();
        drop(rcu);
        let belongs = [mapping, stranger].map(|mapping| page.belongs_to(mapping));
        let moving = FolioLock::take(&page).map(|lock| lock.is_moving());
        drop((page, elsewhere));
        assert_eq!(host, Some(one.file()?.inode().addr().get()));
        assert!(strange);
        assert_eq!(belongs, [true, false]);
        // The page is not being moved, but has a mapping, for which the answer is the same.
        assert!(moving?);
        Ok(())
    }

    #[test]
    fn page_that_was_cut_off_belongs_to_nothing() -> Result {
        let on_file = OnFile::new()?;
        let page = PageRef::get(on_file.mapping()?.at(0), Access::Read)?;
        let mapping = file_mapping(&page)?;
        on_file.file()?.resize(0)?;
        let rcu = rcu::read_lock();
        let hostless = page.host(mapping, &rcu).is_none();
        drop(rcu);
        let nowhere = matches!(page.mapping(), Mapping::None);
        let belongs = page.belongs_to(mapping);
        let moving = FolioLock::take(&page).map(|lock| lock.is_moving());
        drop(page);
        assert!(hostless);
        assert!(nowhere);
        assert!(!belongs);
        assert!(!moving?);
        Ok(())
    }
}
