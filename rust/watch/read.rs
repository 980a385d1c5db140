// SPDX-License-Identifier: GPL-2.0

//! Reading the events of a set.

use super::{
    events::Stage,
    set::Set,
    Watch, //
};
use crate::{
    bindings::rfutex_event,
    lab::{
        self,
        Point, //
    },
    mm::task,
};
use core::{
    mem,
    ptr::NonNull, //
};
use kernel::{
    iov::IovIterDest,
    prelude::*,
    transmute::AsBytes, //
};

/// The number of events that are copied at a time. Most reads find one or two, and pay for all
/// the places.
const BATCH: usize = 4;

/// Reads as many events as there are, and as there is room for. Returns the number of bytes.
///
/// Unless `nonblocking` is set, waits until there is at least one.
///
/// # Errors
///
/// - `EINVAL`: there is no room for a whole event.
/// - `EAGAIN`: there is no event, and `nonblocking` is set.
/// - `ERESTARTSYS`: a signal arrived before there was an event.
/// - `EFAULT`: not even one event could be written. No event is lost.
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(super) fn read(set: &Set, iov: &mut IovIterDest<'_>, nonblocking: bool) -> Result<usize> {
    let room = iov.len() / size_of::<rfutex_event>();
    if room == 0 {
        return Err(EINVAL);
    }
    let mut read = 0;
    let mut left = false;
    let mut result = Ok(());
    let mut batch = Batch::new(set);
    while read < room {
        batch.take(room - read);
        if batch.is_empty() && read == 0 {
            if nonblocking {
                return Err(EAGAIN);
            }
            set.pollers.wait_until(|| {
                batch.take(room);
                !batch.is_empty()
            })?;
        }
        if batch.is_empty() {
            break;
        }
        result = batch.copy_to(iov);
        read += batch.read;
        left = batch.finish();
        // Watches that are met again and again could fill a large buffer for a long time.
        if !left || result.is_err() || task::signal_pending() {
            break;
        }
    }
    // Whoever polled while this had the events that are left has not seen them. Of those who wait
    // for events to read, a wake has woken only one.
    if left {
        set.pollers.wake();
    }
    match result {
        Err(error) if read == 0 => Err(error),
        _ => Ok(read * size_of::<rfutex_event>()),
    }
}

/// Events that are being read. Those that were not copied are put back when this is dropped.
///
/// # Invariants
///
/// The first `nr` entries are watches of the set whose stage is [`Stage::Read`], each with the
/// event that it had when it was taken. `read` is at most `nr`.
pub(super) struct Batch<'s> {
    set: &'s Set,
    entries: [Option<(NonNull<Watch>, rfutex_event)>; BATCH],
    nr: usize,
    /// How many of them were copied.
    read: usize,
}

impl<'s> Batch<'s> {
    /// An empty batch. It is filled where it is, because to move one would cost more than all the
    /// rest of a read.
    #[inline]
    pub(super) fn new(set: &'s Set) -> Self {
        // INVARIANT: There are no entries yet.
        Self {
            set,
            entries: [const { None }; BATCH],
            nr: 0,
            read: 0,
        }
    }

    /// Takes up to `nr` more events.
    pub(super) fn take(&mut self, nr: usize) {
        let mut locked = self.set.lock();
        for entry in self.entries[self.nr..].iter_mut().take(nr) {
            let Some(watch) = locked.pop_front() else {
                break;
            };
            // SAFETY: The watch was just in the list, so it is valid. Its cookie never changes.
            let cookie = unsafe { watch.as_ref() }.cookie;
            // SAFETY: As above, and the set is locked.
            let event = unsafe { locked.state(watch) }.event(cookie);
            // INVARIANT: The stage of the watch is that of one that is being read.
            *entry = Some((watch, event));
            self.nr += 1;
        }
    }

    /// Whether there were no events.
    pub(super) fn is_empty(&self) -> bool {
        self.nr == 0
    }

    /// The events.
    #[cfg(RFUTEX_KUNIT)]
    pub(super) fn events(&self) -> impl Iterator<Item = &rfutex_event> {
        self.entries.iter().flatten().map(|(_, event)| event)
    }

    /// Pretends that the first `nr` events were copied.
    #[cfg(RFUTEX_KUNIT)]
    pub(super) fn pretend(&mut self, nr: usize) {
        self.read = nr.min(self.nr);
    }

    /// Copies the events, as far as possible.
    ///
    /// # Errors
    ///
    /// `EFAULT`: not all of them could be copied.
    fn copy_to(&mut self, iov: &mut IovIterDest<'_>) -> Result {
        for (_, event) in self.entries[self.read..self.nr].iter().flatten() {
            if lab::fault(Point::CopyOut)
                || iov.copy_to_iter(event.as_bytes()) != size_of_val(event)
            {
                return Err(EFAULT);
            }
            self.read += 1;
        }
        Ok(())
    }

    /// Puts those events back that were not copied, and frees the watches that are not needed any
    /// more. Returns whether there are events in the set now. After this, the batch is empty.
    pub(super) fn finish(&mut self) -> bool {
        let mut finished = [const { None }; BATCH];
        let (read, nr) = (mem::take(&mut self.read), mem::take(&mut self.nr));
        let mut locked = self.set.lock();
        // The first of those that were not read becomes the first in the list again.
        for (watch, _) in self.entries[read..nr]
            .iter_mut()
            .rev()
            .filter_map(Option::take)
        {
            // SAFETY: By the type invariants, the watch is being read, so it is valid and in no
            // list.
            unsafe { locked.push_front(watch) };
        }
        for (entry, finished) in self.entries[..read].iter_mut().zip(&mut finished) {
            let Some((watch, event)) = entry.take() else {
                continue;
            };
            // SAFETY: By the type invariants, the watch is being read, so it is valid. Whether it
            // repeats never changes.
            let repeats = unsafe { watch.as_ref() }.repeats();
            // SAFETY: As above, and the set is locked.
            let state = unsafe { locked.state(watch) };
            state.was_read(&event);
            if state.unread() != 0 {
                // It was met again meanwhile.
                // SAFETY: As above, and the watch is in no list.
                unsafe { locked.push_back(watch) };
            } else if (repeats && !state.removed) || state.being_removed {
                state.stage = Stage::Idle;
            } else {
                *finished = locked.erase(event.id);
            }
        }
        let left = !locked.is_empty();
        drop(locked);
        left
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.nr != 0 && self.finish() {
            self.set.pollers.wake();
        }
    }
}
