// SPDX-License-Identifier: GPL-2.0
//! The names of files. Events have only the numbers that stand for them (`object`).

use std::collections::{HashMap, HashSet};
use std::fs::File;

use rfutex::Resolver;

use crate::device;
use crate::facts::Proc;
use crate::source::{Device, Source};
use crate::word::{Access, FileWord};

/// What is known of names.
#[derive(Debug, Default)]
pub struct Names {
    files: HashMap<u64, String>,
    /// Objects and processes that were asked about in vain.
    unknown: HashSet<(u64, u32)>,
}

impl Names {
    /// Those of the files on which somebody waits now.
    pub fn of_waiters() -> Self {
        let mut names = Self::default();
        names.list();
        names
    }

    /// The name of the file for which `object` stands, and which the process `pid` has mapped.
    ///
    /// `pid` may be the number of a thread. Its process is better: it is there after the thread
    /// has ended.
    pub fn file(&mut self, object: u64, pid: u32) -> Option<&str> {
        if !self.files.contains_key(&object) && self.unknown.insert((object, pid)) {
            self.ask(pid);
            if !self.files.contains_key(&object) {
                // The process may have ended while others wait there.
                self.list();
            }
        }
        self.files.get(&object).map(String::as_str)
    }

    /// Learns the names of the files on which somebody waits.
    fn list(&mut self) {
        let records = Device::default().list().map(|listing| listing.records);
        for record in records.into_iter().flatten() {
            if let Some(path) = record.path {
                self.files.insert(record.object, path.display().to_string());
            }
        }
    }

    /// Learns the names of the files that the process `pid` has mapped: each is mapped here, and
    /// the device is asked which object it is.
    fn ask(&mut self, pid: u32) {
        // For a moment only: while it is open, the module cannot be unloaded.
        let Ok(rfutex) = device::open() else { return };
        // It looks at no page, and so changes nothing.
        if rfutex.set_resolver(Resolver::Vma).is_err() {
            return;
        }
        for mapping in Proc::default().mappings(pid) {
            let (true, Some(path)) = (mapping.shared, &mapping.path) else {
                continue;
            };
            let link = format!(
                "/proc/{pid}/map_files/{:x}-{:x}",
                mapping.start, mapping.end
            );
            let Ok(file) = File::open(link) else { continue };
            let word = FileWord::map_open(&file, mapping.offset, 1, Access::Read);
            let Ok(info) = word.map(|word| rfutex.key_info(word.word())) else {
                continue;
            };
            if let Ok(info) = info {
                self.files.insert(info.object, path.display().to_string());
            }
        }
    }

    /// What a test has made up.
    #[cfg(test)]
    pub fn of(files: &[(u64, &str)]) -> Self {
        Self {
            files: files.iter().map(|&(o, n)| (o, n.to_owned())).collect(),
            ..Self::default()
        }
    }
}
