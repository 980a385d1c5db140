// SPDX-License-Identifier: GPL-2.0

//! `folio->mapping`, read without the folio lock.
//!
//! Reclaim, truncation and shmem's swap-out change it under us at any time. What may be concluded
//! from reading it, and when, is the whole art of [`crate::key::page`].
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

/// The value that `folio->mapping` had. An address to compare, not to follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileMapping(NonNull<bindings::address_space>);

/// What `folio->mapping` said when it was read.
#[derive(Clone, Copy)]
pub(crate) enum Mapping {
    /// An anonymous page, KSM included.
    Anonymous,
    /// A page of a file: page cache of any kind.
    File(FileMapping),
    /// Neither: the zero page, the gate area, or a page that was cut off its file since we found it.
    None,
}

impl PageRef {
    #[inline]
    fn raw_mapping(&self) -> *mut bindings::address_space {
        // SAFETY: `self` keeps the folio from being freed.
        unsafe { helpers::rfutex_folio_mapping(self.folio()) }
    }

    /// What the page belongs to, at this moment. Takes no lock.
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

    /// The inode behind `mapping`, if the page still belongs to it.
    ///
    /// The order is the point. The RCU section began before `folio->mapping` is read again; the
    /// page cache takes a folio out of a mapping before the inode goes, and an inode is freed a
    /// grace period after that; so a mapping that is still there now stays readable for as long as
    /// the section lasts, even if the folio is taken out of it the next moment.
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
            // As `rcu_dereference()` asks.
            // SAFETY: Looks at the current context only.
            unsafe { helpers::rfutex_assert_rcu() };
        }
        // SAFETY: As argued above, `mapping` is valid memory for as long as the RCU section lasts.
        // `host` may change under us, hence the volatile read.
        let host = unsafe { (&raw const (*mapping.0.as_ptr()).host).read_volatile() };
        // SAFETY: An inode that hosts a mapping inside this RCU section is freed only after it.
        NonNull::new(host).map(|inode| unsafe { Host::from_raw(inode) })
    }

    /// Holds the folio lock for so many milliseconds, counted in `held` meanwhile.
    ///
    /// # Errors
    ///
    /// `EINTR`: the task was killed while it waited for the lock.
    ///
    /// # Context
    ///
    /// Sleeps.
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn hold_lock(&self, milliseconds: u32, held: &Atomic<u32>) -> Result {
        let _lock = FolioLock::take(self)?;
        held.add(1, Relaxed);
        // SAFETY: By the context that is asked for, the task may sleep.
        unsafe { bindings::msleep_interruptible(milliseconds) };
        held.fetch_sub(1, Relaxed);
        Ok(())
    }
}

/// The lock of a page's folio.
///
/// # Invariants
///
/// We hold it.
pub(crate) struct FolioLock<'p>(&'p PageRef);

impl<'p> FolioLock<'p> {
    /// Takes the lock.
    ///
    /// # Errors
    ///
    /// `EINTR`: the task was killed while it waited.
    ///
    /// # Context
    ///
    /// May sleep, for as long as another holds it.
    pub(crate) fn take(page: &'p PageRef) -> Result<Self> {
        // SAFETY: `page` keeps the folio from being freed.
        to_result(unsafe { helpers::rfutex_folio_lock_killable(page.folio()) })?;
        // INVARIANT: We just took it.
        Ok(Self(page))
    }

    /// Whether a page that was seen without a mapping has one after all.
    ///
    /// shmem moves a page from the file to the swap cache, and back, under the folio lock; a page
    /// found in the middle of that is not lost, only on its way, and the caller has to look again.
    /// Anything else without a mapping stays without.
    pub(crate) fn is_moving(&self) -> bool {
        // SAFETY: The page keeps the folio from being freed.
        let in_swap_cache = unsafe { helpers::rfutex_folio_test_swapcache(self.0.folio()) };
        in_swap_cache || !self.0.raw_mapping().is_null()
    }
}

impl Drop for FolioLock<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, we hold it.
        unsafe { bindings::folio_unlock(self.0.folio()) };
    }
}

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
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

    /// The mapping of a page of a file.
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
        // Not on its way, but there: under the lock, that means the same.
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
