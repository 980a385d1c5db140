// SPDX-License-Identifier: GPL-2.0
//! Memory that is charged to those who asked for it.

use super::until;
use std::fs;
use std::path::PathBuf;

/// A memory cgroup of one's own. It is removed when this is dropped.
#[derive(Debug)]
pub struct Group(PathBuf);

/// Where cgroups say which controllers their children have.
const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.subtree_control";

impl Group {
    /// Makes a cgroup, with nobody in it.
    #[track_caller]
    pub fn new() -> Self {
        fs::write(CONTROLLERS, "+memory").expect(CONTROLLERS);
        let path = format!("/sys/fs/cgroup/rfutex-{}", std::process::id());
        fs::create_dir(&path).expect("a cgroup");
        Self(path.into())
    }

    /// Puts the caller there.
    #[track_caller]
    pub fn enter(&self) {
        fs::write(self.0.join("cgroup.procs"), "0").expect("cgroup.procs");
    }

    /// What its processes have taken, in bytes.
    #[track_caller]
    pub fn memory(&self) -> i64 {
        let text = fs::read_to_string(self.0.join("memory.current")).expect("memory.current");
        text.trim().parse().expect("a number")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The controller stays: it is the VM that has it, and other tests need it.
        until("its processes are gone", || fs::remove_dir(&self.0).is_ok());
    }
}

/// What a kernel that checks its memory adds to an object of the cache `name`, in bytes: 0 where
/// that cannot be known.
#[track_caller]
pub fn added_to(name: &str, size: i64) -> i64 {
    let text = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.split(' ').next() == Some(name));
    let real = line.and_then(|line| line.split_whitespace().nth(3));
    real.map_or(0, |real| real.parse::<i64>().expect("a size") - size)
}
