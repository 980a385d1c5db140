// SPDX-License-Identifier: GPL-2.0

//! The time in ticks.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use kernel::bindings;

/// The number of ticks since a time shortly before boot.
#[inline]
pub(crate) fn jiffies() -> u64 {
    // SAFETY: The kernel's variable is valid for reads. It changes at any time, hence the volatile
    // read.
    unsafe { (&raw const bindings::jiffies).read_volatile() as u64 }
}

/// Whether the time `one` is later than `other`, both in ticks.
pub(crate) fn is_after(one: u64, other: u64) -> bool {
    one.wrapping_sub(other) as i64 > 0
}

/// Converts ticks to nanoseconds.
pub(crate) fn to_ns(ticks: u64) -> u64 {
    // SAFETY: The function only computes.
    unsafe { bindings::jiffies64_to_nsecs(ticks) }
}
