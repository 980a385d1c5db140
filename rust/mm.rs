// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of what the `kernel` crate lacks. Each file wraps one primitive.
//!
//! Nothing here depends on requests, keys or queues. Apart from the lab and from tests, all
//! `unsafe` code of the module is here and in [`crate::queue`], [`crate::wake_chain`],
//! [`crate::time`], [`crate::device`], [`crate::account`], `list/file.rs` and `bindings.rs`.

pub(crate) mod anon_inode;
pub(crate) mod arch;
pub(crate) mod delayed_work;
pub(crate) mod folio;
pub(crate) mod gup;
pub(crate) mod index;
pub(crate) mod inode;
pub(crate) mod inspect;
pub(crate) mod number;
pub(crate) mod pages;
pub(crate) mod parameters;
pub(crate) mod pid;
pub(crate) mod pinned_slice;
pub(crate) mod pinned_vec;
pub(crate) mod random;
pub(crate) mod siphash;
pub(crate) mod slab;
pub(crate) mod slot;
pub(crate) mod speculation;
pub(crate) mod spinlock;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod timer;
pub(crate) mod totalram;
pub(crate) mod uaccess;
pub(crate) mod version;
pub(crate) mod vma;
pub(crate) mod wait_queue;
