// SPDX-License-Identifier: GPL-2.0

//! Keeps track of the tasks that hold references on folios.
//!
//! A task must put its reference on a folio before it may put the last reference on the inode of
//! the file (thread 000). No debugging option of the kernel detects if it does not, but this does.

use core::ptr;
use kernel::{
    bindings,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    task::Task, //
};

/// For each reference, the task that has taken it. References for which there is no room are not
/// tracked.
static HOLDERS: [Atomic<*mut bindings::task_struct>; 64] =
    [const { Atomic::new(ptr::null_mut()) }; 64];

/// Replaces one entry that is `old` by `new`, if there is one.
fn replace(old: *mut bindings::task_struct, new: *mut bindings::task_struct) {
    let _ = HOLDERS
        .iter()
        .find(|holder| holder.load(Relaxed) == old && holder.cmpxchg(old, new, Relaxed).is_ok());
}

/// Notes that the current task has taken a reference on a folio.
pub(crate) fn page_ref_taken() {
    replace(ptr::null_mut(), Task::current_raw());
}

/// Notes that the current task has put a reference on a folio.
pub(crate) fn page_ref_dropped() {
    replace(Task::current_raw(), ptr::null_mut());
}

/// Warns if the current task holds a reference on a folio.
pub(crate) fn assert_no_page_ref() {
    let current = Task::current_raw();
    kernel::warn_on!(HOLDERS.iter().any(|holder| holder.load(Relaxed) == current));
}
