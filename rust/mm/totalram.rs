// SPDX-License-Identifier: GPL-2.0

//! How much memory the machine has.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::bindings;
use kernel::page::PAGE_SIZE;

/// The bytes that the kernel manages: what is there, less what was reserved at boot.
pub(crate) fn bytes() -> usize {
    // SAFETY: Reads a number.
    let pages = unsafe { bindings::rfutex_totalram_pages() };
    pages as usize * PAGE_SIZE
}
