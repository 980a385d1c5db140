// SPDX-License-Identifier: GPL-2.0

//! The events of a set: the watches that have something to be read.

use super::{
    Watch,
    What, //
};
use crate::bindings::{
    self as uapi,
    rfutex_event, //
};
use core::ptr::NonNull;

/// What becomes of a watch.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// It is being made, and was never queued.
    #[default]
    New,
    /// It has nothing to be read.
    Idle,
    /// It is in the list of those that have something to be read.
    Ready,
    /// Somebody is reading its event.
    Read,
}

/// A link to a watch in a list of events.
type Link = Option<NonNull<Watch>>;

/// What changes in a watch under the lock of its set.
#[derive(Default)]
pub(super) struct State {
    prev: Link,
    next: Link,
    /// The slot in the index of the set, with the generation in the upper half.
    pub(super) id: u64,
    /// The number of wakes that met the watch and were not yet read.
    woken: u64,
    /// The number of requeues that met the watch and were not yet read.
    moved: u32,
    pub(super) stage: Stage,
    /// Somebody is removing the watch, and nobody else may free it.
    pub(super) being_removed: bool,
    /// The watch was removed while it was being read. Who reads it frees it.
    pub(super) removed: bool,
}

impl State {
    /// How often the watch was met, as far as that was not yet read.
    pub(super) fn unread(&self) -> u64 {
        self.woken.saturating_add(self.moved.into())
    }

    /// Whether the watch can be named by its number.
    pub(super) fn is_known_as(&self, id: u64) -> bool {
        self.stage != Stage::New && self.id == id && !self.being_removed && !self.removed
    }

    /// The event that is to be read now.
    pub(super) fn event(&self, cookie: u64) -> rfutex_event {
        let mut what = 0;
        if self.woken != 0 {
            what |= uapi::RFUTEX_EVENT_WOKEN;
        }
        if self.moved != 0 {
            what |= uapi::RFUTEX_EVENT_MOVED;
        }
        rfutex_event {
            cookie,
            id: self.id,
            woken: self.woken,
            moved: self.moved,
            what,
        }
    }

    /// Notes that `event`, which [`Self::event`] has returned, was read.
    pub(super) fn was_read(&mut self, event: &rfutex_event) {
        self.woken -= event.woken;
        self.moved -= event.moved;
    }
}

/// The list of the watches of a set that have something to be read, in the order in which they got
/// it. It is protected by the lock of the set.
///
/// # Invariants
///
/// `first` and `last` are the ends of a doubly linked list of watches of the set, whose stage is
/// [`Stage::Ready`].
#[derive(Default)]
pub(super) struct Events {
    first: Link,
    last: Link,
    /// The number of watches in the list.
    pub(super) pending: u32,
    /// The number of watches that wait: of those that a wake may still meet.
    pub(super) armed: u32,
}

// SAFETY: Any task that holds the lock around the list may follow the links: a watch stays valid
// until it is taken out of the list, for which that lock is needed.
unsafe impl Send for Events {}

impl Events {
    /// Whether there is nothing to be read.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// What changes in `watch`.
    ///
    /// # Safety
    ///
    /// `watch` must be a valid watch of this set, and no other reference to its state may be in
    /// use.
    pub(super) unsafe fn state<'a>(&'a mut self, watch: NonNull<Watch>) -> &'a mut State {
        // SAFETY: By the function's requirements, the watch is valid. Its state is accessed only
        // under the lock of the set, which is held because `self` is borrowed mutably, and there is
        // no other reference to it.
        unsafe { &mut *watch.as_ref().state.get() }
    }

    /// Counts that `watch` was met, and puts it into the list unless it is there, or being read.
    ///
    /// # Safety
    ///
    /// As [`Self::state`].
    pub(super) unsafe fn count(&mut self, watch: NonNull<Watch>, what: What) {
        // SAFETY: The requirements are the same.
        let state = unsafe { self.state(watch) };
        match what {
            What::Woken => state.woken += 1,
            What::Moved => state.moved = state.moved.saturating_add(1),
        }
        if state.stage == Stage::Idle {
            // SAFETY: The requirements are the same, and the watch is not in the list.
            unsafe { self.push_back(watch) };
        }
    }

    /// Puts `watch` at the end of the list.
    ///
    /// # Safety
    ///
    /// As [`Self::state`]. The watch must not be in the list.
    pub(super) unsafe fn push_back(&mut self, watch: NonNull<Watch>) {
        let prev = self.last.replace(watch);
        match prev {
            // SAFETY: `prev` is in the list.
            Some(prev) => unsafe { self.state(prev) }.next = Some(watch),
            None => self.first = Some(watch),
        }
        // SAFETY: The requirements are the same.
        let state = unsafe { self.state(watch) };
        (state.prev, state.next, state.stage) = (prev, None, Stage::Ready);
        self.pending += 1;
    }

    /// Puts `watch` at the front of the list.
    ///
    /// # Safety
    ///
    /// As [`Self::push_back`].
    pub(super) unsafe fn push_front(&mut self, watch: NonNull<Watch>) {
        let next = self.first.replace(watch);
        match next {
            // SAFETY: `next` is in the list.
            Some(next) => unsafe { self.state(next) }.prev = Some(watch),
            None => self.last = Some(watch),
        }
        // SAFETY: The requirements are the same.
        let state = unsafe { self.state(watch) };
        (state.prev, state.next, state.stage) = (None, next, Stage::Ready);
        self.pending += 1;
    }

    /// Takes the first watch out of the list, to be read.
    pub(super) fn pop_front(&mut self) -> Link {
        let watch = self.first?;
        // SAFETY: The watch is in the list.
        unsafe { self.remove(watch, Stage::Read) };
        Some(watch)
    }

    /// Takes `watch` out of the list, and moves it on to the given `stage`.
    ///
    /// # Safety
    ///
    /// `watch` must be in the list.
    pub(super) unsafe fn remove(&mut self, watch: NonNull<Watch>, stage: Stage) {
        // SAFETY: The watch is in the list, so it is valid.
        let state = unsafe { self.state(watch) };
        state.stage = stage;
        let (prev, next) = (state.prev.take(), state.next.take());
        self.pending -= 1;
        match prev {
            // SAFETY: `prev` is in the list.
            Some(prev) => unsafe { self.state(prev) }.next = next,
            None => self.first = next,
        }
        match next {
            // SAFETY: `next` is in the list.
            Some(next) => unsafe { self.state(next) }.prev = prev,
            None => self.last = prev,
        }
    }
}
