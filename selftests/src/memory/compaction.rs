// SPDX-License-Identifier: GPL-2.0
//! Memory is compacted: pages move to other frames.

use super::Setting;
use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};

/// Compacts memory, but leaves what the program had mapped before where it is.
///
/// Under emulation, each page that is moved takes about a millisecond, because the emulator has to
/// find out whether there was code on it. So the page cache, which may be larger than all the rest,
/// is dropped first.
#[derive(Debug)]
pub struct Compaction {
    _not_the_locked: Setting,
}

impl Compaction {
    /// Prepares it. Pages that are to be moved are mapped after this.
    #[track_caller]
    pub fn new() -> Self {
        mlockall(MlockAllFlags::MCL_CURRENT).expect("mlockall");
        std::fs::write("/proc/sys/vm/drop_caches", "1").expect("drop_caches");
        Self {
            _not_the_locked: Setting::set("/proc/sys/vm/compact_unevictable_allowed", 0),
        }
    }

    /// Moves pages from the low end of memory to free frames at the high end.
    #[track_caller]
    pub fn run(&self) {
        std::fs::write("/proc/sys/vm/compact_memory", "1").expect("compact_memory");
    }
}

impl Drop for Compaction {
    fn drop(&mut self) {
        munlockall().expect("munlockall");
    }
}
