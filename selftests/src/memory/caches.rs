// SPDX-License-Identifier: GPL-2.0
//! What the kernel keeps in case that it is used again.

use nix::unistd::sync;
use std::fs;

#[track_caller]
fn drop_caches(which: &str) {
    fs::write("/proc/sys/vm/drop_caches", which).expect("drop_caches");
}

/// Gives up pages of files that have been written back, and empties the lists on which each
/// processor gathers what is freed.
#[track_caller]
pub fn drop_pages() {
    drop_caches("1");
}

/// Gives up inodes that nobody uses, with their pages. Writes them back before.
#[track_caller]
pub fn drop_inodes() {
    // From a name that was looked up since the last pass, a pass takes only the mark that says so;
    // the next one takes the name, and with it the last use of the inode.
    const PASSES: usize = 3;
    sync();
    for _ in 0..PASSES {
        drop_caches("3");
    }
}
