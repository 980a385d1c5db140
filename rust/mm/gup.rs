// SPDX-License-Identifier: GPL-2.0

//! `get_user_pages_fast()`: a reference on the page behind a user address.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::{
    bindings as helpers,
    lab, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    page::PAGE_MASK,
    prelude::*, //
};

/// What the caller is going to do with the memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It is only going to read, so that a read-only mapping will do.
    Read,
    /// It is going to write.
    Write,
}

/// A page of the current process, with a reference on its folio.
///
/// The reference keeps the folio from being freed and from being split, so that the page remains at
/// its place in the folio. This is true even of a tail page, because a reference on a tail page is
/// one on the folio. ("introduce get_compound_page", 2013, shows how difficult that was when it was
/// not yet so.) The reference does not keep `folio->mapping` from changing.
///
/// # Invariants
///
/// `page` is a page of `folio`, and this owns a reference on `folio`.
pub(crate) struct PageRef {
    page: NonNull<bindings::page>,
    folio: NonNull<bindings::folio>,
}

impl PageRef {
    /// Takes a reference on the page at the address `addr`, which is faulted in if necessary.
    ///
    /// With [`Access::Write`], a page that would be copied on write is copied first. The word will
    /// be in the copy as soon as somebody writes to it, so this is the page that matters. Callers
    /// that are only going to read should therefore ask for [`Access::Write`] as well, and for
    /// [`Access::Read`] only if that has failed, because the mapping is read-only.
    ///
    /// # Errors
    ///
    /// `EFAULT`: nothing is mapped there, or it does not permit that access. Others as
    /// `get_user_pages_fast()` (for example `ENOMEM` and `EHWPOISON`).
    ///
    /// # Context
    ///
    /// Process context with an mm, no locks held. May sleep, and takes mmap_lock if the page cannot
    /// be found without it.
    #[inline(always)]
    pub(crate) fn get(addr: usize, access: Access) -> Result<Self> {
        let mut page: *mut bindings::page = core::ptr::null_mut();
        let flags = match access {
            Access::Read => 0,
            Access::Write => bindings::FOLL_WRITE,
        };
        // SAFETY: `page` has room for the one pointer that the function writes. The function checks
        // the address, which may be any.
        let got =
            unsafe { bindings::get_user_pages_fast(addr & PAGE_MASK, 1, flags, &raw mut page) };
        if got < 0 {
            return Err(Error::from_errno(got));
        }
        let page = NonNull::new(page).ok_or(EFAULT)?;
        // SAFETY: The function above has taken a reference on the page, so that the page is valid,
        // and its folio cannot be freed or split.
        let folio = unsafe { helpers::rfutex_page_folio(page.as_ptr()) };
        // Every page has a folio, so this never fails.
        let folio = NonNull::new(folio).ok_or(EFAULT)?;
        lab::page_ref_taken();
        // INVARIANT: `get_user_pages_fast()` has taken the reference, which is owned by the new
        // object from here on.
        Ok(Self { page, folio })
    }

    /// Whether this page is still the one that is found at the address `addr`.
    ///
    /// # Context
    ///
    /// As [`Self::get`].
    pub(crate) fn is_still_at(&self, addr: usize, access: Access) -> bool {
        Self::get(addr, access).is_ok_and(|found| found.page == self.page)
    }

    /// The index of this page (not of its folio) in its file, in pages.
    ///
    /// For a page that does not belong to a file, the result has no meaning.
    #[inline]
    pub(crate) fn index(&self) -> usize {
        // SAFETY: By the type invariants, the page and the folio are valid, and the page is a page
        // of that folio.
        unsafe { helpers::rfutex_page_pgoff(self.folio.as_ptr(), self.page.as_ptr()) }
    }

    /// The index of the page in its folio, in pages.
    pub(crate) fn index_in_folio(&self) -> usize {
        // SAFETY: By the type invariants, the page and the folio are valid, and the page is a page
        // of that folio.
        unsafe { helpers::rfutex_folio_page_idx(self.folio.as_ptr(), self.page.as_ptr()) }
    }

    /// The order of the folio, which has `2^order` pages.
    pub(crate) fn folio_order(&self) -> u32 {
        // SAFETY: By the type invariants, there is a reference on the folio, so it is valid, and
        // cannot be split meanwhile.
        unsafe { helpers::rfutex_folio_order(self.folio.as_ptr()) }
    }

    /// The folio, which is valid for as long as `self`.
    #[inline]
    pub(super) fn folio(&self) -> *mut bindings::folio {
        self.folio.as_ptr()
    }
}

impl Drop for PageRef {
    #[inline]
    fn drop(&mut self) {
        lab::page_ref_dropped();
        // SAFETY: By the type invariants, this object owns the reference, and does not use the
        // folio after this.
        unsafe { helpers::rfutex_folio_put(self.folio.as_ptr()) };
    }
}
