// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who waits where.

use crate::raw::{self, uapi};
use crate::{Error, Rfutex};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::iter::FusedIterator;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum What {
    /// A thread that sleeps.
    Thread,
    /// A watch that is gone after one wake.
    Watch,
    /// A watch that stays ([`WatchOptions::repeat`](crate::WatchOptions::repeat)).
    RepeatedWatch,
    /// A request that was submitted to io_uring.
    Request,
    /// Something that this crate does not know.
    Other(u32),
}

impl What {
    fn from_uapi(what: u32) -> Self {
        match what {
            uapi::RFUTEX_WAITER_THREAD => Self::Thread,
            uapi::RFUTEX_WAITER_WATCH => Self::Watch,
            uapi::RFUTEX_WAITER_REPEATED_WATCH => Self::RepeatedWatch,
            uapi::RFUTEX_WAITER_REQUEST => Self::Request,
            other => Self::Other(other),
        }
    }
}

/// How a word is identified. [`Key`](crate::Key) says more about each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// By its address, because it is [private](crate::Word::private).
    Private,
    /// By its address, because it is in anonymous memory.
    Mm,
    /// By the file, and the position in it.
    Inode,
    /// By the arena, and the position in it.
    Arena,
    /// In a way that this crate does not know.
    Other(u32),
}

impl KeyKind {
    fn from_uapi(kind: u32) -> Self {
        match kind {
            uapi::RFUTEX_KEY_PRIVATE => Self::Private,
            uapi::RFUTEX_KEY_MM => Self::Mm,
            uapi::RFUTEX_KEY_INODE => Self::Inode,
            uapi::RFUTEX_KEY_ARENA => Self::Arena,
            other => Self::Other(other),
        }
    }
}

/// A file, as `/proc/self/maps` and stat(2) know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The device: major and minor number.
    pub dev: (u32, u32),
    /// The inode number.
    pub ino: u64,
}

/// Where a word lies in a file, an arena or an address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The page's index, in units of the page size.
    pub index: u64,
    /// Byte offset in the page.
    pub offset: u32,
}

/// What an [`Owner`](crate::Owner) is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OwnerKind {
    /// A thread.
    Thread,
    /// A process.
    Process,
    /// Something that this crate does not know.
    Other(u32),
}

/// The owner that a waiter has named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamedOwner {
    /// What it is.
    pub kind: OwnerKind,
    /// Its number in the pid namespace of who has opened the listing; `None` if it has
    /// ended, or has none there.
    pub number: Option<u32>,
    /// Its id; `None` if it has no number there.
    pub id: Option<u64>,
}

impl NamedOwner {
    fn from_uapi(raw: &uapi::rfutex_waiter) -> Option<Self> {
        let kind = match raw.owner {
            uapi::RFUTEX_OWNER_NONE => return None,
            uapi::RFUTEX_OWNER_THREAD => OwnerKind::Thread,
            uapi::RFUTEX_OWNER_PROCESS => OwnerKind::Process,
            other => OwnerKind::Other(other),
        };
        Some(Self {
            kind,
            number: unless_zero(raw.owner_number),
            id: (raw.owner_id != 0).then_some(raw.owner_id),
        })
    }
}

/// A waiter, as it was when the listing came to it.
///
/// In the table that all share, only those waiters are shown that the opener of the
/// listing may inspect, and of these, everything that is known. What is not to be shown
/// of other waiters, in a [`Table`](crate::Table), is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiter {
    /// What waits.
    pub what: What,
    /// The number of the thread, if it is a thread that waits.
    pub thread: Option<u32>,
    /// The number of the process: of that which has armed the watch or submitted the
    /// request. `None` if it has ended, or has no number in the pid namespace of who has
    /// opened the listing.
    pub process: Option<u32>,
    /// The name of the thread, or of the main thread of the process. Empty if it has no
    /// number.
    pub comm: OsString,
    /// How the word is identified.
    pub kind: KeyKind,
    /// What stands for the file, the address space or the arena, as in
    /// [`KeyInfo`](crate::KeyInfo::object).
    pub object: u64,
    /// The file that the word lies on. `None` if it does not lie on one, or if the
    /// process does not have it mapped where it has the word.
    pub file: Option<FileId>,
    /// Where in the file, the arena or the address space the word lies.
    pub position: Option<Position>,
    /// The address that the word has in the process, or its offset in the arena. `None`
    /// also if the waiter was moved to another word since.
    pub addr: Option<u64>,
    /// The size of the word in bytes.
    pub size: u32,
    /// The value that the word was compared with. `None` also if the waiter was moved to
    /// another word since.
    pub val: Option<u64>,
    /// Which wakes reach it.
    pub mask: u64,
    /// How long it has been waiting, to the next tick of the kernel's clock.
    pub age: Duration,
    /// The owner that it has named.
    pub owner: Option<NamedOwner>,
    /// What the user has given to recognise a watch or a request; `None` for a thread.
    pub cookie: Option<u64>,
}

