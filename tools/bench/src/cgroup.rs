// SPDX-License-Identifier: GPL-2.0
//! A memory cgroup: without one, nothing is charged, and to allocate costs less than it does for
//! programs on a real machine, which are all in one.

use std::fs;
use std::path::PathBuf;

/// That of the calling process, which stays when the process is gone.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// Puts the calling process into a group of its own.
    pub fn enter() -> Self {
        let path: PathBuf = format!("/sys/fs/cgroup/rfutex-bench-{}", std::process::id()).into();
        fs::create_dir_all(&path).expect("a cgroup");
        fs::write(path.join("cgroup.procs"), "0").expect("cgroup.procs");
        Self(path)
    }

    /// The bytes that are charged to it.
    pub fn memory(&self) -> i64 {
        let text = fs::read_to_string(self.0.join("memory.current")).expect("memory.current");
        text.trim().parse().expect("a number")
    }
}
