// SPDX-License-Identifier: GPL-2.0

//! The intrusive list of the waiters in a bucket.

use super::{
    node::{
        Link,
        Links, //
    },
    Kind,
    Node,
    Waiter, //
};
#[cfg(CONFIG_IO_URING)]
use crate::uring;
use crate::{
    key::KeyId,
    wake_chain::WakeChain,
    watch::{
        self,
        What, //
    }, //
};
use core::{
    mem,
    ptr::{
        self,
        NonNull, //
    }, //
};

/// The waiters of one bucket. Real-time tasks come first, ordered by priority. Waiters of the same
/// urgency are in the order in which they came.
///
/// # Invariants
///
/// `first` and `last` are the ends of a doubly linked list of nodes. Their `bucket` is the one that
/// contains this queue, or the queue that this one is going to be appended to. In the middle of
/// [`Queue::wake`], it may also contain nodes that were just marked as woken.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) first: Link,
    last: Link,
}

// SAFETY: Any task that holds the lock around the queue may follow the links: the nodes that they
// lead to stay valid until they are taken out of the queue, for which that lock is needed.
unsafe impl Send for Queue {}

impl Queue {
    /// The links of a node in this queue.
    ///
    /// # Safety
    ///
    /// `node` must be in this queue, and no other reference to its links may be in use.
    #[inline]
    unsafe fn links<'q>(&'q mut self, node: NonNull<Node>) -> &'q mut Links {
        // SAFETY: By the function's requirements, the node is in this queue, so it is alive, and
        // its links are accessed only under the lock, which is held because `self` is borrowed
        // mutably. There is no other reference to them.
        unsafe { &mut *node.as_ref().links.get() }
    }

    /// Links a node behind all nodes that are at least as urgent.
    ///
    /// # Safety
    ///
    /// `node` must be valid, must stay so until it is unlinked, and must be in no queue. Nobody
    /// else may access its links now.
    #[inline]
    pub(super) unsafe fn link(&mut self, node: NonNull<Node>) {
        // SAFETY: By the function's requirements, the node is valid.
        let priority = unsafe { node.as_ref() }.priority();
        // A waiter that is no more urgent than the last one goes to the end, without a search.
        let next = match self.last {
            // SAFETY: `last` is in this queue, and a node in the queue is alive.
            Some(last) if unsafe { last.as_ref() }.priority() > priority => {
                self.first_less_urgent(priority)
            }
            _ => None,
        };
        let link = Some(node);
        let prev = match next {
            // SAFETY: `next` was found in this queue, and there is no other reference to its links.
            Some(next) => unsafe { mem::replace(&mut self.links(next).prev, link) },
            None => mem::replace(&mut self.last, link),
        };
        match prev {
            // SAFETY: `prev` was found in this queue, and there is no other reference to its links.
            Some(prev) => unsafe { self.links(prev) }.next = link,
            None => self.first = link,
        }
        // SAFETY: By the function's requirements, the node is valid, and nobody else accesses its
        // links.
        unsafe { *node.as_ref().links.get() = Links { prev, next } };
    }

    /// Takes up to `nr` waiters out of the queue whose key is `id`, and whose mask has a bit in
    /// common with `mask`. Marks them as woken, and adds whom they stand for to `chain`.
    ///
    /// Those that stay queued after a wake are put into `again`. The caller has to append that to
    /// this queue before it releases the lock, and has to count out those that are gone.
    #[inline]
    pub(super) fn wake(
        &mut self,
        id: KeyId,
        mask: u64,
        nr: u32,
        chain: &mut WakeChain,
        again: &mut Queue,
    ) -> Met {
        match nr {
            0 => Met::default(),
            // Most wakes are meant for one waiter.
            1 => self.wake_one(id, mask, chain, again),
            _ => self.wake_many(id, mask, nr, chain, again),
        }
    }

    /// Does what [`Self::wake`] does, for an `nr` that is not 0.
    #[inline(never)]
    fn wake_many(
        &mut self,
        id: KeyId,
        mask: u64,
        nr: u32,
        chain: &mut WakeChain,
        again: &mut Queue,
    ) -> Met {
        let mut met = Met::default();
        let mut next = self.first_meeting(self.first, id, mask);
        while let Some(mut node) = next {
            // Neighbours are taken out together, so that the links around them are changed only
            // once.
            // SAFETY: `node` is in the queue, so it is alive. Its links change only under the lock,
            // which is held.
            let before = unsafe { (*node.as_ref().links.get()).prev };
            let behind = loop {
                // SAFETY: `node` is in the queue and not yet marked as woken, so it is alive. Its
                // links change only under the lock, which is held.
                let behind = unsafe { (*node.as_ref().links.get()).next };
                // SAFETY: `node` is in this queue, whose lock is held, and not yet marked, so it is
                // alive. The loop goes on behind it, and the links that lead to it are closed
                // before they are followed again.
                met.add(unsafe { take(node, chain, again) });
                match behind {
                    // SAFETY: `next` is in the queue, so it is alive, and the lock is held.
                    Some(next) if met.nr != nr && unsafe { next.as_ref().meets(id, mask) } => {
                        node = next;
                    }
                    _ => break behind,
                }
            };
            self.close(before, behind);
            if met.nr == nr {
                break;
            }
            next = self.first_meeting(behind, id, mask);
        }
        met
    }

    /// Does what [`Self::wake`] does, for those waiters of whose masks `wanted` returns
    /// `Some(true)`. Looks at no more waiters once it returns `None`.
    pub(super) fn wake_where(
        &mut self,
        id: KeyId,
        chain: &mut WakeChain,
        again: &mut Queue,
        mut wanted: impl FnMut(u64) -> Option<bool>,
    ) -> Met {
        let mut met = Met::default();
        let mut next = self.first;
        while let Some(link) = next {
            // SAFETY: The node is in the queue and not yet marked as woken, so it is alive.
            let node = unsafe { link.as_ref() };
            // SAFETY: Its links change only under the lock, which is held.
            next = unsafe { (*node.links.get()).next };
            // SAFETY: The node is in this queue, whose lock is held.
            if unsafe { node.id() } != id {
                continue;
            }
            match wanted(node.mask) {
                Some(true) => {
                    // SAFETY: The node is in this queue.
                    unsafe { self.unlink(node) };
                    // SAFETY: The node was in this queue, whose lock is held. Now that it is
                    // unlinked, nothing leads to it any more.
                    met.add(unsafe { take(link, chain, again) });
                }
                Some(false) => {}
                None => break,
            }
        }
        met
    }

    /// Does what [`Self::wake`] does, for a single waiter.
    #[inline]
    pub(super) fn wake_one(
        &mut self,
        id: KeyId,
        mask: u64,
        chain: &mut WakeChain,
        again: &mut Queue,
    ) -> Met {
        let mut met = Met::default();
        let Some(node) = self.first_meeting(self.first, id, mask) else {
            return met;
        };
        // SAFETY: The node is in this queue, so it is alive.
        unsafe { self.unlink(node.as_ref()) };
        // SAFETY: The node was in this queue, whose lock is held. Now that it is unlinked, nothing
        // leads to it any more.
        met.add(unsafe { take(node, chain, again) });
        met
    }

    /// Appends `again`, which has only waiters that are not urgent, to this queue.
    #[inline]
    pub(super) fn append(&mut self, again: &mut Queue) {
        if again.first.is_some() {
            self.append_some(mem::take(again));
        }
    }

    /// Does what [`Self::append`] does, for an `again` that is not empty.
    #[cold]
    #[inline(never)]
    fn append_some(&mut self, mut again: Queue) {
        if let Some(first) = again.first {
            // SAFETY: `first` is in the queue `again`, and there is no other reference to its
            // links.
            unsafe { again.links(first) }.prev = self.last;
        }
        match self.last {
            // SAFETY: `last` is in this queue, and there is no other reference to its links.
            Some(last) => unsafe { self.links(last) }.next = again.first,
            None => self.first = again.first,
        }
        self.last = again.last;
    }

    /// The first node, from `next` on, whose key is `id` and whose mask has a bit in common with
    /// `mask`. `next` must be in this queue.
    #[inline]
    fn first_meeting(&self, mut next: Link, id: KeyId, mask: u64) -> Link {
        while let Some(node) = next {
            // SAFETY: The node is in the queue, so it is alive.
            let node = unsafe { node.as_ref() };
            // SAFETY: The queue can only be borrowed while its lock is held, and the node is in it.
            if unsafe { node.meets(id, mask) } {
                break;
            }
            // SAFETY: The links of a node in the queue change only while the queue is borrowed
            // mutably, and `self` borrows it now.
            next = unsafe { &*node.links.get() }.next;
        }
        next
    }

    /// The first node that is less urgent than `priority`.
    #[cold]
    #[inline(never)]
    fn first_less_urgent(&self, priority: i32) -> Link {
        self.nodes()
            // SAFETY: The node is in the queue, so it is alive.
            .find(|node| unsafe { node.as_ref() }.priority() > priority)
    }

    /// Links a node behind `prev`, which is in this queue, or `None` for the front.
    ///
    /// # Safety
    ///
    /// As [`Self::link`]. The priorities must stay in order.
    pub(super) unsafe fn link_behind(&mut self, prev: Link, node: NonNull<Node>) {
        let link = Some(node);
        let next = match prev {
            // SAFETY: `prev` is in this queue, and there is no other reference to its links.
            Some(prev) => mem::replace(&mut unsafe { self.links(prev) }.next, link),
            None => mem::replace(&mut self.first, link),
        };
        match next {
            // SAFETY: `next` was found in this queue, and there is no other reference to its links.
            Some(next) => unsafe { self.links(next) }.prev = link,
            None => self.last = link,
        }
        // SAFETY: By the function's requirements, the node is valid, and nobody else accesses its
        // links.
        unsafe { *node.as_ref().links.get() = Links { prev, next } };
    }

    /// The node behind `node`.
    ///
    /// # Safety
    ///
    /// `node` must be in this queue.
    pub(super) unsafe fn next(&self, node: NonNull<Node>) -> Link {
        // SAFETY: By the function's requirements, the node is in the queue, so it is alive. Its
        // links change only while the queue is borrowed mutably, and `self` borrows it now.
        unsafe { (*node.as_ref().links.get()).next }
    }

    /// The last node.
    pub(super) fn last(&self) -> Link {
        self.last
    }

    /// Takes a node out of this queue.
    ///
    /// # Safety
    ///
    /// The node must be in this queue.
    #[inline]
    pub(super) unsafe fn unlink(&mut self, node: &Node) {
        // SAFETY: The node is in this queue. Its links change only while the queue is borrowed
        // mutably, which only this function does now.
        let Links { prev, next } = unsafe { ptr::read(node.links.get()) };
        self.close(prev, next);
    }

    /// Links `prev` and `next` to each other, so that the nodes between them are no longer in the
    /// queue. Each is in this queue, or `None` for the end of the queue.
    #[inline]
    fn close(&mut self, prev: Link, next: Link) {
        match prev {
            // SAFETY: `prev` is in this queue, and there is no other reference to its links.
            Some(prev) => unsafe { self.links(prev) }.next = next,
            None => self.first = next,
        }
        match next {
            // SAFETY: `next` is in this queue, and there is no other reference to its links.
            Some(next) => unsafe { self.links(next) }.prev = prev,
            None => self.last = prev,
        }
    }

    /// Whether nobody is in the queue.
    #[cfg(RFUTEX_KUNIT)]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.last.is_none()
    }

    /// The nodes whose key is `id`, in the order of the queue.
    pub(super) fn under(&self, id: KeyId) -> impl Iterator<Item = NonNull<Node>> + '_ {
        self.nodes()
            // SAFETY: The queue can only be borrowed while its lock is held, and the node is in it.
            .filter(move |node| unsafe { node.as_ref().id() } == id)
    }

    /// All nodes, in the order of the queue. Each stays valid for as long as the queue is borrowed.
    fn nodes(&self) -> impl Iterator<Item = NonNull<Node>> + '_ {
        // SAFETY: The nodes are in the queue, which the iterator borrows.
        core::iter::successors(self.first, |&node| unsafe { self.next(node) })
    }
}

