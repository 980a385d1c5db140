// SPDX-License-Identifier: GPL-2.0
//! What a test may not leave behind in the system.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the kernel may take to put away what a test let go of.
const SETTLING: Duration = Duration::from_secs(3);

/// Files that a test has to leave as they were, and how many columns of each
/// line count: the rest changes with use.
const FILES: &[(&str, usize)] = &[
    ("/proc/swaps", 2),
    ("/proc/sysvipc/shm", 5),
    ("/proc/sys/vm/nr_hugepages", 1),
    ("/proc/sys/vm/nr_overcommit_hugepages", 1),
    ("/proc/sys/vm/overcommit_memory", 1),
    ("/proc/sys/vm/max_map_count", 1),
    ("/proc/sys/vm/compact_unevictable_allowed", 1),
    ("/sys/kernel/mm/ksm/run", 1),
    ("/sys/kernel/mm/transparent_hugepage/enabled", 3),
    ("/sys/kernel/mm/transparent_hugepage/shmem_enabled", 6),
    ("/sys/module/rfutex/refcnt", 1),
    ("/sys/kernel/debug/rfutex/fault", 2),
    ("/sys/kernel/debug/rfutex/hold_folio_lock", 1),
    ("/sys/kernel/debug/rfutex/stats", 2),
];

/// The state of the system that tests share, as a set of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Takes it.
    pub fn take() -> Self {
        let mut lines = BTreeSet::new();
        for (path, columns) in FILES {
            // What a kernel does not have cannot be changed either.
            let text = fs::read_to_string(path).unwrap_or_default();
            lines.extend(text.lines().map(|line| {
                let columns: Vec<_> = line.split_whitespace().take(*columns).collect();
                format!("{path}: {}", columns.join(" "))
            }));
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        lines.extend(mounts.lines().map(|line| format!("mount: {line}")));
        for name in names("/tmp".as_ref()) {
            lines.insert(format!("file: /tmp/{name}"));
        }
        for name in names("/sys/block".as_ref()) {
            let file = format!("/sys/block/{name}/loop/backing_file");
            if let Ok(backing) = fs::read_to_string(file) {
                lines.insert(format!("loop device: {name} of {}", backing.trim()));
            }
        }
        Self(lines)
    }

    /// What has changed since, one sentence each; empty if nothing. Gives the
    /// kernel time for what it does late. From now on, this is the state.
    pub fn changes(&mut self) -> Vec<String> {
        let began = Instant::now();
        loop {
            let now = Self::take();
            if now == *self {
                return Vec::new();
            }
            if began.elapsed() > SETTLING {
                let came = now
                    .0
                    .difference(&self.0)
                    .map(|line| format!("left behind: {line}"));
                let gone = self
                    .0
                    .difference(&now.0)
                    .map(|line| format!("taken away: {line}"));
                let changes = came.chain(gone).collect();
                *self = now;
                return changes;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The names in a directory.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
