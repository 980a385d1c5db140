// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers over what the `kernel` crate does not have, one primitive each.
//!
//! Nothing here knows of requests, keys or queues. All `unsafe` of this module is here, in
//! [`crate::queue`], in [`crate::wake_chain`], in [`crate::time`] and in [`crate::device`].

pub(crate) mod arch;
pub(crate) mod folio;
pub(crate) mod gup;
pub(crate) mod inode;
pub(crate) mod number;
pub(crate) mod parameters;
pub(crate) mod pinned_slice;
pub(crate) mod pinned_vec;
pub(crate) mod random;
pub(crate) mod siphash;
pub(crate) mod slot;
pub(crate) mod speculation;
pub(crate) mod spinlock;
pub(crate) mod task;
pub(crate) mod timer;
pub(crate) mod totalram;
pub(crate) mod uaccess;
pub(crate) mod vma;