/// How many waiters a wake has met.
#[derive(Clone, Copy, Default)]
pub(super) struct Met {
    /// All of them, which is what the caller of the operation is told.
    pub(super) nr: u32,
    /// Those that have left the queue. The others stay, and stay counted by the bucket's counter.
    pub(super) gone: u32,
}

impl Met {
    /// Adds a waiter, which has left the queue if `gone` is true.
    #[inline]
    pub(super) fn add(&mut self, gone: bool) {
        self.nr += 1;
        self.gone += u32::from(gone);
    }
}

/// Tells the waiter whose node is `node` that it was met by a wake, and adds whom it stands for to
/// `chain`. If the waiter stays queued, puts it into `again`. Returns whether it has left the
/// queue.
///
/// # Safety
///
/// The node must be valid. It was in a queue whose lock is still held, nothing in that queue may
/// lead to it any more when the links are followed the next time, and it must not have been marked
/// before. If the waiter has left the queue, it must not be accessed again.
#[inline]
unsafe fn take(node: NonNull<Node>, chain: &mut WakeChain, again: &mut Queue) -> bool {
    // SAFETY: By the function's requirements, the node is alive.
    match unsafe { node.as_ref() }.kind() {
        Kind::Task => {
            // SAFETY: The node is that of a task. The caller ensures the rest.
            chain.add(unsafe { Waiter::mark(node) });
            true
        }
        #[cfg(CONFIG_IO_URING)]
        Kind::Request => {
            // SAFETY: The node is that of a request. The caller ensures the rest.
            unsafe { uring::claim(node, chain.requests()) };
            true
        }
        Kind::Marker => {
            // No key is equal to that of a marker, so nobody gets here.
            kernel::warn_on!(true);
            // SAFETY: The marker is in no queue now, and is not marked.
            unsafe { again.link(node) };
            false
        }
        kind @ (Kind::Watch | Kind::RepeatedWatch) => {
            // SAFETY: The node is that of a watch. The caller ensures the rest.
            unsafe { watch::meet(node, What::Woken, chain) };
            let repeats = kind == Kind::RepeatedWatch;
            if repeats {
                // SAFETY: The watch was not marked, so it stays valid. It was just taken out of its
                // queue.
                unsafe { again.link(node) };
            }
            !repeats
        }
    }
}
