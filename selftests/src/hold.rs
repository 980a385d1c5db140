// SPDX-License-Identifier: GPL-2.0
//! What a thread holds while it sleeps on a word of a file: the inode, or nothing.
//!
//! The same is done under a waiter on each kind of file: it is deleted, its file system unmounted,
//! its device taken away. Where waiters hold nothing, it is as if nobody waited. Where they hold the
//! inode, what was to end does so when the waiter leaves. [`history::umount`](crate::history) has
//! more of it, on file systems that have a device.

mod calls;
mod files;
mod parameter;
mod space;
mod umount;

use crate::harness::{Waiter, holds_inode, until};
use crate::leap::Leap;
use crate::memory::{HugePages, Region, drop_pages, nr_abandoned, page_of};
use libtest_mimic::Trial;
use rfutex::Error;

/// The tests of this module.
pub fn trials() -> Vec<Trial> {
    [
        parameter::trials(),
        calls::trials(),
        space::trials(),
        umount::trials(),
        files::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Has a waiter on the first word of `region`, and lets go of the region and of whatever else keeps
/// what `is_kept` looks at.
#[track_caller]
fn check(region: Region, let_go: impl FnOnce(Region), is_kept: impl Fn() -> bool) {
    let leap = Leap::new();
    let waiter = Waiter::start_with(region.word(0), 0, leap.options());
    let_go(region);
    if holds_inode() {
        assert!(is_kept(), "the waiter has it");
    } else {
        until("it is gone, under the waiter", || !is_kept());
    }
    assert!(!waiter.is_finished(), "it sleeps on");
    leap.now();
    assert_eq!(waiter.join(), Err(Error::TimedOut));
    until("it is gone, after the waiter", || !is_kept());
}

/// Tells whether the page at the beginning of `region`, of shared memory, still has its content when
/// nobody has it mapped any more.
#[track_caller]
fn first_page(region: &Region) -> impl Fn() -> bool + use<> {
    region.touch();
    let pfn = page_of(region.word(0)).pfn;
    move || {
        drop_pages();
        nr_abandoned(pfn, 1) == 1
    }
}

/// Tells whether the page at the beginning of `region`, of hugetlbfs, is still in use.
#[track_caller]
fn huge_page(region: &Region) -> impl Fn() -> bool + use<> {
    let before = HugePages::free();
    region.touch();
    assert_eq!(HugePages::free(), before - 1);
    move || HugePages::free() < before
}
