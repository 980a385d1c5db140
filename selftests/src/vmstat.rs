// SPDX-License-Identifier: GPL-2.0
//! The kernel's own counters: `/proc/vmstat`.

use std::collections::HashMap;

/// All counters at one time.
#[derive(Debug)]
pub struct Counters(HashMap<String, i64>);

impl Counters {
    /// What they are now.
    #[track_caller]
    pub fn now() -> Self {
        // The kernel gathers what each processor has counted at times only, or when told to.
        std::fs::write("/proc/sys/vm/stat_refresh", "1").expect("stat_refresh");
        Self(procfs::vmstat().expect("/proc/vmstat"))
    }

    /// The counter `name`.
    #[track_caller]
    pub fn get(&self, name: &str) -> i64 {
        *self
            .0
            .get(name)
            .unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// By how much the counter `name` has grown since `before`.
    #[track_caller]
    pub fn since(&self, before: &Self, name: &str) -> i64 {
        self.get(name) - before.get(name)
    }
}
