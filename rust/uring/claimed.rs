// SPDX-License-Identifier: GPL-2.0

//! Requests that were taken out of their queues, and are still to be completed.

use super::requests::Request;
use crate::{
    bindings as helpers,
    queue::Node, //
};
use core::ptr::{
    self,
    NonNull, //
};

/// Requests that were taken out of their queues. They are completed when this is dropped. There can
/// be any number of them, and nothing is allocated.
///
/// # Invariants
///
/// `first`, and the `next` pointers that follow it, lead to null through requests that were taken
/// out of their queues for this list. `last` is the last of them, if there is one.
pub(crate) struct Claimed {
    first: *mut Request,
    last: *mut Request,
}

impl Claimed {
    /// An empty list.
    #[inline]
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no request in front of null.
        Self {
            first: ptr::null_mut(),
            last: ptr::null_mut(),
        }
    }

    /// Adds a request behind the others, so that they are completed in the order in which they
    /// came.
    ///
    /// # Safety
    ///
    /// The caller must have just taken the request out of its queue.
    pub(super) unsafe fn add(&mut self, request: NonNull<Request>) {
        let link = request.as_ptr();
        if self.first.is_null() {
            self.first = link;
        } else {
            // SAFETY: By the type invariants, there is a last request, which nobody else frees.
            unsafe { (*self.last).next.set(link) };
        }
        // INVARIANT: What was the last request leads to this one, which leads to null.
        self.last = link;
    }

    /// Takes the first request off the list. It is the caller who has it completed then.
    pub(super) fn pop(&mut self) -> Option<NonNull<Request>> {
        let request = NonNull::new(self.first)?;
        // SAFETY: By the type invariants, the request was taken out of its queue for this list, so
        // that nobody else frees it.
        let next = unsafe { request.as_ref() }.next.get();
        // INVARIANT: The request leads to the next one.
        self.first = next;
        Some(request)
    }

    /// Has io_uring complete all requests.
    #[cold]
    #[inline(never)]
    fn complete(&mut self) {
        while let Some(request) = self.pop() {
            // SAFETY: The request was just taken off the list, so that nobody else frees it.
            let command = unsafe { request.as_ref() }.command;
            // SAFETY: The command is valid until the request is freed, which happens in the work
            // that this adds to its task. The request is not used after this.
            unsafe { helpers::rfutex_uring_complete(command.as_ptr()) };
        }
    }
}

impl Drop for Claimed {
    #[inline]
    fn drop(&mut self) {
        if !self.first.is_null() {
            self.complete();
        }
    }
}

/// Adds the request whose node is `node` to `claimed`, and marks it as woken.
///
/// # Safety
///
/// The node must be that of a request, in a queue whose lock is still held, from which it was just
/// taken out.
#[cold]
#[inline(never)]
pub(crate) unsafe fn claim(node: NonNull<Node>, claimed: &mut Claimed) {
    // SAFETY: By the invariants of `Node`, it is the first field of a request, which was just taken
    // out of its queue.
    unsafe { claimed.add(node.cast()) };
    // SAFETY: The caller ensures what the function requires. The request stays valid until it is
    // completed.
    unsafe { node.as_ref().mark() };
}
