// SPDX-License-Identifier: GPL-2.0
//! Pages merged by KSM.

use super::{Region, RegionWord, Setting, page_of};
use crate::harness::{PAGE, until};
use procfs::PhysicalPageFlags;

/// KSM at work, for the time of a test.
#[derive(Debug)]
pub struct Ksm {
    run: Setting,
    _settings: [Setting; 3],
}

impl Ksm {
    /// Starts it.
    #[track_caller]
    pub fn new() -> Self {
        let set = |name, value| Setting::set(format!("/sys/kernel/mm/ksm/{name}"), value);
        Self {
            _settings: [
                set("sleep_millisecs", 1),
                set("pages_to_scan", 1000),
                // It would leave out a page that it could not merge at first.
                set("smart_scan", 0),
            ],
            run: set("run", 1),
        }
    }

    /// `pages` pages of private anonymous memory, all with the same content.
    #[track_caller]
    pub fn mergeable(pages: usize) -> Region {
        let region = Region::private(pages * PAGE);
        // Not zero, which might be merged with the zero page. Not what another test has.
        let pattern = std::process::id();
        for at in (0..region.len()).step_by(4) {
            region.word(at).store(pattern);
        }
        region
    }

    /// Returns when the pages of `region`, all with the same content, are one.
    #[track_caller]
    pub fn merge(&self, region: &Region) {
        region.advise(libc::MADV_MERGEABLE);
        until("pages are merged", || {
            (0..region.len())
                .step_by(PAGE)
                .all(|at| is_merged(region, at))
        });
    }

    /// `pages` pages of private anonymous memory, all merged into one.
    #[track_caller]
    pub fn merged(&self, pages: usize) -> Region {
        let region = Self::mergeable(pages);
        self.merge(&region);
        region
    }
}

/// Whether the page at byte `at` of `region` is a merged one.
#[track_caller]
fn is_merged(region: &Region, at: usize) -> bool {
    page_of(region.word(at))
        .flags
        .contains(PhysicalPageFlags::KSM)
}

impl Drop for Ksm {
    fn drop(&mut self) {
        // Gives each page its own copy again; then the setting goes back to what it was.
        self.run.write("2");
    }
}
