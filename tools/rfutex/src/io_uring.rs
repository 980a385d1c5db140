// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries for the crate `io-uring`: waits and wakes, and entries that wait for the
//! events of a watch set. (Feature `io-uring`.)
//!
//! Each function makes one entry; the caller gives it a `user_data` and pushes it.
//!
//! | the entry | its completions |
//! |---|---|
//! | [`poll`] | one, when there are events to be read |
//! | [`poll_multi`] | one whenever there are new events |
//! | [`read`] | one, with the events |
//! | [`Buffers::read_multi`] | one for each buffer full of events, as long as there are free buffers |
//! | [`wait`] | one, when a wake meets it: 0 |
//! | [`wake_one`], [`wake_all`] | one, with the number of waiters that were woken |
//! | [`cancel`] | one, with the number of waits that were cancelled |
//!
//! Unlike a call of [`Watches::read`], an entry that reads waits for events whether
//! or not the set is [non-blocking](Watches::nonblocking).

use crate::raw::{self, uapi};
use crate::{Error, Event, Rfutex, WaitOptions, Watches, Word};
use ::io_uring::types::Fd;
use ::io_uring::{cqueue, opcode, squeue};
use std::cell::UnsafeCell;
use std::os::fd::{AsFd, AsRawFd};

fn fd(watches: &Watches) -> Fd {
    Fd(watches.as_raw_fd())
}

/// Completes when there are events to be read.
pub fn poll(watches: &Watches) -> squeue::Entry {
    opcode::PollAdd::new(fd(watches), libc::POLLIN as u32).build()
}

/// Completes whenever there are new events, as long as `cqueue::more` says so.
pub fn poll_multi(watches: &Watches) -> squeue::Entry {
    opcode::PollAdd::new(fd(watches), libc::POLLIN as u32)
        .multi(true)
        .build()
}

/// Reads events into `events` as soon as there are some. [`completed`] tells how many.
///
/// Whoever pushes the entry answers for it that `events` stays where it is, and is not
/// accessed, until it has completed.
pub fn read(watches: &Watches, events: &mut [Event]) -> squeue::Entry {
    let len = size_of_val(events).try_into().unwrap_or(u32::MAX);
    opcode::Read::new(fd(watches), events.as_mut_ptr().cast(), len)
        .offset(CURRENT)
        .build()
}

/// The offset of a file that has none.
const CURRENT: u64 = u64::MAX;

/// How many events an entry has read whose completion has this result.
///
/// # Errors
///
/// That of the completion.
pub fn completed(result: i32) -> Result<usize, Error> {
    match usize::try_from(result) {
        Ok(bytes) => Ok(bytes / size_of::<Event>()),
        Err(_) => Err(Error::from_errno(-result)),
    }
}

/// A command of the device: the number of an ioctl, and its argument.
fn command(device: &Rfutex, op: u32, arg: u64) -> squeue::Entry {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&arg.to_ne_bytes());
    opcode::UringCmd16::new(Fd(device.as_fd().as_raw_fd()), op)
        .cmd(bytes)
        .build()
}

/// What [`wait`] waits for.
#[derive(Debug, Clone, Copy)]
pub struct Wait(#[expect(dead_code, reason = "the kernel reads it")] uapi::rfutex_wait);

impl Wait {
    /// A wake on `word` whose mask shares a bit with `mask`, while the word has the
    /// value `val`.
    pub fn new(word: Word<'_>, val: u64, mask: u64) -> Self {
        Self(WaitOptions::default().mask(mask).wait_on(word, val))
    }
}

/// Completes with 0 when a wake meets it, or at once with an error: `EAGAIN` if the word
/// has another value, and those of [`Rfutex::wait`].
///
/// Whoever pushes the entry answers for it that `wait` stays where it is until the entry
/// was issued: that is when the call has returned which submits it, or, if io_uring
/// does not issue it there, when it has completed.
pub fn wait(device: &Rfutex, wait: &Wait) -> squeue::Entry {
    let addr = std::ptr::from_ref(wait).expose_provenance();
    command(device, uapi::RFUTEX_WAIT, addr as u64)
}

/// Wakes the first waiter on `word`, as [`Rfutex::wake_one`] does.
pub fn wake_one(device: &Rfutex, word: Word<'_>) -> squeue::Entry {
    command(device, raw::wake_one(word), word.addr())
}

/// Wakes all waiters on `word`, as [`Rfutex::wake_all`] does.
pub fn wake_all(device: &Rfutex, word: Word<'_>) -> squeue::Entry {
    command(device, raw::wake_all(word), word.addr())
}

/// Cancels the waits with this `user_data` that were submitted to the same ring on the
/// same open device. They complete with `ECANCELED`.
pub fn cancel(device: &Rfutex, user_data: u64) -> squeue::Entry {
    command(device, uapi::RFUTEX_URING_CANCEL, user_data)
}

/// Memory for the events that [`read_multi`](Self::read_multi) reads: a group of
/// buffers, of which the kernel takes one for each completion.
///
/// ```no_run
/// # fn example(
/// #     mut ring: io_uring::IoUring,
/// #     watches: rfutex::Watches,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let buffers = rfutex::io_uring::Buffers::new(7, 16, 8);
/// // SAFETY: The buffers outlive the ring's use of them.
/// unsafe { ring.submission().push_multiple(&[buffers.provide(), buffers.read_multi(&watches)]) }?;
/// ring.submit_and_wait(1)?;
/// let completions: Vec<_> = ring.completion().collect();
/// for completion in completions {
///     // SAFETY: The buffer of this completion was not given back yet.
///     if let Some((buffer, events)) = unsafe { buffers.events(&completion) }? {
///         for event in events {
///             println!("{event:?}");
///         }
///         // SAFETY: As above. The events are no longer used.
///         unsafe { ring.submission().push(&buffers.give_back(buffer)) }?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Buffers {
    events: Box<[UnsafeCell<Event>]>,
    each: u16,
    group: u16,
}

