// SPDX-License-Identifier: GPL-2.0

//! What only lab builds (`RFUTEX_LAB=y`) have: ways to make every failure happen, and to notice its
//! effects.
//!
//! In other builds, the functions here do nothing.

#[cfg(RFUTEX_LAB)]
mod debugfs;
#[cfg(RFUTEX_LAB)]
mod faults;
#[cfg(RFUTEX_KUNIT)]
pub(crate) mod kunit;
#[cfg(RFUTEX_LAB)]
mod page_refs;
#[cfg(RFUTEX_LAB)]
mod splat;

#[cfg(RFUTEX_LAB)]
pub(crate) use self::{
    debugfs::Lab,
    faults::{
        fault,
        pause, //
    },
    page_refs::{
        assert_no_page_ref,
        page_ref_dropped,
        page_ref_taken, //
    },
};

/// A place in the code where a fault can be made to happen, or, with the last two, where a task can
/// be made to stay for a while.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// An allocation fails: of a table, of an open file, of the waiters of a call, of an account,
    /// or of a slot of an index.
    Allocate,
    /// Copying a struct of the interface from user memory fails.
    CopyIn,
    /// Copying a struct of the interface to user memory fails.
    CopyOut,
    /// Reading a word without faulting it in fails, as if it were not in memory.
    ReadWord,
    /// Step 3 of a resolver finds that the page has no mapping.
    NoMapping,
    /// Step 5 of a resolver finds that the mapping has no host any more.
    HostGone,
    /// Step 6 of a resolver finds that the inode is being destroyed.
    InodeGoing,
    /// Step 7 of a resolver finds that the mapping has changed.
    MappingChanged,
    /// The VMA resolver finds that somebody is changing the address space.
    MmapLocked,
    /// The VMA resolver finds that somebody has changed the address space while it looked.
    AreaChanged,
    /// The VMA resolver finds that somebody is changing the VMA.
    VmaLocked,
    /// A thread has been looked up and has not ended. Whether it is a main thread is looked up next.
    ThreadFound,
    /// The task that a process id stands for has been looked up. Whether it has ended is looked up
    /// next.
    ProcessFound,
}

#[cfg(not(RFUTEX_LAB))]
mod off {
    /// Whether the operation at `point` has to fail now.
    #[inline(always)]
    pub(crate) fn fault(_point: super::Point) -> bool {
        false
    }

    /// Keeps the current task at `point` for a while, if somebody wants that.
    #[inline(always)]
    pub(crate) fn pause(_point: super::Point) {}

    /// Notes that the current task has taken a reference on a folio.
    #[inline(always)]
    pub(crate) fn page_ref_taken() {}

    /// Notes that the current task has put a reference on a folio.
    #[inline(always)]
    pub(crate) fn page_ref_dropped() {}

    /// Warns if the current task holds a reference on a folio.
    #[inline(always)]
    pub(crate) fn assert_no_page_ref() {}
}

#[cfg(not(RFUTEX_LAB))]
pub(crate) use off::*;

/// Overwrites memory that must not be used any more with a pattern.
///
/// KASAN does not detect that the stack of a function is used after the function has returned. But
/// a link that was overwritten like this is a non-canonical address, so that a task that follows it
/// crashes.
///
/// # Safety
///
/// `what` must be valid for writes. It must not be used as a `T` again, not even by its destructor.
#[cfg(RFUTEX_LAB)]
pub(crate) unsafe fn poison<T>(what: *mut T) {
    // SAFETY: By the function's requirements, `what` is valid for writes of the size of a `T`, and
    // what is written need not be a valid `T`.
    unsafe { what.cast::<u8>().write_bytes(0xa5, size_of::<T>()) };
}
