// SPDX-License-Identifier: MIT OR Apache-2.0
//! The open device, and the calls on it.

use crate::raw::{self, Struct, uapi};
use crate::{Error, KeyInfo, WaitOptions, Word};
use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// How the module finds what identifies a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resolver {
    /// From the page, without a lock.
    Page,
    /// From the mapping of the address space, without the page.
    Vma,
    /// From the page, under its lock. In lab builds only.
    Locked,
    /// One that this crate does not know.
    Other(u32),
}

impl Resolver {
    pub(crate) fn from_uapi(resolver: u32) -> Self {
        match resolver {
            uapi::RFUTEX_RESOLVER_PAGE => Self::Page,
            uapi::RFUTEX_RESOLVER_VMA => Self::Vma,
            uapi::RFUTEX_RESOLVER_LOCKED => Self::Locked,
            other => Self::Other(other),
        }
    }

    fn to_uapi(self) -> u32 {
        match self {
            Self::Page => uapi::RFUTEX_RESOLVER_PAGE,
            Self::Vma => uapi::RFUTEX_RESOLVER_VMA,
            Self::Locked => uapi::RFUTEX_RESOLVER_LOCKED,
            Self::Other(other) => other,
        }
    }
}

/// What a thread holds while it sleeps on a word of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hold {
    /// The file's inode, and so the file system: an unmount under it is done
    /// only when the thread has left.
    Inode,
    /// Nothing, as in futex(2).
    Nothing,
    /// Something that this crate does not know.
    Other(u32),
}

impl Hold {
    fn from_uapi(hold: u32) -> Self {
        match hold {
            uapi::RFUTEX_HOLD_INODE => Self::Inode,
            uapi::RFUTEX_HOLD_NOTHING => Self::Nothing,
            other => Self::Other(other),
        }
    }
}

/// What a module can do: a set of `RFUTEX_FEATURE_*` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Features(pub u64);

impl Features {
    /// [`Rfutex::wait`] works.
    pub const WAIT: Self = Self(uapi::RFUTEX_FEATURE_WAIT);
    /// [`Rfutex::wake`] and its short forms work.
    pub const WAKE: Self = Self(uapi::RFUTEX_FEATURE_WAKE);
    /// [`Rfutex::key_info`] works.
    pub const KEY_INFO: Self = Self(uapi::RFUTEX_FEATURE_KEY_INFO);
    /// [`Rfutex::requeue`] works.
    pub const REQUEUE: Self = Self(uapi::RFUTEX_FEATURE_REQUEUE);
    /// [`Rfutex::wake_op`] works.
    pub const WAKE_OP: Self = Self(uapi::RFUTEX_FEATURE_WAKE_OP);
    /// [`Rfutex::wait_any`] works.
    pub const WAITV: Self = Self(uapi::RFUTEX_FEATURE_WAITV);
    /// [`Rfutex::swap`] works.
    pub const SWAP: Self = Self(uapi::RFUTEX_FEATURE_SWAP);
    /// There is [`Resolver::Page`].
    pub const RESOLVER_PAGE: Self = Self(uapi::RFUTEX_FEATURE_RESOLVER_PAGE);
    /// There is [`Resolver::Vma`].
    pub const RESOLVER_VMA: Self = Self(uapi::RFUTEX_FEATURE_RESOLVER_VMA);
    /// There is [`Resolver::Locked`].
    pub const RESOLVER_LOCKED: Self = Self(uapi::RFUTEX_FEATURE_RESOLVER_LOCKED);
    /// The module is a lab build: slower, with ways to provoke every failure.
    pub const LAB: Self = Self(uapi::RFUTEX_FEATURE_LAB);

    /// Whether every feature of `other` is there.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a module is and can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Query {
    /// Version of the interface.
    pub version: u32,
    /// The resolver that this open file uses.
    pub resolver: Resolver,
    /// What the module can do.
    pub features: Features,
    /// The word sizes in bytes, or-ed.
    pub sizes: u32,
    /// Number of buckets in this open file's table.
    pub nr_buckets: u32,
    /// What a thread that sleeps on a word of a file holds.
    pub hold: Hold,
}

