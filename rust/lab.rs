// SPDX-License-Identifier: GPL-2.0

//! What only lab builds (`RFUTEX_LAB=y`) have: ways to make every failure happen, and to see it.
//!
//! In other builds all of this is nothing.

#[cfg(RFUTEX_LAB)]
mod debugfs;
#[cfg(RFUTEX_LAB)]
mod faults;
#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
pub(crate) mod kunit;
#[cfg(RFUTEX_LAB)]
mod page_refs;
#[cfg(RFUTEX_LAB)]
mod splat;

#[cfg(RFUTEX_LAB)]
pub(crate) use self::{
    debugfs::Lab,
    faults::fault,
    page_refs::{
        assert_no_page_ref,
        page_ref_dropped,
        page_ref_taken, //
    },
};

/// Where a fault can be made to happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// Allocating a table or an open file.
    Allocate,
    /// Copying a struct of the interface in.
    CopyIn,
    /// Copying one out.
    CopyOut,
    /// Reading the word under the bucket's lock: as if it were not in memory.
    ReadWord,
    /// Resolver, step 3: as if the page had no mapping.
    NoMapping,
    /// Resolver, step 5: as if the mapping had lost its host.
    HostGone,
    /// Resolver, step 6: as if the inode were on its way out.
    InodeGoing,
    /// Resolver, step 7: as if the mapping had changed.
    MappingChanged,
    /// VMA resolver: as if somebody were changing something that is mapped.
    MmapLocked,
    /// VMA resolver: as if somebody were changing the VMA.
    VmaLocked,
}

#[cfg(not(RFUTEX_LAB))]
mod off {
    /// Whether `point` is to fail now.
    #[inline(always)]
    pub(crate) fn fault(_point: super::Point) -> bool {
        false
    }

    /// The current task took a reference on a folio.
    #[inline(always)]
    pub(crate) fn page_ref_taken() {}

    /// The current task gave one back.
    #[inline(always)]
    pub(crate) fn page_ref_dropped() {}

    /// Complains if the current task holds a reference on a folio.
    #[inline(always)]
    pub(crate) fn assert_no_page_ref() {}
}

#[cfg(not(RFUTEX_LAB))]
pub(crate) use off::*;

/// Makes memory that nobody may look at any more recognisable.
///
/// KASAN does not see it when a stack is used after its function returned. A link that was poisoned
/// leads to a non-canonical address, and who follows it crashes.
///
/// # Safety
///
/// `what` must be valid for writes, and never be read again as a `T`, not by its destructor either.
#[cfg(RFUTEX_LAB)]
pub(crate) unsafe fn poison<T>(what: *mut T) {
    // SAFETY: By the function's requirements.
    unsafe { what.cast::<u8>().write_bytes(0xa5, size_of::<T>()) };
}
