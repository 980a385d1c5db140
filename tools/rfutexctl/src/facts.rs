// SPDX-License-Identifier: GPL-2.0
//! What the system knows of processes, their memory, and file systems.
//!
//! The views ask through [`Facts`], so that their tests can make it up.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{fstat, major, minor};
use procfs::process::{MMPermissions, MMapPath, Process};

use crate::record::FileId;

/// A part of a process's address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// The first address after it.
    pub end: u64,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// The file, if one is mapped.
    pub file: Option<FileId>,
    /// Whether writes are seen by others who map the file (`MAP_SHARED`).
    pub shared: bool,
    /// The name of the file.
    pub path: Option<PathBuf>,
}

impl Mapping {
    /// Where in the file the address `addr`, which lies in this mapping, is.
    pub fn position(&self, addr: u64) -> u64 {
        self.offset.wrapping_add(addr - self.start)
    }
}

/// What the system knows.
pub trait Facts {
    /// What `process` has mapped at `addr`; None if nothing, or if it is not to be known.
    fn mapping(&self, process: u32, addr: u64) -> Option<Mapping>;

    /// The value of the word of `size` bytes at `addr` in `process`; None if it cannot be read.
    fn word(&self, process: u32, addr: u64, size: u32) -> Option<u64>;

    /// The parent of `process`.
    fn parent(&self, process: u32) -> Option<u32>;

    /// How many threads `process` has.
    fn nr_threads(&self, process: u32) -> Option<usize>;

    /// The devices of all file systems that are mounted anywhere, and of those that the kernel
    /// itself has mounted.
    fn mounted(&self) -> HashSet<(u32, u32)>;
}

/// What /proc tells. It keeps what it has read until [`forget`](Self::forget).
#[derive(Debug, Default)]
pub struct Proc {
    mappings: RefCell<HashMap<u32, Vec<Mapping>>>,
}

impl Proc {
    /// Forgets what it has read: it will ask again.
    pub fn forget(&mut self) {
        self.mappings.get_mut().clear();
    }

    /// The name of the file `file`, if `process` has it mapped.
    pub fn path(&self, process: u32, file: FileId) -> Option<PathBuf> {
        self.with_mappings(process, |mappings| {
            let mapping = mappings.iter().find(|mapping| mapping.file == Some(file))?;
            mapping.path.clone()
        })
    }

    /// All that `process` has mapped.
    pub fn mappings(&self, process: u32) -> Vec<Mapping> {
        self.with_mappings(process, <[Mapping]>::to_vec)
    }

    fn with_mappings<T>(&self, process: u32, look: impl FnOnce(&[Mapping]) -> T) -> T {
        let mut all = self.mappings.borrow_mut();
        look(all.entry(process).or_insert_with(|| mappings(process)))
    }
}

/// What `process` has mapped; nothing if that is not to be known.
fn mappings(process: u32) -> Vec<Mapping> {
    let maps = i32::try_from(process)
        .ok()
        .and_then(|pid| Process::new(pid).ok()?.maps().ok());
    let number = |number: i32| u32::try_from(number).unwrap_or(0);
    maps.into_iter()
        .flatten()
        .map(|map| Mapping {
            start: map.address.0,
            end: map.address.1,
            offset: map.offset,
            file: (map.inode != 0).then_some(FileId {
                dev: (number(map.dev.0), number(map.dev.1)),
                ino: map.inode,
            }),
            shared: map.perms.contains(MMPermissions::SHARED),
            path: match map.pathname {
                MMapPath::Path(path) => Some(path),
                MMapPath::Vsys(key) => Some(format!("SYSV{key:08x}").into()),
                _ => None,
            },
        })
        .collect()
}

impl Facts for Proc {
    fn mapping(&self, process: u32, addr: u64) -> Option<Mapping> {
        self.with_mappings(process, |mappings| {
            let found = mappings
                .iter()
                .find(|map| (map.start..map.end).contains(&addr));
            found.cloned()
        })
    }

    fn word(&self, process: u32, addr: u64, size: u32) -> Option<u64> {
        let mut bytes = [0; 8];
        let len = usize::try_from(size).ok().filter(|&len| len <= 8)?;
        // What process_vm_readv(2) does as well, where the kernel has it.
        let memory = File::open(format!("/proc/{process}/mem")).ok()?;
        memory.read_exact_at(&mut bytes[..len], addr).ok()?;
        // The low bytes come first where this runs as well as where they come last.
        if cfg!(target_endian = "big") {
            bytes.rotate_right(8 - len);
        }
        Some(u64::from_ne_bytes(bytes))
    }

    fn parent(&self, process: u32) -> Option<u32> {
        let stat = Process::new(i32::try_from(process).ok()?).ok()?.stat();
        u32::try_from(stat.ok()?.ppid)
            .ok()
            .filter(|&ppid| ppid != 0)
    }

    fn nr_threads(&self, process: u32) -> Option<usize> {
        let tasks = Process::new(i32::try_from(process).ok()?).ok()?.tasks();
        Some(tasks.ok()?.count())
    }

