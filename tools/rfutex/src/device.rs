// SPDX-License-Identifier: MIT OR Apache-2.0
//! The open device, and the calls on it.

use crate::raw::{self, Struct, uapi};
use crate::{Error, KeyInfo, WaitOptions, Word};
use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// How the module finds out what identifies a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resolver {
    /// From the page, without a lock. The page is faulted in if necessary, as for
    /// a write.
    Page,
    /// From the mapping, without looking at the page.
    Vma,
    /// From the page, under the page lock. In lab builds only.
    Locked,
    /// A resolver that this crate does not know.
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

    pub(crate) fn to_uapi(self) -> u32 {
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
    /// The file's inode and its file system. If that is unmounted meanwhile, it
    /// is shut down only when the thread has left.
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

    pub(crate) fn to_uapi(self) -> u32 {
        match self {
            Self::Inode => uapi::RFUTEX_HOLD_INODE,
            Self::Nothing => uapi::RFUTEX_HOLD_NOTHING,
            Self::Other(other) => other,
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
    /// [`Rfutex::wake_op`] can change words of all sizes that are named by their addresses, and not
    /// only those of 32 bits.
    pub const WAKE_OP_SIZES: Self = Self(uapi::RFUTEX_FEATURE_WAKE_OP_SIZES);
    /// [`Rfutex::wait_any`] works.
    pub const WAITV: Self = Self(uapi::RFUTEX_FEATURE_WAITV);
    /// [`Rfutex::swap`] works.
    pub const SWAP: Self = Self(uapi::RFUTEX_FEATURE_SWAP);
    /// There are watch sets (`RFUTEX_WATCHES_CREATE`).
    pub const WATCHES: Self = Self(uapi::RFUTEX_FEATURE_WATCHES);
    /// io_uring can issue waits and wakes.
    pub const URING: Self = Self(uapi::RFUTEX_FEATURE_URING);
    /// There is `RFUTEX_WAKEV`.
    pub const WAKEV: Self = Self(uapi::RFUTEX_FEATURE_WAKEV);
    /// There are tables of one's own ([`Table`](crate::Table)).
    pub const TABLES: Self = Self(uapi::RFUTEX_FEATURE_TABLES);
    /// Waits that name an [`Owner`](crate::Owner).
    pub const OWNERS: Self = Self(uapi::RFUTEX_FEATURE_OWNERS);
    /// [`RobustMutex`](crate::sync::RobustMutex).
    pub const ROBUST: Self = Self(uapi::RFUTEX_FEATURE_ROBUST);
    /// [`Rfutex::waiters`] works.
    pub const LIST: Self = Self(uapi::RFUTEX_FEATURE_LIST);
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
    /// How many watches a user can have at a time; 0 without
    /// [`Features::WATCHES`].
    pub max_watches: u32,
    /// The size of this open file's arena in bytes; 0 if it has none.
    pub arena_size: u64,
    /// How many pages all arenas of a user can have.
    pub max_arena_pages: u64,
    /// How many tables of his own a user can have; 0 without
    /// [`Features::TABLES`].
    pub max_tables: u32,
    /// The size in bytes of the robust part of this open file's arena.
    pub robust_size: u32,
}

/// The open device.
///
/// All open files share one table of waiters, so it makes no difference through
/// which of them a thread waits or wakes. (A [`Table`](crate::Table) has its own.) A child of fork(2) may go on using a
/// handle, and so may a process to which the descriptor was passed in a message:
/// an address is always one of the calling process.
///
/// Threads may share a handle. If many threads make many calls, it is better that
/// each has its own: see [`PerThread`](crate::PerThread).
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
    /// Those of open(2), such as `ENOENT` if the module is not loaded, and
    /// [`Error::Unsupported`] if the file is not this device, or the module is of
    /// version 1 of the interface, in which waits had other numbers.
    pub fn open() -> Result<Self, Error> {
        let file = OpenOptions::new().read(true).write(true).open(Self::PATH)?;
        OwnedFd::from(file).try_into()
    }

    /// Calls the command `request`, which writes to its struct and nowhere else.
    pub(crate) fn call<T: Struct>(&self, request: u32, arg: &mut T) -> Result<u32, Error> {
        assert_ne!(request, uapi::RFUTEX_WAKE_OP, "it writes to its target");
        assert_ne!(request, uapi::RFUTEX_WAKEV, "it writes to its results");
        // SAFETY: The file is the device, by the type invariants, and the only
        // commands that write outside of their structs were excluded above.
        unsafe { raw::call(self.as_fd(), request, arg) }
    }

    /// Calls a command without a struct.
    pub(crate) fn call_addr(&self, request: u32, addr: u64) -> Result<u32, Error> {
        // SAFETY: The file is the device, by the type invariants.
        unsafe { raw::call_addr(self.as_fd(), request, addr) }
    }

    /// Asks what the module can do.
    ///
    /// # Errors
    ///
    /// No module is known to return any.
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
            max_watches: query.max_watches,
            arena_size: query.arena_size,
            max_arena_pages: query.max_arena_pages,
            max_tables: query.max_tables,
            robust_size: query.robust_size,
        })
    }

    /// Chooses the resolver for calls through this open file that begin later,
    /// whoever makes them.
    ///
    /// All resolvers find the same, except for some kinds of memory on which it is
    /// of little use to wait: the documentation of the module lists them. So a
    /// waiter that came through one resolver is found through any other.
    ///
    /// # Errors
    ///
    /// - [`Error::NotBuilt`]: this module was built without the resolver.
    /// - [`Error::Invalid`]: there is no resolver with this number.
    pub fn set_resolver(&self, resolver: Resolver) -> Result<(), Error> {
        let number = resolver.to_uapi().into();
        self.call_addr(uapi::RFUTEX_SET_RESOLVER, number).map(drop)
    }

    /// Sleeps while `word` has the value `val`, until a wake.
    ///
    /// As with futex(2), look at the word again afterwards: `Ok` means that
    /// somebody woke this waiter, but not why.
    ///
    /// # Errors
    ///
    /// - [`Error::Again`]: the word has another value.
    /// - [`Error::Interrupted`]: a signal handler ran that was installed without
    ///   `SA_RESTART`; with it, the wait goes on.
    /// - [`Error::Fault`]: there is no usable memory at this address: nothing is
    ///   mapped, it cannot be read, or it is read-only anonymous memory and the
    ///   word is not [private](Word::private).
    /// - [`Error::Invalid`]: `val` does not fit the word, or the word is
    ///   misaligned or has an unknown size.
    pub fn wait(&self, word: Word<'_>, val: u64) -> Result<(), Error> {
        self.wait_with(word, val, WaitOptions::default())
    }

    /// Like [`wait`](Self::wait), with a mask and a deadline.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), and
    /// - [`Error::TimedOut`]: the deadline passed. If the word has another value
    ///   at the start, the answer is [`Error::Again`] even after the deadline.
    /// - [`Error::Invalid`]: the mask is zero or the deadline negative; or the owner is a
    ///   process, and its number is that of a thread.
    /// - [`Error::OwnerEnded`]: the word has the value, but the owner has ended, or ended
    ///   while the caller slept. A wake that came before takes precedence.
    /// - [`Error::Deadlock`]: the owner is the caller.
    #[inline]
    pub fn wait_with(&self, word: Word<'_>, val: u64, options: WaitOptions) -> Result<(), Error> {
        let mut wait = options.wait_on(word, val);
        self.call(uapi::RFUTEX_WAIT, &mut wait).map(drop)
    }

    /// Wakes up to `nr` waiters whose masks share a bit with `mask`: real-time
    /// tasks first, then in the order in which they came. Returns how many it
    /// woke.
    ///
    /// # Errors
    ///
    /// - [`Error::Fault`]: there is no usable memory at this address.
    /// - [`Error::Invalid`]: the mask is zero, or the word is misaligned or has an
    ///   unknown size.
    pub fn wake(&self, word: Word<'_>, nr: u32, mask: u64) -> Result<u32, Error> {
        let mut wake = uapi::rfutex_wake {
            word: word.into(),
            mask,
            nr,
            pad: 0,
        };
        self.call(uapi::RFUTEX_WAKE, &mut wake)
    }

    /// Wakes the first waiter, whatever its mask. Returns how many it woke: 0 or
    /// 1.
    ///
    /// # Errors
    ///
    /// [`Error::Fault`]: there is no usable memory at this address.
    pub fn wake_one(&self, word: Word<'_>) -> Result<u32, Error> {
        self.call_addr(raw::wake_one(word), word.addr())
    }

    /// Wakes all waiters, whatever their masks. Returns how many it woke.
    ///
    /// # Errors
    ///
    /// [`Error::Fault`]: there is no usable memory at this address.
    pub fn wake_all(&self, word: Word<'_>) -> Result<u32, Error> {
        self.call_addr(raw::wake_all(word), word.addr())
    }

    /// Asks what identifies `word`, and how many threads wait there.
    ///
    /// # Errors
    ///
    /// - [`Error::Fault`]: there is no usable memory at this address.
    /// - [`Error::Invalid`]: the word is misaligned or has an unknown size.
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

/// Takes over a descriptor of the device, for instance one that another process
/// has sent.
///
/// # Errors
///
/// If the file is not the device, [`Error::Unsupported`] or whatever else that
/// file answers to a command that it does not know; and [`Error::Unsupported`] if
/// the module is of version 1 of the interface. The descriptor is closed then.
impl TryFrom<OwnedFd> for Rfutex {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self, Error> {
        let mut query = uapi::rfutex_query::default();
        // SAFETY: If the file is another one and knows a command of this number,
        // it writes no more than the size that the number carries.
        unsafe { raw::call(fd.as_fd(), uapi::RFUTEX_QUERY, &mut query) }?;
        if query.version < raw::OLDEST_VERSION {
            return Err(Error::Unsupported);
        }
        // INVARIANT: The file has answered as the device does.
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

/// The descriptor must be one of the device.
impl FromRawFd for Rfutex {
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // INVARIANT: The caller promises that it is the device.
        // SAFETY: The caller promises that nobody else owns `fd`.
        Self(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
