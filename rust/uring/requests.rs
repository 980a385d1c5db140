// SPDX-License-Identifier: GPL-2.0

//! The requests that wait, from when they are made until they are freed.

use super::claimed::Claimed;
use crate::{
    account::{
        Charge,
        CurrentAccount, //
    },
    bindings as helpers,
    key::KeyId,
    lab::{
        self,
        Point, //
    },
    mm::{
        index::Index,
        pid::Pid,
        task, //
    },
    queue::{
        About,
        Node,
        WaiterKind, //
    },
    table::Table, //
};
use core::{
    cell::Cell,
    marker::PhantomPinned,
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings, new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        SpinLock, //
    },
};

/// A wait that was submitted to io_uring.
///
/// # Invariants
///
/// - The request is owned by the index of `requests`, in the slot `place`, does not move, and is
///   freed only by who erases it there under the lock of `requests`, after the node has left its
///   queue.
/// - `command` is valid until the request is freed.
/// - The buckets that the node may be queued in are those of the device's table.
/// - `next` and `result` are accessed only by who has taken the node out of its queue, and then by
///   who completes the command.
#[pin_data]
#[repr(C)]
pub(crate) struct Request {
    pub(super) node: Node,
    pub(super) command: NonNull<bindings::io_uring_cmd>,
    /// The slot in the index.
    place: Cell<u32>,
    pub(super) next: Cell<*mut Request>,
    pub(super) result: Cell<i32>,
    pub(super) about: About,
    /// The process that has submitted the request.
    pub(super) process: ARef<Pid>,
    _charge: Charge,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: What changes in a request is accessed by one task at a time, as the invariants say.
unsafe impl Send for Request {}

/// The requests that were submitted on an open file.
#[pin_data]
pub(crate) struct Requests {
    /// Requests are erased from the index only under this lock. It is taken before that of a
    /// bucket.
    #[pin]
    lock: SpinLock<()>,
    #[pin]
    index: Index<Request>,
    #[pin]
    account: CurrentAccount,
}

impl Requests {
    /// No requests.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            lock <- new_spinlock!((), "rfutex_requests"),
            index <- Index::new(u32::MAX),
            account <- CurrentAccount::new(),
        })
    }

    /// Makes a request of `command`, which is in no queue yet and has no key. A listing shows what
    /// is in `about`.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the user has as many watches and requests as are allowed. `ENOMEM`: there is no
    /// memory.
    ///
    /// # Context
    ///
    /// Process context, under the lock of the ring. May sleep.
    ///
    /// # Safety
    ///
    /// The command must be valid until the request is freed.
    pub(super) unsafe fn insert(
        &self,
        command: NonNull<bindings::io_uring_cmd>,
        mask: u64,
        about: About,
    ) -> Result<NewRequest<'_>> {
        let charge = self.account.charge()?;
        let mm = task::current_mm_number();
        let kind = WaiterKind::Request;
        if lab::fault(Point::Allocate) {
            return Err(ENOMEM);
        }
        // INVARIANT: The request is put into the index below. The caller ensures that the command
        // is valid.
        let request = pin_init!(Request {
            // SAFETY: The node is the first field of a waiter of this kind, which stays in its box.
            node: unsafe { Node::new(kind, KeyId::NONE, mask, mm, task::NORMAL_PRIORITY) },
            command,
            place: Cell::new(0),
            next: Cell::new(ptr::null_mut()),
            result: Cell::new(0),
            about,
            process: Pid::current_process(),
            _charge: charge,
            _pin: PhantomPinned,
        });
        let request = KBox::pin_init(request, GFP_KERNEL_ACCOUNT)?;
        let (place, request) = self.index.insert(request)?;
        // SAFETY: The request was just made. Nobody else accesses the field before it is queued.
        unsafe { request.as_ref() }.place.set(place);
        // INVARIANT: The request was just made, and is in no queue.
        Ok(NewRequest {
            requests: self,
            request,
        })
    }

    /// Frees the request.
    ///
    /// # Safety
    ///
    /// The request must be one of these. The caller must have taken it out of its queue, or it was
    /// never queued.
    ///
    /// # Context
    ///
    /// Process context, no spinlocks held. May sleep.
    pub(super) unsafe fn free(&self, request: NonNull<Request>) {
        // SAFETY: By the function's requirements, nobody else frees the request.
        let place = unsafe { request.as_ref() }.place.get();
        let guard = self.lock.lock();
        let request = self.index.erase(place);
        drop(guard);
        drop(request);
    }

    /// `RFUTEX_URING_CANCEL`: adds the requests that `ring` has submitted with this `user_data` to
    /// `claimed`, as cancelled. Returns how many there were that nobody had woken.
    ///
    /// # Context
    ///
    /// Process context, under the lock of the ring. May sleep.
    pub(super) fn cancel(&self, ring: *mut c_void, user_data: u64, claimed: &mut Claimed) -> u32 {
        /// After so many requests, others get a chance to take the lock.
        const BATCH: u32 = 64;
        let (mut nr, mut looked_at) = (0, 0);
        let mut guard = self.lock.lock();
        // The requests of this ring stay while the lock is released, because they are completed
        // under the lock of the ring.
        for (_, request) in self.index.iter() {
            // SAFETY: Requests are freed only after they were erased under the lock.
            let waiting = unsafe { request.as_ref() };
            // SAFETY: By the type invariants, the command is valid until the request is freed.
            let matches = unsafe {
                helpers::rfutex_uring_ring(waiting.command.as_ptr()) == ring
                    && helpers::rfutex_uring_user_data(waiting.command.as_ptr()) == user_data
            };
            if matches && waiting.node.leave() {
                waiting.result.set(ECANCELED.to_errno());
                // SAFETY: The request was just taken out of its queue.
                unsafe { claimed.add(request) };
                nr += 1;
            }
            looked_at += 1;
            if looked_at % BATCH == 0 {
                drop(guard);
                task::cond_resched();
                guard = self.lock.lock();
            }
        }
        drop(guard);
        nr
    }

    /// How many requests there are.
    #[cfg(RFUTEX_KUNIT)]
    pub(super) fn nr(&self) -> usize {
        let guard = self.lock.lock();
        let nr = self.index.iter().count();
        drop(guard);
        nr
    }
}