// SAFETY: The events are accessed in unsafe functions only, whose callers answer for it that
// nobody writes to them meanwhile.
unsafe impl Sync for Buffers {}

impl Buffers {
    /// Memory for `nr` buffers of `each` events, which are to be the group `group` of a
    /// ring.
    ///
    /// # Panics
    ///
    /// If there would be no buffer, or no event in it.
    pub fn new(group: u16, nr: u16, each: u16) -> Self {
        assert!(nr > 0 && each > 0, "buffers without room");
        let len = usize::from(nr) * usize::from(each);
        Self {
            events: (0..len).map(|_| UnsafeCell::default()).collect(),
            each,
            group,
        }
    }

    /// Gives all buffers to the kernel.
    ///
    /// Whoever pushes the entry answers for it that these buffers outlive all reads into
    /// them.
    pub fn provide(&self) -> squeue::Entry {
        let nr = self.events.len() / usize::from(self.each);
        self.entry(0, nr as u16)
    }

    /// Gives a buffer to the kernel again. Whoever pushes the entry answers for it that
    /// the events of that buffer are no longer used.
    ///
    /// # Panics
    ///
    /// If there is no such buffer.
    pub fn give_back(&self, buffer: u16) -> squeue::Entry {
        self.entry(buffer, 1)
    }

    fn entry(&self, first: u16, nr: u16) -> squeue::Entry {
        let each = usize::from(self.each);
        let events = &self.events[usize::from(first) * each..][..usize::from(nr) * each];
        // An `UnsafeCell` may be written to through a shared reference.
        let addr = events.as_ptr().cast::<u8>().cast_mut();
        let len = (each * size_of::<Event>()) as i32;
        opcode::ProvideBuffers::new(addr, len, nr, self.group, first).build()
    }

    /// Reads events into the buffers, whenever there are some, as long as `cqueue::more`
    /// says so. It ends with `ENOBUFS` when the kernel has no buffer left: push it again
    /// when some were given back. No event is lost meanwhile.
    pub fn read_multi(&self, watches: &Watches) -> squeue::Entry {
        // The length is that of the buffers.
        opcode::ReadMulti::new(fd(watches), 0, self.group)
            .offset(CURRENT)
            .build()
    }

    /// The events of a completion, and the number of the buffer that they are in. `None`
    /// if it has no buffer, as that of [`provide`](Self::provide).
    ///
    /// # Safety
    ///
    /// The completion must be that of an entry which was made by these buffers, and as
    /// long as the events are used, their buffer must not be given back.
    ///
    /// # Errors
    ///
    /// That of the completion.
    pub unsafe fn events(
        &self,
        completion: &cqueue::Entry,
    ) -> Result<Option<(u16, &[Event])>, Error> {
        let nr = completed(completion.result())?;
        let Some(buffer) = cqueue::buffer_select(completion.flags()) else {
            return Ok(None);
        };
        let each = usize::from(self.each);
        let events = &self.events[usize::from(buffer) * each..][..nr];
        // SAFETY: The caller promises that the kernel has written these events, and does
        // not write to them again as long as they are used.
        let events = unsafe { std::slice::from_raw_parts(events.as_ptr().cast(), nr) };
        Ok(Some((buffer, events)))
    }
}
