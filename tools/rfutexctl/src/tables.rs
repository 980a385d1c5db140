// SPDX-License-Identifier: GPL-2.0
//! Tables of one's own: files of other processes, which have no name by which they could be
//! opened. They are found in /proc and taken by pidfd_getfd(2).

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use rfutex::Rfutex;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// The name of the table that all share who open the device by its name.
pub const DEFAULT: &str = "default";

/// A table, as /proc/PID/fdinfo shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Whether those who sleep in it hold the inodes of their files.
    pub holds_inodes: bool,
}

/// The tables that were found.
#[derive(Debug, Default)]
pub struct Found {
    /// Tables that are open here now.
    pub open: Vec<(Described, Rfutex)>,
    /// The names of tables that could not be taken.
    pub refused: Vec<String>,
    /// How many processes could not be looked at.
    pub hidden: usize,
}

/// What `info`, the text of a fdinfo file, says of a device file. None if the file is another.
pub fn described(info: &str) -> Option<Described> {
    let value = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(field, _)| *field == name);
        found.map(|(_, value)| value.trim().to_owned())
    };
    // Watch sets and listings have a table as well, but no waiters of their own to show.
    value("rfutex-waiters")?;
    Some(Described {
        name: value("rfutex-table")?,
        holds_inodes: value("rfutex-hold")? == "inode",
    })
}

/// Looks for tables, other than the default one, among the open files of all processes, and
/// opens each once.
pub fn find() -> Found {
    let mut found = Found::default();
    let mut tables: BTreeMap<String, Option<(Described, Rfutex)>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match fs::read_dir(entry.path().join("fd")) {
            Ok(files) => {
                let numbers = files.flatten().filter(|file| {
                    let target = fs::read_link(file.path()).unwrap_or_default();
                    target.to_string_lossy().contains("rfutex")
                });
                for file in numbers {
                    if let Some(fd) = file.file_name().to_str().and_then(|fd| fd.parse().ok()) {
                        look_at(pid, fd, &mut tables);
                    }
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => found.hidden += 1,
            // It has ended.
            Err(_) => (),
        }
    }
    for (name, table) in tables {
        match table {
            Some(table) => found.open.push(table),
            None => found.refused.push(name),
        }
    }
    found
}

/// Opens the table of the file `fd` of the process `pid`, if it is one that is not open yet.
fn look_at(pid: i32, fd: i32, tables: &mut BTreeMap<String, Option<(Described, Rfutex)>>) {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    let Some(table) = described(&info).filter(|table| table.name != DEFAULT) else {
        return;
    };
    let slot = tables.entry(table.name.clone()).or_default();
    if slot.is_some() {
        return;
    }
    let Some(file) = take(pid, fd) else { return };
    // By now, the number may be that of another file.
    let taken = fs::read_to_string(format!("/proc/self/fdinfo/{}", raw(&file)));
    if taken.ok().and_then(|info| described(&info)).as_ref() == Some(&table) {
        *slot = Rfutex::try_from(file).ok().map(|rfutex| (table, rfutex));
    }
}

fn raw(file: &OwnedFd) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(&file.as_fd())
}

/// A copy of the file descriptor `fd` of the process `pid`.
fn take(pid: i32, fd: i32) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(process, fd, PidfdGetfdFlags::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_device_files_are_tables() {
        let device = "pos:\t0\nflags:\t02\nrfutex-table:\town-0000000000000007\n\
                      rfutex-resolver:\tpage\nrfutex-hold:\tnothing\nrfutex-waiters:\t3\n";
        assert_eq!(
            described(device),
            Some(Described {
                name: "own-0000000000000007".to_owned(),
                holds_inodes: false,
            })
        );
        let watches = "rfutex-table:\tdefault\nrfutex-resolver:\tpage\nrfutex-armed:\t1\n";
        for other in ["", "pos:\t0\n", watches, "rfutex-table:\tdefault\n"] {
            assert_eq!(described(other), None, "{other}");
        }
    }

    #[test]
    fn files_of_processes_are_taken() {
        let file = fs::File::open("/dev/null").unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        let copy = take(own, fd).unwrap();
        assert_ne!(raw(&copy), fd);
        assert_eq!(
            fs::read_link(format!("/proc/self/fd/{}", raw(&copy))).unwrap(),
            std::path::Path::new("/dev/null")
        );
        assert!(take(own, 9999).is_none());
    }
}
