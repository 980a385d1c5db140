// SPDX-License-Identifier: MIT OR Apache-2.0
//! Watches: waiting on words without sleeping on them.

use crate::raw::{self, Struct, uapi};
use crate::{Error, Rfutex, Word};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A watch set: a file whose events are wakes on any number of words.
///
/// A *watch* waits on a word as a sleeping thread does: it takes its turn among
/// the threads, and it consumes the wake that meets it. But no thread sleeps on
/// the word. Instead the set has an event then. Whoever has the set can
/// [read](Self::read) it, or wait for it with poll(2), epoll(7) or io_uring(7), as
/// the crates `polling`, `mio` and `tokio` do.
///
/// The words are those of the device on which the set was opened. A watch is not
/// bound to the process that has added it: it stays until it is met,
/// [removed](Self::remove), or the set is closed. But what identifies its word is
/// found out once, when it is added.
///
/// ```no_run
/// use rfutex::{Error, Event, Rfutex, WatchOptions, Watches, Word};
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// static WORD: AtomicU32 = AtomicU32::new(0);
///
/// fn main() -> Result<(), Error> {
///     let watches = Watches::new(&Rfutex::open()?)?;
///     let word = Word::new(&WORD).private();
///     std::thread::spawn(move || {
///         WORD.store(1, Ordering::Release);
///         Rfutex::open()?.wake_one(word)
///     });
///     match watches.add(word, 0, 42, WatchOptions::default()) {
///         Ok(_) => {
///             // This is where an event loop would be.
///             let mut events = [Event::default(); 8];
///             let nr = watches.read(&mut events)?;
///             assert_eq!(events[..nr][0].cookie, 42);
///         }
///         // The word has changed before.
///         Err(Error::Again) => {}
///         Err(error) => return Err(error),
///     }
///     Ok(())
/// }
/// ```
///
/// # Invariants
///
/// The open file is a watch set.
#[derive(Debug)]
pub struct Watches(File);

/// How to watch. By default: for any wake, and for one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchOptions {
    /// A wake reaches this watch if its mask and this one share a bit. Zero is an
    /// error.
    pub mask: u64,
    /// Whether the watch stays when a wake has met it, behind the other waiters of
    /// its word, and counts the wakes until they are read.
    pub repeat: bool,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            mask: uapi::RFUTEX_MASK_ANY,
            repeat: false,
        }
    }
}

impl WatchOptions {
    /// These options with this mask.
    pub fn mask(self, mask: u64) -> Self {
        Self { mask, ..self }
    }

    /// These options, for a watch that stays.
    pub fn repeat(self) -> Self {
        Self {
            repeat: true,
            ..self
        }
    }
}

/// By what a set knows a watch. A set gives the same id again only after 2^32
/// other watches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct WatchId(pub u64);

/// What a watch has been met by since it was read last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
#[non_exhaustive]
pub struct Event {
    /// What was given when the watch was added.
    pub cookie: u64,
    /// The watch.
    pub id: WatchId,
    /// How many wakes have counted it.
    pub woken: u64,
    /// How many requeues have counted it as moved. Only a watch that
    /// [repeats](WatchOptions::repeat) hears of them, because it stays where it is.
    pub moved: u32,
    /// `RFUTEX_EVENT_*`: which of the counts are not zero.
    pub what: u32,
}

const _: () = assert!(size_of::<Event>() == size_of::<uapi::rfutex_event>());

// SAFETY: It is laid out as `rfutex_event`, and has nothing but integers.
unsafe impl Struct for Event {}

impl Watches {
    /// Opens a set, close-on-exec. [`read`](Self::read) waits until there is an
    /// event.
    ///
    /// # Errors
    ///
    /// - [`Error::Unsupported`]: the module has no watch sets.
    /// - [`Error::Os`]: there are too many open files (`EMFILE`, `ENFILE`), or there
    ///   is no memory (`ENOMEM`).
    pub fn new(device: &Rfutex) -> Result<Self, Error> {
        Self::create(device, 0)
    }

