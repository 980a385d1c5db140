// SPDX-License-Identifier: GPL-2.0
//! Bugs that futex key code had, each of which must not come back.
//!
//! | bug | test |
//! |---|---|
//! | inode reference kept while waiting: "Busy inodes after unmount" (8019ad13ef7f) | [`umount`] |
//! | unbounded wait for a page lock held by another task (65d8fc777f6d) | [`page_lock`] |
//! | WARN or BUG when the mapping changes in the middle (48fb6f4db940) | [`mapping_changes`] |
//! | last `iput` in the wrong place | [`last_reference`]; the order against `folio_put` is an assertion of the lab build |
//! | after fork, a wake of one process reaches the other | [`fork`], `keys::*::processes` |
//! | pages pinned for as long as a task waits | [`not_pinned`] |
//! | one page kept while another is faulted in | [`one_page`] |
//! | hugetlb: all words of a huge page share a key (13d60f4b6ab5) | `keys::hugetlbfs_shared`, `keys::hugetlbfs_private`, `keys::memfd_hugetlb` |
//! | shmem THP: wrong index of a tail (fe19bd3dae3d) | `keys::tmpfs_huge`, `keys::shared_anonymous_thp` |
//! | reference on a THP tail lost or leaked against a split (ddc58f27f9ee) | [`split_collapse`] |
//! | endless loop on the zero page (7485d0d3758e) | `keys::fault::zero_page`, `huge_zero_page`, `keys::file::zero_page_becomes_a_page` |
//! | the fix of it that broke read-only mappings (9ea71503a8ed) | `keys::file::read_only_waiter_writer_wakes`, `keys::*_read_only_*` |
//! | missing barrier: lost wakeup (11d4616bd07f, 76835b0ebf8a) | [`lost_wakeup`], `wait::stress`; the litmus tests |
//! | hash over the wrong bytes (8d67743653dc), unkeyed hash | KUnit suites of the hash |
//! | negative counts (fbe0e839d1e2, CVE-2018-6927) | [`counts`], `requeue::counts::extremes` |
//! | a woken task is killed, and the wake is lost with it (6d4514ca9cdf) | [`killed`] |
//! | requeue onto itself, or between kinds (19f94b390586) | `requeue::counts::onto_itself`, `two_mappings_of_one_word`, `requeue::kinds` |
//! | a waiter freed while a requeue looks at it (b549113738e8) | [`requeue_storm`]; the references of the moved: [`requeue_references`] |
//! | a wake on B lost while waiters are requeued to B | [`requeue_lost_wakeup`] |
//! | fd used by another mm (59b3732f95dd, c5f0bc9fd1ce) | `watch::passed`, `watch::nothing_held::*_of_the_dead`; of WAIT and WAKE, [`fork`] |
//! | asynchronous waiter leaked or freed twice (508c1314b342, 30dab608c3cb) | `watch::faults`, `watch::removing`, `watch::storm::close_against_wake` |
//! | who waits for a main thread that ends before the others is not told (a pidfd) | `owner::end::main_thread_before_its_process`; of robust words, `robust::end::main_thread` |
//! | nor who waits for one whose place a thread takes that executes a program | `owner::end::program_executed_by_another_thread`, `owner::exec`; `robust::end::program_executed_by_another_thread` |

mod counts;
mod fork;
mod killed;
mod last_reference;
mod lone;
mod lost_wakeup;
mod mapping_changes;
mod not_pinned;
mod one_page;
mod page_lock;
mod requeue_lost_wakeup;
mod requeue_references;
mod requeue_storm;
mod split_collapse;
mod umount;

use crate::harness::{holds_inode, until};
use crate::memory::{Disk, inodes};
use libtest_mimic::Trial;
use std::hint::spin_loop;
use std::path::Path;

/// The tests of this module.
pub fn trials() -> Vec<Trial> {
    [
        umount::trials(),
        page_lock::trials(),
        mapping_changes::trials(),
        last_reference::trials(),
        fork::trials(),
        not_pinned::trials(),
        one_page::trials(),
        split_collapse::trials(),
        lost_wakeup::trials(),
        counts::trials(),
        killed::trials(),
        requeue_references::trials(),
        requeue_storm::trials(),
        requeue_lost_wakeup::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The file system at `path` had `before` inodes in use; `nr` more are those of files that nobody
/// can reach but by the waiters that sleep there. A waiter that holds nothing does not keep them.
#[track_caller]
pub fn check_inodes_of_waiters(path: &Path, before: u64, nr: u64) {
    if holds_inode() {
        assert_eq!(inodes(path), before + nr, "the waiters have the inodes");
    } else {
        // XFS deletes in the background.
        until("the inodes are deleted", || inodes(path) == before);
    }
}

/// `disk` has been unmounted under a waiter: it lives on with a waiter that holds it, and is gone
/// with one that holds nothing.
#[track_caller]
fn check_unmounted(disk: &Disk) {
    if holds_inode() {
        assert!(disk.is_alive(), "the waiter has the file system");
        assert!(disk.is_bound(), "the file system has the device");
    } else {
        disk.until_gone();
    }
}

/// A little time, not always the same, so that two sides meet in every order: less than `limit`
/// pauses of the processor.
fn hesitate(limit: u32) {
    for _ in 0..fastrand::u32(0..limit) {
        spin_loop();
    }
}
