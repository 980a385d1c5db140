// SPDX-License-Identifier: GPL-2.0

//! Waits and wakes as commands of io_uring (`IORING_OP_URING_CMD` on the device file).
//!
//! A wait that is issued by io_uring does not sleep: it is queued, and is completed when a wake
//! meets it. All wakes are carried out when they are issued.
//!
//! # Who ends a request
//!
//! A request waits until one of these takes it out of its queue, under the bucket's lock:
//!
//! - A wake ([`claim`]). It adds the request to a list, and has io_uring complete the request in
//!   the task that has submitted it when the bucket's lock is released ([`Claimed`]).
//! - io_uring itself, when the ring is closed or the task exits ([`rfutex_request_cancel`]).
//! - `RFUTEX_URING_CANCEL`, which completes the request as a wake does.
//!
//! Whoever finds that the request is in no queue leaves it to the one who has taken it out.
//! Issuing, cancelling and completing a command never happen at the same time, because io_uring
//! does all of them under the lock of the ring.

use crate::{
    account::{
        Charge,
        CurrentAccount, //
    },
    bindings as helpers,
    device::{
        unsized_command,
        Device, //
    },
    key::KeyId,
    lab::{
        self,
        Point, //
    },
    mm::{
        index::Index,
        task,
        uaccess::{
            self,
            Mismatch, //
        }, //
    },
    op,
    queue::{
        Node,
        WaiterKind, //
    },
    request::{
        self,
        Argument, //
    },
    word::Word, //
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
    bindings,
    ioctl::_IOC_SIZE,
    new_spinlock,
    prelude::*,
    sync::SpinLock,
    types::ForeignOwnable, //
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
    node: Node,
    command: NonNull<bindings::io_uring_cmd>,
    /// The slot in the index.
    place: Cell<u32>,
    next: Cell<*mut Request>,
    result: Cell<i32>,
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

    /// Makes a request of `command`, which is in no queue yet and has no key.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the user has as many watches and requests as are allowed. `ENOMEM`: there is no
    /// memory.
    ///
    /// # Context
    ///
    /// Process context, under the lock of the ring. May sleep.
    fn insert<'c>(&'c self, command: &Command<'c>, mask: u64) -> Result<NewRequest<'c>> {
        let charge = self.account.charge()?;
        let mm = task::current_mm_number();
        let kind = WaiterKind::Request;
        if lab::fault(Point::Allocate) {
            return Err(ENOMEM);
        }
        // INVARIANT: The request is put into the index below. The command exists until it is
        // completed, which is after the request was freed.
        let request = pin_init!(Request {
            // SAFETY: The node is the first field of a waiter of this kind, which stays in its box.
            node: unsafe { Node::new(kind, KeyId::NONE, mask, mm, task::NORMAL_PRIORITY) },
            command: command.raw,
            place: Cell::new(0),
            next: Cell::new(ptr::null_mut()),
            result: Cell::new(0),
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
    unsafe fn free(&self, request: NonNull<Request>) {
        // SAFETY: By the function's requirements, nobody else frees the request.
        let place = unsafe { request.as_ref() }.place.get();
        let guard = self.lock.lock();
        let request = self.index.erase(place);
        drop(guard);
        drop(request);
    }

    /// `RFUTEX_URING_CANCEL`: cancels the requests that the ring of `command` has submitted with
    /// this `user_data`. Returns how many there were that nobody had woken.
    ///
    /// # Context
    ///
    /// Process context, under the lock of the ring. May sleep.
    fn cancel(&self, command: &Command<'_>, user_data: u64) -> u32 {
        /// After so many requests, others get a chance to take the lock.
        const BATCH: u32 = 64;
        let mut claimed = Claimed::new();
        let (mut nr, mut looked_at) = (0, 0);
        let mut guard = self.lock.lock();
        // The requests of this ring stay while the lock is released, because they are completed
        // under the lock of the ring.
        for (_, request) in self.index.iter() {
            // SAFETY: Requests are freed only after they were erased under the lock.
            let waiting = unsafe { request.as_ref() };
            // SAFETY: By the type invariants, the command is valid until the request is freed.
            let matches = unsafe {
                helpers::rfutex_uring_ring(waiting.command.as_ptr()) == command.ring()
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
}

/// A request that is in no queue yet. It is taken back when this is dropped.
///
/// # Invariants
///
/// `request` is one of `requests`, and was never queued.
struct NewRequest<'c> {
    requests: &'c Requests,
    request: NonNull<Request>,
}

impl NewRequest<'_> {
    /// Queues the request on `id` if the word has the expected value. From there on, `command`,
    /// which must be the one that the request was made for, may be completed at any moment.
    ///
    /// # Errors
    ///
    /// Tells why the word was not found to have that value, with the request.
    fn queue(
        self,
        command: &Command<'_>,
        id: KeyId,
        request: &request::Wait,
    ) -> Result<(), (Self, Mismatch)> {
        let table = command.device.context().table();
        let entry = table.slot(id).enter();
        if let Err(mismatch) = uaccess::compare_inatomic(request.word, request.val) {
            drop(entry);
            return Err((self, mismatch));
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: By the type invariants, the request is in no queue, so that nobody else accesses
        // its node.
        unsafe { this.request.as_ref().node.set_id(id) };
        // SAFETY: The node is that of a request, which is not freed before it has left the queue.
        // The table is the device's, which the command's file keeps.
        unsafe {
            entry.queue_node(this.request.cast(), || {
                // The bucket is still locked, so that nobody completes the command before this.
                command.wait_for(this.request);
            })
        };
        Ok(())
    }
}

impl Drop for NewRequest<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the request is one of these, and was never queued.
        unsafe { self.requests.free(self.request) };
    }
}

/// A command that is being issued.
///
/// # Invariants
///
/// `raw` is a valid command of the file `device`, it was not completed yet, and the lock of its
/// ring is held. `flags` are the ones that io_uring has issued it with.
struct Command<'c> {
    raw: NonNull<bindings::io_uring_cmd>,
    device: &'c Device,
    flags: c_uint,
}

impl Command<'_> {
    /// The ring, to be compared.
    fn ring(&self) -> *mut c_void {
        // SAFETY: By the type invariants, the command is valid.
        unsafe { helpers::rfutex_uring_ring(self.raw.as_ptr()) }
    }

    /// Notes that the command waits for `request`, and has io_uring cancel it when that becomes
    /// necessary.
    fn wait_for(&self, request: NonNull<Request>) {
        // SAFETY: By the type invariants, the command is valid, and was issued with these flags.
        // The lock of the ring is held, so that the second function does not sleep.
        unsafe {
            helpers::rfutex_uring_set_request(self.raw.as_ptr(), request.as_ptr().cast());
            helpers::rfutex_uring_mark_cancelable(self.raw.as_ptr(), self.flags);
        }
    }
}

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
    unsafe fn add(&mut self, request: NonNull<Request>) {
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

    /// Has io_uring complete all requests.
    #[cold]
    #[inline(never)]
    fn complete(&mut self) {
        while let Some(request) = NonNull::new(self.first) {
            // SAFETY: By the type invariants, the request was taken out of its queue for this list,
            // so that nobody else frees it.
            let request = unsafe { request.as_ref() };
            // INVARIANT: The request leads to the next one.
            self.first = request.next.get();
            // SAFETY: The command is valid until the request is freed, which happens in the work
            // that this adds to its task. The request is not used after this.
            unsafe { helpers::rfutex_uring_complete(request.command.as_ptr()) };
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

/// The device file on which `command` was issued.
///
/// # Safety
///
/// The command must be valid for `'a`, and be one of a device file.
unsafe fn device<'a>(command: NonNull<bindings::io_uring_cmd>) -> &'a Device {
    // SAFETY: By the function's requirements, the command is valid. It has a reference on its file.
    let private = unsafe { helpers::rfutex_uring_private_data(command.as_ptr()) };
    // SAFETY: The private data of a device file comes from `into_foreign`, and remains until the
    // file is released.
    unsafe { Pin::<KBox<Device>>::borrow(private) }.get_ref()
}

/// Issues a command. Returns the result, or `-EIOCBQUEUED` if the command is completed later.
///
/// # Safety
///
/// `command` must be a valid command of a device file that was not completed yet, and the lock of
/// its ring must be held.
#[no_mangle]
unsafe extern "C" fn rfutex_request_issue(
    command: NonNull<bindings::io_uring_cmd>,
    op: u32,
    arg: u64,
    flags: c_uint,
) -> c_int {
    // INVARIANT: The caller ensures that the invariants hold.
    let command = Command {
        raw: command,
        // SAFETY: By the function's requirements, the command is valid.
        device: unsafe { device(command) },
        flags,
    };
    match issue(&command, op, arg) {
        Ok(Some(result)) => result as c_int,
        Ok(None) => -(bindings::EIOCBQUEUED as c_int),
        Err(error) => error.to_errno(),
    }
}

/// Issues a command. Returns `None` if it is completed later.
fn issue(command: &Command<'_>, op: u32, arg: u64) -> Result<Option<u32>> {
    // The numbers of these commands are compared as a whole, as in `Device::ioctl`.
    let (private, nr) = match op {
        helpers::RFUTEX_CMD_WAKE_ONE_PRIVATE => (true, 1),
        helpers::RFUTEX_CMD_WAKE_ALL_PRIVATE => (true, u32::MAX),
        helpers::RFUTEX_CMD_WAKE_ONE => (false, 1),
        helpers::RFUTEX_CMD_WAKE_ALL => (false, u32::MAX),
        helpers::RFUTEX_CMD_URING_CANCEL => {
            return Ok(Some(command.device.requests().cancel(command, arg)));
        }
        _ => return with_struct(command, op, arg),
    };
    let word = Word::at(arg.try_into().map_err(|_| EFAULT)?, private);
    let mask = helpers::RFUTEX_MASK_ANY as u64;
    op::wake::wake(command.device.context(), word, mask, nr).map(Some)
}

/// Issues a command whose argument is a struct. Returns `None` if it is completed later.
fn with_struct(command: &Command<'_>, op: u32, arg: u64) -> Result<Option<u32>> {
    const WAIT: u32 = unsized_command(helpers::RFUTEX_CMD_WAIT);
    const WAKE: u32 = unsized_command(helpers::RFUTEX_CMD_WAKE);
    const WAKEV: u32 = unsized_command(helpers::RFUTEX_CMD_WAKEV);
    let argument = Argument::new(arg.try_into().map_err(|_| EFAULT)?, _IOC_SIZE(op));
    let context = command.device.context();
    match unsized_command(op) {
        WAIT => wait(command, &request::Wait::read(argument)?).map(|()| None),
        WAKE => {
            let request = request::Wake::read(argument)?;
            op::wake::wake(context, request.word, request.mask, request.nr).map(Some)
        }
        WAKEV => op::wakev::wakev(context, &request::Wakev::read(argument)?).map(Some),
        _ => Err(EOPNOTSUPP),
    }
}

/// Compares the word with the value in the request and, if they are equal, queues the command. Once
/// this has succeeded, the command may be completed at any moment.
///
/// # Errors
///
/// As [`op::wait::wait`], and:
///
/// - `EINVAL`: the request has a deadline. io_uring has timeouts of its own.
/// - `ENOSPC`: the user has as many watches and requests as are allowed.
/// - `ENOMEM`: there is no memory.
///
/// # Context
///
/// Process context, under the lock of the ring. May sleep.
fn wait(command: &Command<'_>, request: &request::Wait) -> Result {
    if request.deadline.is_some() {
        return Err(EINVAL);
    }
    let mut waiter = command.device.requests().insert(command, request.mask)?;
    loop {
        let id = command.device.context().resolve(request.word)?;
        match waiter.queue(command, id, request) {
            Ok(()) => return Ok(()),
            Err((unqueued, mismatch)) => {
                mismatch.overcome(request.word)?;
                waiter = unqueued;
            }
        }
    }
}

/// The request of `command`.
///
/// # Safety
///
/// The command must be valid, and must have been queued.
unsafe fn request_of(command: NonNull<bindings::io_uring_cmd>) -> NonNull<Request> {
    // SAFETY: By the function's requirements, the command is valid. Before it was queued, its
    // request was set, which is not null.
    unsafe { NonNull::new_unchecked(helpers::rfutex_uring_request(command.as_ptr()).cast()) }
}

/// Cancels a command that was not completed yet, because its ring is being closed or its task
/// exits.
///
/// # Safety
///
/// `command` must be a valid command of a device file that was marked as cancelable, and the lock
/// of its ring must be held.
#[no_mangle]
unsafe extern "C" fn rfutex_request_cancel(
    command: NonNull<bindings::io_uring_cmd>,
    flags: c_uint,
) {
    // SAFETY: By the function's requirements, the command is valid. It was marked when it was
    // queued.
    let request = unsafe { request_of(command) };
    // SAFETY: The request is freed only when its command is completed, for which the lock of the
    // ring is needed.
    if !unsafe { request.as_ref() }.node.leave() {
        // Whoever has taken it out of its queue has it completed. Until then, io_uring must not try
        // again and again to cancel it.
        // SAFETY: By the function's requirements, the command is valid and marked, and the lock of
        // the ring is held.
        unsafe { helpers::rfutex_uring_unmark_cancelable(command.as_ptr()) };
        return;
    }
    // SAFETY: By the function's requirements, the command is valid. The request was just taken out
    // of its queue.
    unsafe { device(command).requests().free(request) };
    // SAFETY: The command is valid, and nobody else completes it.
    unsafe { helpers::rfutex_uring_done(command.as_ptr(), ECANCELED.to_errno(), flags) };
}

/// Frees the request of a command that is about to be completed. Returns the result.
///
/// # Safety
///
/// `command` must be the valid command of a request that was taken out of its queue.
#[no_mangle]
unsafe extern "C" fn rfutex_request_end(command: NonNull<bindings::io_uring_cmd>) -> c_int {
    // SAFETY: By the function's requirements, the command is valid, and was queued.
    let request = unsafe { request_of(command) };
    // SAFETY: The request was taken out of its queue, and is freed only below.
    let result = unsafe { request.as_ref() }.result.get();
    // SAFETY: By the function's requirements, the command is valid. The request was taken out of
    // its queue.
    unsafe { device(command).requests().free(request) };
    result
}
