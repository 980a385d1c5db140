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

/// What the caller is going to do to the word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only read it: a read-only mapping will do.
    Read,
    /// Write to it.
    Write,
}

/// A page of the current process with a reference on its folio.
///
/// The reference keeps the folio from being freed and from being split (a reference on a tail is
/// one on the folio; how hard that once was is the subject of "introduce get_compound_page", 2013),
/// so that page, folio and the page's place in the folio belong together for as long as this lives.
/// It does not keep `folio->mapping` as it is.
///
/// # Invariants
///
/// `page` is a page of `folio`, and we own a reference on `folio`.
pub(crate) struct PageRef {
    page: NonNull<bindings::page>,
    folio: NonNull<bindings::folio>,
}

impl PageRef {
    /// Takes a reference on the page at `addr`, faulting it in where needed.
    ///
    /// For [`Access::Write`], a page that is about to be copied on write is copied first: where it
    /// is now is not where the word will live. So callers that only read ask for that as well, and
    /// are content with [`Access::Read`] only where the mapping is read-only.
    ///
    /// # Errors
    ///
    /// `EFAULT`: nothing mapped there, or not with that access. Others as
    /// `get_user_pages_fast()` gives them (`ENOMEM`, `EHWPOISON`).
    ///
    /// # Context
    ///
    /// Process context with an mm. May sleep: takes mmap_lock when the fast walk fails.
    #[inline(always)]
    pub(crate) fn get(addr: usize, access: Access) -> Result<Self> {
        let mut page: *mut bindings::page = core::ptr::null_mut();
        let flags = match access {
            Access::Read => 0,
            Access::Write => bindings::FOLL_WRITE,
        };
        // SAFETY: `page` has room for the one page asked for.
        let got =
            unsafe { bindings::get_user_pages_fast(addr & PAGE_MASK, 1, flags, &raw mut page) };
        if got < 0 {
            return Err(Error::from_errno(got));
        }
        let page = NonNull::new(page).ok_or(EFAULT)?;
        // SAFETY: We own a reference on the page, so that the folio that it belongs to is stable.
        let folio = unsafe { helpers::rfutex_page_folio(page.as_ptr()) };
        // A page always has a folio.
        let folio = NonNull::new(folio).ok_or(EFAULT)?;
        lab::page_ref_taken();
        // INVARIANT: `get_user_pages_fast()` took the reference, for us to give back.
        Ok(Self { page, folio })
    }

    /// The index in the file of the precise page (not of its folio), in units of the page size.
    ///
    /// Of use only for a page of a file.
    #[inline]
    pub(crate) fn index(&self) -> usize {
        // SAFETY: By the type invariants, both are valid and belong together.
        unsafe { helpers::rfutex_page_pgoff(self.folio.as_ptr(), self.page.as_ptr()) }
    }

    /// The page's index in its folio.
    pub(crate) fn index_in_folio(&self) -> usize {
        // SAFETY: By the type invariants, both are valid and belong together.
        unsafe { helpers::rfutex_folio_page_idx(self.folio.as_ptr(), self.page.as_ptr()) }
    }

    /// The folio has `2^order` pages.
    pub(crate) fn folio_order(&self) -> u32 {
        // SAFETY: By the type invariants, the folio is valid.
        unsafe { helpers::rfutex_folio_order(self.folio.as_ptr()) }
    }

    /// The folio; valid for as long as `self`.
    #[inline]
    pub(super) fn folio(&self) -> *mut bindings::folio {
        self.folio.as_ptr()
    }
}

impl Drop for PageRef {
    #[inline]
    fn drop(&mut self) {
        lab::page_ref_dropped();
        // SAFETY: By the type invariants, the reference is ours to give back.
        unsafe { helpers::rfutex_folio_put(self.folio.as_ptr()) };
    }
}
