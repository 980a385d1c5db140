// SPDX-License-Identifier: GPL-2.0
//! Whether a thread sleeps in one of the calls: seen in /proc, without touching it.

use nix::unistd::Pid;
use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Tells what a thread does.
#[derive(Debug)]
pub struct Probe {
    directory: String,
    /// The function of the kernel in which it sleeps; "0" if it does not.
    wchan: File,
}

impl Probe {
    /// For the thread `tid` of the process `pid`.
    pub fn new(pid: Pid, tid: Pid) -> Self {
        let directory = format!("/proc/{pid}/task/{tid}");
        let path = format!("{directory}/wchan");
        let wchan = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { directory, wchan }
    }

    /// Whether it is queued in one of the calls.
    ///
    /// The kernel tells where a thread sleeps only when it is off all run queues: from the moment
    /// on that a waker or a signal wakes it, it is not. In a function with this in its name, of
    /// the kernel's or of the module's, it sleeps only after it was queued; page faults and locks
    /// are elsewhere.
    pub fn sleeps(&self) -> bool {
        let mut bytes = [0; 256];
        let len = self.wchan.read_at(&mut bytes, 0).unwrap_or(0);
        bytes[..len].windows(5).any(|part| part == b"futex")
    }

    /// What it does, for a person.
    pub fn describe(&self) -> String {
        let read = |name| {
            let path = format!("{}/{name}", self.directory);
            fs::read_to_string(path).unwrap_or_else(|error| error.to_string())
        };
        format!(
            "system call {}in {}: {}",
            read("syscall"),
            read("wchan"),
            read("stat")
        )
    }
}
