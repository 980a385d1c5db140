// SPDX-License-Identifier: GPL-2.0

//! The amount of memory that the machine has.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::bindings;
use kernel::page::PAGE_SIZE;

/// The amount of memory that the kernel manages, in bytes. This does not include what was reserved
/// at boot.
pub(crate) fn bytes() -> usize {
    // SAFETY: The function only reads an atomic counter.
    let pages = unsafe { bindings::rfutex_totalram_pages() };
    pages as usize * PAGE_SIZE
}
