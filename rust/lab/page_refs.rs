// SPDX-License-Identifier: GPL-2.0

//! Who holds references on folios now.
//!
//! The last `iput()` of a file must not come before the folio's reference is given back (thread
//! 000). No debugging option of the kernel sees that; this does.

use core::ptr;
use kernel::{
    bindings,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    task::Task, //
};

/// One entry a reference: the task that took it. More than fit are not watched.
static HOLDERS: [Atomic<*mut bindings::task_struct>; 64] =
    [const { Atomic::new(ptr::null_mut()) }; 64];

/// Replaces one entry that is `old`.
fn replace(old: *mut bindings::task_struct, new: *mut bindings::task_struct) {
    let _ = HOLDERS
        .iter()
        .find(|holder| holder.load(Relaxed) == old && holder.cmpxchg(old, new, Relaxed).is_ok());
}

/// The current task took a reference on a folio.
pub(crate) fn page_ref_taken() {
    replace(ptr::null_mut(), Task::current_raw());
}

/// The current task gave one back.
pub(crate) fn page_ref_dropped() {
    replace(Task::current_raw(), ptr::null_mut());
}

/// Complains if the current task holds a reference on a folio.
pub(crate) fn assert_no_page_ref() {
    let current = Task::current_raw();
    kernel::warn_on!(HOLDERS.iter().any(|holder| holder.load(Relaxed) == current));
}