    /// Opens a set whose [`read`](Self::read) returns [`Error::Again`] if there is no
    /// event, as an event loop needs it.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn nonblocking(device: &Rfutex) -> Result<Self, Error> {
        Self::create(device, uapi::RFUTEX_WATCHES_NONBLOCK)
    }

    fn create(device: &Rfutex, flags: u32) -> Result<Self, Error> {
        let mut create = uapi::rfutex_watches_create {
            flags: flags | uapi::RFUTEX_WATCHES_CLOEXEC,
            pad: 0,
        };
        let fd = device.call(uapi::RFUTEX_WATCHES_CREATE, &mut create)?;
        // INVARIANT: The command has opened a set.
        // SAFETY: The descriptor was just opened, and nobody else knows it.
        Ok(Self(unsafe { File::from_raw_fd(fd as RawFd) }))
    }

    /// Adds a watch on `word`, if it has the value `val`. Its events have this
    /// `cookie`, which may be any number.
    ///
    /// Comparing and adding are one step, as in [`Rfutex::wait`]: no wake that comes
    /// after the value was changed is missed.
    ///
    /// # Errors
    ///
    /// Those of [`Rfutex::wait`], above all [`Error::Again`], and
    /// - [`Error::Os`] with `ENOSPC`: this user has as many watches as are allowed
    ///   ([`Query::max_watches`](crate::Query::max_watches)); with `ENOMEM`: there is
    ///   no memory.
    pub fn add(
        &self,
        word: Word<'_>,
        val: u64,
        cookie: u64,
        options: WatchOptions,
    ) -> Result<WatchId, Error> {
        let mut add = uapi::rfutex_watch_add {
            word: word.into(),
            val,
            mask: options.mask,
            cookie,
            id: 0,
            flags: if options.repeat {
                uapi::RFUTEX_WATCH_REPEAT
            } else {
                0
            },
            cond: 0,
        };
        self.call(uapi::RFUTEX_WATCH_ADD, &mut add)?;
        Ok(WatchId(add.id))
    }

    /// Ends a watch. Returns `Some(0)` if nothing has met it, `Some(n)` if it was met
    /// `n` times since it was read last: its event does not come any more, and the
    /// caller can pass the wakes on. Returns `None` if it is gone, or somebody is just
    /// reading its event.
    ///
    /// # Errors
    ///
    /// None is known.
    pub fn remove(&self, id: WatchId) -> Result<Option<u32>, Error> {
        let mut remove = uapi::rfutex_watch_remove {
            id: id.0,
            flags: 0,
            pad: 0,
        };
        match self.call(uapi::RFUTEX_WATCH_REMOVE, &mut remove) {
            Ok(unread) => Ok(Some(unread)),
            Err(Error::Os(libc::ENOENT)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads events into `events`, as many as there are and as fit. Returns how many,
    /// which is at least one.
    ///
    /// # Errors
    ///
    /// - [`Error::Again`]: there is none, and the set does not
    ///   [block](Self::nonblocking).
    /// - [`Error::Interrupted`]: a signal handler ran that was installed without
    ///   `SA_RESTART`.
    /// - [`Error::Invalid`]: `events` is empty.
    pub fn read(&self, events: &mut [Event]) -> Result<usize, Error> {
        let bytes = raw::bytes_of_slice_mut(events);
        Ok((&self.0).read(bytes)? / size_of::<Event>())
    }

    /// Another handle of the same set.
    ///
    /// # Errors
    ///
    /// [`Error::Os`]: there are too many open files.
    pub fn try_clone(&self) -> Result<Self, Error> {
        // INVARIANT: It is the same open file.
        Ok(Self(self.0.try_clone()?))
    }

    /// Calls the command `request`, which writes to its struct and nowhere else.
    fn call<T: Struct>(&self, request: u32, arg: &mut T) -> Result<u32, Error> {
        // SAFETY: The file is a watch set, by the type invariants, and no command of it
        // writes outside of its struct.
        unsafe { raw::call(self.0.as_fd(), request, arg) }
    }
}

impl AsFd for Watches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Watches {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<Watches> for OwnedFd {
    fn from(watches: Watches) -> Self {
        watches.0.into()
    }
}

/// Takes over a descriptor of a watch set, for instance one that another process has
/// sent.
///
/// # Errors
///
/// [`Error::Unsupported`]: the file is not a watch set. [`Error::Os`]: `/proc` is not
/// mounted. The descriptor is closed then.
impl TryFrom<OwnedFd> for Watches {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self, Error> {
        // Other files may know a command of the same number.
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        if std::fs::read_link(link)?.as_os_str() != "anon_inode:[rfutex-watches]" {
            return Err(Error::Unsupported);
        }
        // INVARIANT: Only the module gives files this name.
        Ok(Self(fd.into()))
    }
}

/// One of the words of [`Rfutex::wake_each`].
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct WakeEntry<'a> {
    raw: uapi::rfutex_wakev_entry,
    memory: std::marker::PhantomData<Word<'a>>,
}

impl<'a> WakeEntry<'a> {
    /// Up to `nr` waiters on `word`.
    pub fn new(word: Word<'a>, nr: u32) -> Self {
        Self {
            raw: uapi::rfutex_wakev_entry {
                word: word.into(),
                mask: uapi::RFUTEX_MASK_ANY,
                nr,
                flags: 0,
            },
            memory: std::marker::PhantomData,
        }
    }

    /// The same, but only waiters whose mask shares a bit with `mask`.
    pub fn mask(mut self, mask: u64) -> Self {
        self.raw.mask = mask;
        self
    }
}

impl Rfutex {
    /// Wakes waiters on each of the words, in their order. Returns how many were woken
    /// in all, and writes to `results` how many there were on each word.
    ///
    /// # Errors
    ///
    /// Nobody was woken then.
    /// - [`Error::Fault`]: there is no usable memory at one of the addresses.
    /// - [`Error::Invalid`]: there is no word, or more than
    ///   [`MAX_WORDS`](Self::MAX_WORDS), or a mask is zero, or a word is misaligned or
    ///   has an unknown size; or `results` has another length than `entries`.
    /// - [`Error::Os`] with `ENOMEM`: there is no memory.
    pub fn wake_each(&self, entries: &[WakeEntry<'_>], results: &mut [u32]) -> Result<u32, Error> {
        if entries.len() != results.len() {
            return Err(Error::Invalid);
        }
        let mut wakev = uapi::rfutex_wakev {
            entries: entries.as_ptr().addr() as u64,
            results: results.as_mut_ptr().expose_provenance() as u64,
            nr: entries.len().try_into().map_err(|_| Error::Invalid)?,
            entry_size: size_of::<WakeEntry<'_>>() as u32,
            flags: 0,
            pad: 0,
        };
        // SAFETY: The file is the device, by the invariants of `Self`. The results are
        // borrowed for as long as the call lasts, and have the length that the struct
        // says.
        unsafe { raw::call(self.as_fd(), uapi::RFUTEX_WAKEV, &mut wakev) }
    }
}