/// A request that is in no queue yet. It is taken back when this is dropped.
///
/// # Invariants
///
/// `request` is one of `requests`, and was never queued.
pub(super) struct NewRequest<'r> {
    requests: &'r Requests,
    request: NonNull<Request>,
}

impl NewRequest<'_> {
    /// Queues the request on `key` if `compare` succeeds, under the lock of the bucket. Before that
    /// is released, `queued` is called. From there on, the request may be completed and freed at
    /// any moment.
    ///
    /// # Errors
    ///
    /// That of `compare`, with the request, which was not queued.
    ///
    /// # Context
    ///
    /// Neither `compare` nor `queued` may sleep.
    ///
    /// # Safety
    ///
    /// `table` must be alive for longer than the request.
    pub(super) unsafe fn queue_if<E>(
        self,
        table: &Table,
        key: KeyId,
        compare: impl FnOnce() -> Result<(), E>,
        queued: impl FnOnce(NonNull<Request>),
    ) -> Result<(), (Self, E)> {
        let entry = table.slot(key).enter();
        if let Err(error) = compare() {
            drop(entry);
            return Err((self, error));
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: By the type invariants, the request is in no queue, so that nobody else accesses
        // its node.
        unsafe { this.request.as_ref().node.set_id(key) };
        // SAFETY: The node is that of a request, which is not freed before it has left the queue.
        // By the function's requirements, the table is alive for longer.
        unsafe { entry.queue_node(this.request.cast(), || queued(this.request)) };
        Ok(())
    }
}

impl Drop for NewRequest<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the request is one of these, and was never queued.
        unsafe { self.requests.free(self.request) };
    }
}