/// The open device. All open files meet in one table.
///
/// A child of fork(2) may go on using it, and so may a process that got the
/// file descriptor in a message: an address is always one of the caller's.
///
/// # Invariants
///
/// The open file is the device.
#[derive(Debug)]
pub struct Rfutex(OwnedFd);

impl Rfutex {
    /// Where the device is.
    pub const PATH: &str = "/dev/rfutex";

    /// Opens the device, close-on-exec.
    ///
    /// # Errors
    ///
    /// Those of open(2): `ENOENT` when the module is not loaded. And
    /// [`Error::Unsupported`] if what is there is not this device.
    pub fn open() -> Result<Self, Error> {
        let file = OpenOptions::new().read(true).write(true).open(Self::PATH)?;
        OwnedFd::from(file).try_into()
    }

    /// Calls the command `request`, which writes to its struct at most.
    pub(crate) fn call<T: Struct>(&self, request: u32, arg: &mut T) -> Result<u32, Error> {
        assert_ne!(request, uapi::RFUTEX_WAKE_OP, "it writes to its target");
        // SAFETY: It is the device, by the type invariants, and no command that
        // writes anywhere else.
        unsafe { raw::call(self.as_fd(), request, arg) }
    }

    /// Calls a command without a struct.
    fn call_addr(&self, request: u32, addr: u64) -> Result<u32, Error> {
        // SAFETY: It is the device, by the type invariants.
        unsafe { raw::call_addr(self.as_fd(), request, addr) }
    }

    /// Asks what the module can do.
    ///
    /// # Errors
    ///
    /// None that a module is known to give.
    pub fn query(&self) -> Result<Query, Error> {
        let mut query = uapi::rfutex_query::default();
        self.call(uapi::RFUTEX_QUERY, &mut query)?;
        Ok(Query {
            version: query.version,
            resolver: Resolver::from_uapi(query.resolver),
            features: Features(query.features),
            sizes: query.sizes,
            nr_buckets: query.nr_buckets,
            hold: Hold::from_uapi(query.hold),
        })
    }

    /// Chooses how this open file finds what identifies a word, in calls that
    /// begin later. Who shares the open file shares the choice.
    ///
    /// The resolvers find the same, but for memory on which it is of little
    /// use to wait: see the documentation of the module. So a waiter that came
    /// through one is found through any other.
    ///
    /// # Errors
    ///
    /// - [`Error::NotBuilt`]: this module was built without it.
    /// - [`Error::Invalid`]: there is none of that number.
    pub fn set_resolver(&self, resolver: Resolver) -> Result<(), Error> {
        let number = resolver.to_uapi().into();
        self.call_addr(uapi::RFUTEX_SET_RESOLVER, number).map(drop)
    }

    /// Sleeps while `word` has the value `val`, until a wake.
    ///
    /// As with futex(2), look at the word again after it returned: what
    /// `Ok` says is that somebody woke this waiter, not why.
    ///
    /// # Errors
    ///
    /// - [`Error::Again`]: the word has another value.
    /// - [`Error::Interrupted`]: a handler ran that was installed without
    ///   `SA_RESTART`; with it, the wait goes on.
    /// - [`Error::Fault`]: no usable memory at this address: not mapped,
    ///   not readable, or not private and anonymous but read-only.
    /// - [`Error::Invalid`]: `val` does not fit the word, or the word is
    ///   misaligned or of no known size.
    pub fn wait(&self, word: Word<'_>, val: u64) -> Result<(), Error> {
        self.wait_with(word, val, WaitOptions::default())
    }

