// SPDX-License-Identifier: GPL-2.0

//! Looking at all waiters of a table, in steps that are short however many there are.
//!
//! Between two steps, the lock of the bucket is released, and anybody may come, leave or be moved.
//! So that the next step goes on where this one has ended, a *marker* stays in the queue, which is a
//! node that nobody waits on. A second one marks where the queue ended when the cursor came to the
//! bucket. Those who come later queue behind it, and are not looked at. Otherwise the cursor might
//! never leave a bucket in which waiters come and go.
//!
//! Real-time tasks queue in front of others, and perhaps of the second marker. If they come later,
//! they are passed over.

use super::{
    about::Seen,
    list::Queue,
    node::Node,
    Bucket, //
};
use crate::{
    mm::{
        arch,
        time, //
    },
    table::Table, //
};
use core::{
    cell::Cell,
    marker::PhantomPinned,
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The number of nodes that are looked at in one step, which is while a bucket is locked.
pub(crate) const STEP: usize = 64;

/// A place in a table, from which to look at the waiters that follow.
///
/// # Invariants
///
/// - Either both markers are linked into the queue of the same bucket of `table`, `place` in front
///   of `end`, or none is linked.
/// - A cursor does not move, and is not dropped before its markers were unlinked.
#[pin_data(PinnedDrop)]
pub(crate) struct Cursor {
    /// In front of the next waiter to be looked at.
    place: Node,
    /// Behind the last one.
    end: Node,
    /// The index of the bucket.
    index: Cell<usize>,
    /// When the cursor has left the beginning of the table, in jiffies.
    started: Cell<u64>,
    /// When the cursor has come to the bucket, in jiffies.
    begun: Cell<u64>,
    table: Arc<Table>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: A cursor may be used by any task, but by one at a time only. Its markers are accessed by
// others, under the lock of their bucket.
unsafe impl Send for Cursor {}

impl Cursor {
    /// An initialiser for a cursor at the beginning of `table`.
    pub(crate) fn new(table: Arc<Table>) -> impl PinInit<Self> {
        // INVARIANT: No marker is linked.
        pin_init!(Self {
            place: Node::marker(),
            end: Node::marker(),
            index: Cell::new(0),
            started: Cell::new(0),
            begun: Cell::new(0),
            table,
            _pin: PhantomPinned,
        })
    }

    /// Looks at the waiters that follow, but only in one bucket, and at no more than [`STEP`] nodes.
    /// Adds them to `seen`, whose spare capacity must be at least [`STEP`]. Returns false if there
    /// is nothing left to be looked at.
    ///
    /// # Context
    ///
    /// Does not sleep. Takes the lock of a bucket. The caller must not hold the lock of any bucket.
    pub(crate) fn step(self: Pin<&Self>, seen: &mut KVec<Seen>) -> bool {
        let Some(bucket) = self.table.buckets().get(self.index.get()) else {
            return false;
        };
        if self.index.get() == 0 && !self.is_linked() {
            self.started.set(time::jiffies());
        }
        if self.look_at(bucket, seen) {
            self.index.set(self.index.get() + 1);
        }
        true
    }

    /// Goes back to the beginning of the table.
    ///
    /// # Context
    ///
    /// As [`Self::step`].
    pub(crate) fn rewind(self: Pin<&Self>) {
        self.leave();
        self.index.set(0);
    }

    /// Does what [`Self::step`] does, in `bucket`, which is the one with the present index. Returns
    /// whether all of it was looked at.
    fn look_at(&self, bucket: &Bucket, seen: &mut KVec<Seen>) -> bool {
        if !self.is_linked() && !bucket.has_waiters() {
            return true;
        }
        let mut queue = bucket.queue.lock();
        if !self.is_linked() {
            let (Some(first), Some(last)) = (queue.first, queue.last()) else {
                return true;
            };
            self.link(bucket, &mut queue, first, last);
        }
        let mut last = NonNull::from(&self.place);
        for _ in 0..STEP {
            // SAFETY: The node is in the queue: it is the marker, or what was found behind it.
            let next = unsafe { queue.next(last) };
            let Some(node) = next.filter(|&node| node != NonNull::from(&self.end)) else {
                self.unlink(&mut queue);
                return true;
            };
            // SAFETY: The node is in the queue, whose lock is held.
            let found = unsafe { Seen::new(node, self.begun.get(), self.started.get()) };
            if let Some(waiter) = found {
                // The caller has left room for it.
                let pushed = seen.push_within_capacity(waiter).is_ok();
                kernel::warn_on!(!pushed);
            }
            last = node;
        }
        // SAFETY: The node is in the queue, so it is alive.
        let priority = unsafe { last.as_ref() }.priority();
        // SAFETY: By the type invariants, the marker is in this queue. It is linked again at once,
        // behind a node that has the same priority.
        unsafe {
            queue.unlink(&self.place);
            queue.link_behind(Some(last), NonNull::from(&self.place));
        }
        self.place.marks(bucket, priority);
        false
    }

    /// Links the markers at both ends of the queue, which are `first` and `last` now.
    fn link(&self, bucket: &Bucket, queue: &mut Queue, first: NonNull<Node>, last: NonNull<Node>) {
        // SAFETY: Both are in the queue, so they are alive.
        let (most, least) = unsafe { (first.as_ref().priority(), last.as_ref().priority()) };
        // INVARIANT: Both markers are linked. By the type invariants, they stay where they are until
        // they are unlinked.
        // SAFETY: `last` is in the queue, whose lock is held. The markers are in no queue, so that
        // nobody else accesses their links, and they stay valid, because the destructor unlinks
        // them. Their priorities are those of the nodes beside them.
        unsafe {
            queue.link_behind(None, NonNull::from(&self.place));
            queue.link_behind(Some(last), NonNull::from(&self.end));
        }
        self.place.marks(bucket, most);
        self.end.marks(bucket, least);
        self.begun.set(time::jiffies());
    }

    /// Unlinks both markers, which must be in this queue.
    fn unlink(&self, queue: &mut Queue) {
        for marker in [&self.place, &self.end] {
            // SAFETY: The marker is in this queue.
            unsafe { queue.unlink(marker) };
            marker.marks_nothing();
        }
    }

    /// Whether the markers are linked.
    fn is_linked(&self) -> bool {
        !arch::load_acquire(&self.place.bucket).is_null()
    }

    /// Takes the markers out of the queue that they are in.
    fn leave(&self) {
        if let Some(bucket) = self.table.buckets().get(self.index.get()) {
            let mut queue = bucket.queue.lock();
            if self.is_linked() {
                self.unlink(&mut queue);
            }
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Cursor {
    fn drop(self: Pin<&mut Self>) {
        self.leave();
    }
}
