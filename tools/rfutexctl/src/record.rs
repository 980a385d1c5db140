// SPDX-License-Identifier: GPL-2.0
//! A waiter as the views show it.
//!
//! It is what the listing of the device tells (`rfutex::Waiter`), with the table in which it was
//! found and the name of its file. Tests make such records up.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::word::page_size;

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A thread that sleeps.
    Thread,
    /// A watch, which is gone after the first wake.
    Watch,
    /// A watch that stays.
    RepeatedWatch,
    /// A request of io_uring.
    Request,
    /// Something that this program does not know.
    Unknown,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Thread => "thread",
            Self::Watch => "watch",
            Self::RepeatedWatch => "watch, repeated",
            Self::Request => "request",
            Self::Unknown => "unknown",
        })
    }
}

/// What identifies a word: `RFUTEX_KEY_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The process and the address, as was asked for with `RFUTEX_WORD_PRIVATE`.
    Private,
    /// The process and the address, because the memory is anonymous.
    Mm,
    /// The file and the position in it.
    Inode,
    /// The arena and the position in it.
    Arena,
    /// Something that this program does not know.
    Unknown,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Private => "private",
            Self::Mm => "mm",
            Self::Inode => "inode",
            Self::Arena => "arena",
            Self::Unknown => "unknown",
        })
    }
}

/// A file: its device and its inode number, as in /proc/PID/maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FileId {
    /// Major and minor number of the device.
    pub dev: (u32, u32),
    /// The inode number.
    pub ino: u64,
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.dev;
        write!(f, "inode {} on device {major}:{minor}", self.ino)
    }
}

/// Whose end also ends the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Owner {
    /// True for a thread, false for a process.
    pub thread: bool,
    /// Its number. None if it has ended or has no number here.
    pub number: Option<u32>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.thread { "thread" } else { "process" };
        match self.number {
            Some(number) => write!(f, "{kind} {number}"),
            None => write!(f, "{kind} (unknown)"),
        }
    }
}

/// A waiter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// What waits.
    pub what: What,
    /// The thread, if it is one that has a number here.
    pub thread: Option<u32>,
    /// The process, if it has a number here.
    pub process: Option<u32>,
    /// The name of the thread, or of the process's main thread.
    pub comm: String,
    /// The table: `default`, or the name of another one.
    pub table: String,
    /// What identifies the word.
    pub kind: Kind,
    /// The number that stands for the file, the address space or the arena.
    pub object: u64,
    /// The file.
    pub file: Option<FileId>,
    /// Where the word is in the file, the address space or the arena, in bytes.
    pub position: Option<u64>,
    /// The address in the waiter's process.
    pub addr: Option<u64>,
    /// The size of the word in bytes.
    pub size: u32,
    /// The value that the word had.
    pub val: Option<u64>,
    /// Which wakes reach it.
    pub mask: u64,
    /// For how long it has waited.
    #[serde(rename = "age_ns", serialize_with = "nanoseconds")]
    pub age: Duration,
    /// Whose end also ends the wait.
    pub owner: Option<Owner>,
    /// The cookie of the watch or the request.
    pub cookie: Option<u64>,
    /// The name of the file, as in /proc/PID/maps.
    pub path: Option<PathBuf>,
}

fn nanoseconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// What identifies a word: two waiters meet if these are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WordKey {
    /// The name of the table.
    pub table: String,
    /// What identifies the word.
    pub kind: Kind,
    /// The number of the file, the address space or the arena.
    pub object: u64,
    /// The position in it.
    pub position: Option<u64>,
}

impl Record {
    /// What identifies the word.
    pub fn key(&self) -> WordKey {
        WordKey {
            table: self.table.clone(),
            kind: self.kind,
            object: self.object,
            position: self.position,
        }
    }

    /// The word, as short as it can be said.
    pub fn word(&self) -> String {
        match (self.kind, &self.path, self.file, self.position) {
            (Kind::Inode, Some(path), _, Some(at)) => format!("{}:{at:#x}", path.display()),
            (Kind::Inode, None, Some(FileId { dev, ino }), Some(at)) => {
                format!("{}:{}:{ino}:{at:#x}", dev.0, dev.1)
            }
            (Kind::Inode, None, None, Some(at)) => format!("file {:x}:{at:#x}", self.object),
            (Kind::Arena, _, _, Some(at)) => format!("arena:{at:#x}"),
            (_, _, _, Some(at)) => format!("{at:#x}"),
            (_, _, _, None) => format!("hidden, in {:x}", self.object),
        }
    }

    /// Who waits: a thread with its name, or what belongs to a process.
    pub fn who(&self) -> String {
        let number = |number: Option<u32>| number.map_or("?".to_owned(), |n| n.to_string());
        let name = if self.comm.is_empty() {
            "?"
        } else {
            &self.comm
        };
        match self.what {
            What::Thread if self.thread == self.process => {
                format!("process {} ({name})", number(self.process))
            }
            What::Thread => format!(
                "thread {} of process {} ({name})",
                number(self.thread),
                number(self.process)
            ),
            what => format!("a {what} of process {} ({name})", number(self.process)),
        }
    }
}

/// The position in bytes of what is `offset` bytes after the beginning of the page `index`.
pub fn position(index: u64, offset: u32) -> u64 {
    index.wrapping_mul(page_size()).wrapping_add(offset.into())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A thread that waits on a shared word at the beginning of a file, for a second.
    pub fn record() -> Record {
        Record {
            what: What::Thread,
            thread: Some(101),
            process: Some(100),
            comm: "worker".to_owned(),
            table: "default".to_owned(),
            kind: Kind::Inode,
            object: 7,
            file: Some(FileId {
                dev: (0, 25),
                ino: 17,
            }),
            position: Some(16),
            addr: Some(0x7f00_0000_0010),
            size: 4,
            val: Some(0),
            mask: u64::MAX,
            age: Duration::from_secs(1),
            owner: None,
            cookie: None,
            path: Some("/dev/shm/word".into()),
        }
    }

    /// The same on a word of the process's own memory.
    pub fn in_memory() -> Record {
        Record {
            kind: Kind::Mm,
            object: 8,
            file: None,
            position: Some(0x7f00_0000_0010),
            path: None,
            ..record()
        }
    }

    #[test]
    fn words_are_named_by_what_is_known() {
        assert_eq!(record().word(), "/dev/shm/word:0x10");
        let mut nameless = Record {
            path: None,
            ..record()
        };
        assert_eq!(nameless.word(), "0:25:17:0x10");
        nameless.file = None;
        assert_eq!(nameless.word(), "file 7:0x10");
        assert_eq!(in_memory().word(), "0x7f0000000010");
        let arena = Record {
            kind: Kind::Arena,
            ..nameless
        };
        assert_eq!(arena.word(), "arena:0x10");
        let hidden = Record {
            position: None,
            ..in_memory()
        };
        assert_eq!(hidden.word(), "hidden, in 8");
    }

    #[test]
    fn waiters_are_named_by_what_they_are() {
        assert_eq!(record().who(), "thread 101 of process 100 (worker)");
        let main = Record {
            thread: Some(100),
            ..record()
        };
        assert_eq!(main.who(), "process 100 (worker)");
        let watch = Record {
            what: What::Watch,
            thread: None,
            ..record()
        };
        assert_eq!(watch.who(), "a watch of process 100 (worker)");
        let ended = Record {
            thread: None,
            process: None,
            comm: String::new(),
            ..record()
        };
        assert_eq!(ended.who(), "process ? (?)");
    }

    #[test]
    fn a_position_is_in_bytes() {
        assert_eq!(position(2, 8), 2 * page_size() + 8);
    }
}