    /// Like [`wait`](Self::wait), with a mask and a deadline.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), and
    /// - [`Error::TimedOut`]: the deadline passed. A word with another value
    ///   gives [`Error::Again`], however late it is.
    /// - [`Error::Invalid`]: the mask is zero or the deadline negative.
    pub fn wait_with(&self, word: Word<'_>, val: u64, options: WaitOptions) -> Result<(), Error> {
        let mut wait = options.wait_on(word, val);
        self.call(uapi::RFUTEX_WAIT, &mut wait).map(drop)
    }

    /// Wakes up to `nr` waiters whose mask shares a bit with `mask`, in the
    /// order in which they came, real-time tasks first. Returns how many.
    ///
    /// # Errors
    ///
    /// - [`Error::Fault`]: no usable memory at this address.
    /// - [`Error::Invalid`]: the mask is zero, or the word is misaligned or of
    ///   no known size.
    pub fn wake(&self, word: Word<'_>, nr: u32, mask: u64) -> Result<u32, Error> {
        let mut wake = uapi::rfutex_wake {
            word: word.into(),
            mask,
            nr,
            pad: 0,
        };
        self.call(uapi::RFUTEX_WAKE, &mut wake)
    }

    /// Wakes the first waiter, whatever its mask. Returns how many: 0 or 1.
    ///
    /// # Errors
    ///
    /// [`Error::Fault`]: no usable memory at this address.
    pub fn wake_one(&self, word: Word<'_>) -> Result<u32, Error> {
        let request = if word.is_private() {
            uapi::RFUTEX_WAKE_ONE_PRIVATE
        } else {
            uapi::RFUTEX_WAKE_ONE
        };
        self.call_addr(request, word.addr())
    }

    /// Wakes every waiter, whatever its mask. Returns how many.
    ///
    /// # Errors
    ///
    /// [`Error::Fault`]: no usable memory at this address.
    pub fn wake_all(&self, word: Word<'_>) -> Result<u32, Error> {
        let request = if word.is_private() {
            uapi::RFUTEX_WAKE_ALL_PRIVATE
        } else {
            uapi::RFUTEX_WAKE_ALL
        };
        self.call_addr(request, word.addr())
    }

    /// Asks what identifies `word` and how many wait there.
    ///
    /// # Errors
    ///
    /// - [`Error::Fault`]: no usable memory at this address.
    /// - [`Error::Invalid`]: the word is misaligned or of no known size.
    /// - [`Error::Unsupported`]: the key is of a kind that this crate does not
    ///   know.
    pub fn key_info(&self, word: Word<'_>) -> Result<KeyInfo, Error> {
        let mut info = uapi::rfutex_key_info {
            word: word.into(),
            ..Default::default()
        };
        self.call(uapi::RFUTEX_KEY_INFO, &mut info)?;
        KeyInfo::from_uapi(info).ok_or(Error::Unsupported)
    }
}

impl AsFd for Rfutex {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Takes over an open device, as from a message of another process.
///
/// # Errors
///
/// [`Error::Unsupported`], or what else a file says to a command that it does
/// not know, if it is not the device. It is closed then.
impl TryFrom<OwnedFd> for Rfutex {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self, Error> {
        let mut query = uapi::rfutex_query::default();
        // SAFETY: Where the command is that of another file, it writes no more
        // than the size that is in its number.
        unsafe { raw::call(fd.as_fd(), uapi::RFUTEX_QUERY, &mut query) }?;
        if query.version == 0 {
            return Err(Error::Unsupported);
        }
        // INVARIANT: It has answered as the device does.
        Ok(Self(fd))
    }
}

impl From<Rfutex> for OwnedFd {
    fn from(rfutex: Rfutex) -> Self {
        rfutex.0
    }
}

impl IntoRawFd for Rfutex {
    fn into_raw_fd(self) -> RawFd {
        self.0.into_raw_fd()
    }
}

/// The open file must be the device.
impl FromRawFd for Rfutex {
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // INVARIANT: The caller's promise.
        // SAFETY: The caller promises that nobody else owns `fd`.
        Self(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