    fn mounted(&self) -> HashSet<(u32, u32)> {
        let mut devices = kernel_mounts();
        let mut namespaces = HashSet::new();
        for process in procfs::process::all_processes()
            .into_iter()
            .flatten()
            .flatten()
        {
            let namespace = std::fs::read_link(format!("/proc/{}/ns/mnt", process.pid));
            if namespace.is_ok_and(|name| !namespaces.insert(name)) {
                continue;
            }
            let mounts = process.mountinfo().into_iter().flatten();
            devices.extend(mounts.filter_map(|mount| device(&mount.majmin)));
        }
        devices
    }
}

/// The device that is written `MAJOR:MINOR`.
fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The devices of the file systems that only the kernel has mounted, for memory that has no file
/// that somebody has named: shared anonymous memory, memfds, SysV shared memory, huge pages.
fn kernel_mounts() -> HashSet<(u32, u32)> {
    let huge = [
        MFdFlags::MFD_HUGETLB,
        MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB,
        MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_1GB,
    ];
    let files = [MFdFlags::empty()].into_iter().chain(huge);
    files
        .filter_map(|flags| {
            let file = memfd_create("rfutexctl", flags | MFdFlags::MFD_CLOEXEC).ok()?;
            let stat = fstat(file.as_fd()).ok()?;
            Some((
                u32::try_from(major(stat.st_dev)).ok()?,
                u32::try_from(minor(stat.st_dev)).ok()?,
            ))
        })
        .collect()
}

/// The file of this name, as stat(2) knows it.
pub fn file_id(path: &Path) -> std::io::Result<FileId> {
    use std::os::unix::fs::MetadataExt;
    let meta = path.metadata()?;
    Ok(FileId {
        dev: (
            u32::try_from(major(meta.dev())).unwrap_or(0),
            u32::try_from(minor(meta.dev())).unwrap_or(0),
        ),
        ino: meta.ino(),
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Facts that are made up.
    #[derive(Debug, Default)]
    pub struct MadeUp {
        /// What processes have mapped.
        pub mappings: Vec<(u32, Mapping)>,
        /// The values of words.
        pub words: HashMap<(u32, u64), u64>,
        /// The parents of processes.
        pub parents: HashMap<u32, u32>,
        /// How many threads processes have.
        pub threads: HashMap<u32, usize>,
        /// The devices that are mounted.
        pub mounted: HashSet<(u32, u32)>,
    }

    impl Facts for MadeUp {
        fn mapping(&self, process: u32, addr: u64) -> Option<Mapping> {
            let found = self
                .mappings
                .iter()
                .find(|(of, map)| *of == process && (map.start..map.end).contains(&addr));
            found.map(|(_, map)| map.clone())
        }

        fn word(&self, process: u32, addr: u64, _size: u32) -> Option<u64> {
            self.words.get(&(process, addr)).copied()
        }

        fn parent(&self, process: u32) -> Option<u32> {
            self.parents.get(&process).copied()
        }

        fn nr_threads(&self, process: u32) -> Option<usize> {
            self.threads.get(&process).copied()
        }

        fn mounted(&self) -> HashSet<(u32, u32)> {
            self.mounted.clone()
        }
    }

    #[test]
    fn words_of_processes_are_read() {
        let value = 0x1122_3344_5566_7788_u64;
        let addr = (&raw const value).addr() as u64;
        let own = std::process::id();
        let proc = Proc::default();
        assert_eq!(proc.word(own, addr, 8), Some(value));
        assert_eq!(proc.word(own, addr, 2), Some(0x7788));
        assert_eq!(proc.word(own, 0, 4), None);
        assert_eq!(proc.word(own, addr, 16), None);
    }

    #[test]
    fn mappings_of_processes_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let place = crate::place::Place {
            file: dir.path().join("word"),
            offset: 8192 + 8,
        };
        let word = crate::word::FileWord::map(&place, 4, crate::word::Access::Create).unwrap();
        let (proc, own) = (Proc::default(), std::process::id());
        let addr = word.word().addr();
        let mapping = proc.mapping(own, addr).unwrap();
        assert!(mapping.shared);
        assert_eq!(mapping.position(addr), place.offset);
        assert_eq!(mapping.path.as_ref(), Some(&place.file));
        let file = mapping.file.unwrap();
        assert_eq!(file.ino, file_id(&place.file).unwrap().ino);
        assert_eq!(proc.path(own, file), Some(place.file));
        assert_eq!(proc.mapping(own, 0), None);
        assert_eq!(proc.mapping(u32::MAX, 0), None);
    }

    #[test]
    fn relations_of_processes_are_known() {
        let proc = Proc::default();
        let own = std::process::id();
        let parent = nix::unistd::getppid().as_raw();
        assert_eq!(proc.parent(own), u32::try_from(parent).ok());
        assert!(proc.nr_threads(own).unwrap() >= 1);
        assert_eq!(proc.nr_threads(u32::MAX), None);
    }

    #[test]
    fn mounts_have_the_root_and_shared_memory() {
        let mounted = Proc::default().mounted();
        let root = file_id(Path::new("/proc/self")).unwrap();
        assert!(mounted.contains(&root.dev), "{mounted:?}");
        assert!(kernel_mounts().is_subset(&mounted));
        assert!(!kernel_mounts().is_empty());
        assert_eq!(device("8:17"), Some((8, 17)));
        assert_eq!(device("8"), None);
    }
}