impl Waiter {
    fn from_uapi(raw: &uapi::rfutex_waiter) -> Self {
        let has = |flag| raw.flags & flag != 0;
        let (what, kind) = (What::from_uapi(raw.what), KeyKind::from_uapi(raw.kind));
        let in_memory = matches!(kind, KeyKind::Private | KeyKind::Mm);
        let addr = has(uapi::RFUTEX_WAITER_ADDR).then_some(raw.addr);
        let comm = raw.comm.iter().copied().take_while(|&byte| byte != 0);
        Self {
            what,
            thread: unless_zero(raw.thread),
            process: unless_zero(raw.process),
            comm: OsString::from_vec(comm.collect()),
            kind,
            object: raw.object,
            file: has(uapi::RFUTEX_WAITER_FILE).then_some(FileId {
                dev: (raw.dev_major, raw.dev_minor),
                ino: raw.ino,
            }),
            position: (!in_memory || addr.is_some()).then_some(Position {
                index: raw.index,
                offset: raw.offset,
            }),
            addr,
            size: raw.size,
            val: has(uapi::RFUTEX_WAITER_VAL).then_some(raw.val),
            mask: raw.mask,
            age: Duration::from_nanos(raw.age),
            owner: NamedOwner::from_uapi(raw),
            cookie: (what != What::Thread).then_some(raw.cookie),
        }
    }
}

fn unless_zero(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}

/// How many waiters are read at a time.
const BATCH: usize = 64;

/// A listing of the waiters in a table, which [`Rfutex::waiters`] opens.
///
/// It is no snapshot: waiters come and go while it is read. One that waits all the time
/// is found once. But one that is requeued meanwhile may be missing, or be found twice;
/// and where more than 64 waiters share a hash bucket, a repeated watch that is woken
/// meanwhile may be missing.
///
/// # Invariants
///
/// The open file is a listing, whose records are as large as those of this crate.
#[derive(Debug)]
pub struct Waiters {
    file: File,
    batch: Vec<uapi::rfutex_waiter>,
    /// How many of the batch were returned.
    next: usize,
    /// Whether nothing is left to be read.
    finished: bool,
}

impl Rfutex {
    /// Lists those who wait in this table.
    ///
    /// # Errors
    ///
    /// - [`Error::Unsupported`]: the module has no listings.
    /// - [`Error::Os`] with `ENOSPC`: this user has too many watches and listings, each of
    ///   which counts as 64 watches; with `EMFILE`, `ENFILE` or `ENOMEM`.
    pub fn waiters(&self) -> Result<Waiters, Error> {
        let mut list = uapi::rfutex_list {
            flags: uapi::RFUTEX_LIST_CLOEXEC,
            entry_size: size_of::<uapi::rfutex_waiter>() as u32,
        };
        let fd = self.call(uapi::RFUTEX_LIST, &mut list)?;
        // INVARIANT: The command has opened a listing with records of this size.
        // SAFETY: The descriptor was just opened, and nobody else knows it.
        let file = unsafe { File::from_raw_fd(fd as RawFd) };
        Ok(Waiters {
            file,
            batch: Vec::new(),
            next: 0,
            finished: false,
        })
    }
}

impl Waiters {
    /// Starts again from the beginning.
    ///
    /// # Errors
    ///
    /// None is known.
    pub fn rewind(&mut self) -> Result<(), Error> {
        self.file.rewind()?;
        self.batch.clear();
        (self.next, self.finished) = (0, false);
        Ok(())
    }

    /// Reads the next batch.
    fn fill(&mut self) -> Result<(), Error> {
        self.next = 0;
        self.batch.clear();
        self.batch.resize(BATCH, uapi::rfutex_waiter::default());
        let read = loop {
            match self.file.read(raw::bytes_of_slice_mut(&mut self.batch)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let nr = *read.as_ref().unwrap_or(&0) / size_of::<uapi::rfutex_waiter>();
        self.batch.truncate(nr);
        read.map(drop).map_err(Error::from)
    }
}

impl Iterator for Waiters {
    type Item = Result<Waiter, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.batch.len() && !self.finished {
            let filled = self.fill();
            self.finished = self.batch.is_empty();
            if let Err(error) = filled {
                return Some(Err(error));
            }
        }
        let raw = self.batch.get(self.next)?;
        self.next += 1;
        Some(Ok(Waiter::from_uapi(raw)))
    }
}

impl FusedIterator for Waiters {}

impl AsFd for Waiters {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<Waiters> for OwnedFd {
    fn from(waiters: Waiters) -> Self {
        waiters.file.into()
    }
}
