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
//! Whoever finds that the request is in no queue leaves it to the one who has taken it out. Issuing,
//! cancelling and completing a command never happen at the same time, because io_uring does all of
//! them under the lock of the ring.

use crate::{
    account::{
        Charge,
        CurrentAccount, //
    },
    bindings as helpers,
    context::Context,
    device::{
        unsized_command,
        Device, //
    },
    key::KeyId,
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
/// - The request is owned by the index of `requests`, in the slot `place`, does not move, and is freed only
///   by who erases it there under the lock of `requests`, after the node has left its queue.
/// - `command` is valid until the request is freed.
/// - The buckets that the node may be queued in are those of the device's table.
/// - `next` and `result` are accessed only by who has taken the node out of its queue.
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

    /// Makes a request of `command` on the key `id`, which is in no queue yet.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the user has as many watches and requests as are allowed. `ENOMEM`: there is no
    /// memory.
    ///
    /// # Context
    ///
    /// Process context, under the lock of the ring. May sleep.
    fn insert(
        &self,
        command: NonNull<bindings::io_uring_cmd>,
        id: KeyId,
        mask: u64,
    ) -> Result<NonNull<Request>> {
        let charge = self.account.charge()?;
        let mm = task::current_mm_number();
        // INVARIANT: The request is put into the index below. The command exists until it is
        // completed, which is after the request was freed.
        let request = pin_init!(Request {
            // SAFETY: The node is the first field of a waiter of this kind, which stays in its box.
            node: unsafe { Node::new(WaiterKind::Request, id, mask, mm, task::NORMAL_PRIORITY) },
            command,
            place: Cell::new(0),
            next: Cell::new(ptr::null_mut()),
            result: Cell::new(0),
            _charge: charge,
            _pin: PhantomPinned,
        });
        let (slot, request) = self
            .index
            .insert(KBox::pin_init(request, GFP_KERNEL_ACCOUNT)?)?;
        // SAFETY: The request was just made. Nobody else accesses the field before it is queued.
        unsafe { request.as_ref() }.place.set(slot);
        Ok(request)
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
        let slot = unsafe { request.as_ref() }.place.get();
        let guard = self.lock.lock();
        let request = self.index.erase(slot);
        drop(guard);
        drop(request);
    }

    /// `RFUTEX_URING_CANCEL`: cancels the requests that the ring of `command` has submitted with
    /// this `user_data`. Returns how many there were that nobody had woken.
    fn cancel(&self, command: NonNull<bindings::io_uring_cmd>, user_data: u64) -> u32 {
        // SAFETY: The command is valid.
        let ring = unsafe { helpers::rfutex_uring_ring(command.as_ptr()) };
        let mut claimed = Claimed::new();
        let mut nr = 0;
        let guard = self.lock.lock();
        for (_, request) in self.index.iter() {
            // SAFETY: Requests are freed only after they were erased under the lock.
            let request_ref = unsafe { request.as_ref() };
            let theirs = request_ref.command.as_ptr();
            // SAFETY: By the type invariants, the command is valid until the request is freed.
            let matches = unsafe {
                helpers::rfutex_uring_ring(theirs) == ring
                    && helpers::rfutex_uring_user_data(theirs) == user_data
            };
            if matches && request_ref.node.leave() {
                request_ref.result.set(ECANCELED.to_errno());
                // SAFETY: The request was just taken out of its queue.
                unsafe { claimed.add(request) };
                nr += 1;
            }
        }
        drop(guard);
        nr
    }
}

/// Requests that were taken out of their queues. They are completed when this is dropped. There can
/// be any number of them, and nothing is allocated.
///
/// # Invariants
///
/// `first`, and the `next` pointers that follow it, lead to null through requests that were taken
/// out of their queues for this list.
pub(crate) struct Claimed {
    first: *mut Request,
}

impl Claimed {
    /// An empty list.
    #[inline]
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no request in front of null.
        Self {
            first: ptr::null_mut(),
        }
    }

    /// Adds a request.
    ///
    /// # Safety
    ///
    /// The caller must have just taken the request out of its queue.
    unsafe fn add(&mut self, request: NonNull<Request>) {
        // SAFETY: By the function's requirements, nobody else completes and frees the request.
        unsafe { request.as_ref() }.next.set(self.first);
        // INVARIANT: The request leads to what was the first one.
        self.first = request.as_ptr();
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
unsafe fn device<'a>(command: NonNull<bindings::io_uring_cmd>) -> Pin<&'a Device> {
    // SAFETY: By the function's requirements, the command is valid. It has a reference on its file.
    let private = unsafe { helpers::rfutex_uring_private_data(command.as_ptr()) };
    // SAFETY: The private data of a device file comes from `into_foreign`, and remains until the
    // file is released.
    unsafe { Pin::<KBox<Device>>::borrow(private) }
}

/// Issues a command. Returns the result, or `-EIOCBQUEUED` if the command is completed later.
///
/// # Safety
///
/// `command` must be a valid command of a device file, and the lock of its ring must be held.
#[no_mangle]
unsafe extern "C" fn rfutex_request_issue(
    command: *mut bindings::io_uring_cmd,
    op: u32,
    arg: u64,
    issue_flags: c_uint,
) -> c_int {
    let Some(command) = NonNull::new(command) else {
        return EINVAL.to_errno();
    };
    // SAFETY: By the function's requirements, the command is valid.
    let device = unsafe { device(command) };
    let result = (|| {
        let arg = usize::try_from(arg);
        // The numbers of these commands are compared as a whole, as in `Device::ioctl`.
        let (private, nr) = match op {
            helpers::RFUTEX_CMD_WAKE_ONE_PRIVATE => (true, 1),
            helpers::RFUTEX_CMD_WAKE_ALL_PRIVATE => (true, u32::MAX),
            helpers::RFUTEX_CMD_WAKE_ONE => (false, 1),
            helpers::RFUTEX_CMD_WAKE_ALL => (false, u32::MAX),
            helpers::RFUTEX_CMD_URING_CANCEL => {
                return Ok(Some(
                    device
                        .requests()
                        .cancel(command, arg.map_err(|_| EINVAL)? as u64),
                ));
            }
            _ => {
                let argument = Argument::new(arg.map_err(|_| EFAULT)?, _IOC_SIZE(op));
                return with_struct(device, command, unsized_command(op), argument, issue_flags);
            }
        };
        let word = Word::at(arg.map_err(|_| EFAULT)?, private);
        let mask = helpers::RFUTEX_MASK_ANY as u64;
        op::wake::wake(device.context(), word, mask, nr).map(Some)
    })();
    match result {
        Ok(Some(result)) => result as c_int,
        Ok(None) => -(bindings::EIOCBQUEUED as c_int),
        Err(error) => error.to_errno(),
    }
}

/// Issues a command whose argument is a struct. Returns `None` if it is completed later.
fn with_struct(
    device: Pin<&Device>,
    command: NonNull<bindings::io_uring_cmd>,
    op: u32,
    argument: Argument,
    issue_flags: c_uint,
) -> Result<Option<u32>> {
    const WAIT: u32 = unsized_command(helpers::RFUTEX_CMD_WAIT);
    const WAKE: u32 = unsized_command(helpers::RFUTEX_CMD_WAKE);
    const WAKEV: u32 = unsized_command(helpers::RFUTEX_CMD_WAKEV);
    let context = device.context();
    match op {
        WAIT => {
            let request = request::Wait::read(argument)?;
            wait(context, device.requests(), command, &request, issue_flags)?;
            Ok(None)
        }
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
fn wait(
    context: Context<'_>,
    requests: &Requests,
    command: NonNull<bindings::io_uring_cmd>,
    request: &request::Wait,
    issue_flags: c_uint,
) -> Result {
    if request.deadline.is_some() {
        return Err(EINVAL);
    }
    let mut id = context.resolve(request.word)?;
    let waiter = requests.insert(command, id, request.mask)?;
    loop {
        match queue(context, waiter, id, request, issue_flags) {
            Ok(()) => return Ok(()),
            Err(mismatch) => {
                let resolved = mismatch
                    .overcome(request.word)
                    .and_then(|()| context.resolve(request.word));
                match resolved {
                    Ok(again) => id = again,
                    Err(error) => {
                        // SAFETY: The request was never queued.
                        unsafe { requests.free(waiter) };
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// Makes one attempt to queue the request.
fn queue(
    context: Context<'_>,
    waiter: NonNull<Request>,
    id: KeyId,
    request: &request::Wait,
    issue_flags: c_uint,
) -> Result<(), Mismatch> {
    let entry = context.table().slot(id).enter();
    uaccess::compare_inatomic(request.word, request.val)?;
    // SAFETY: The request is in no queue, so that nobody else accesses its node.
    unsafe { waiter.as_ref().node.set_id(id) };
    // SAFETY: The request is not freed before it has left the queue, and its file keeps the table.
    unsafe {
        entry.queue_node(waiter.cast(), || {
            // The bucket is still locked, so that the command is not completed before this; and the
            // lock of the ring is held, so that this does not sleep.
            let command = waiter.as_ref().command.as_ptr();
            helpers::rfutex_uring_set_request(command, waiter.as_ptr().cast());
            helpers::rfutex_uring_mark_cancelable(command, issue_flags);
        })
    };
    Ok(())
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
    command: *mut bindings::io_uring_cmd,
    issue_flags: c_uint,
) {
    let Some(command) = NonNull::new(command) else {
        return;
    };
    // SAFETY: By the function's requirements, the command is valid and was marked, which happens
    // only when it has a request.
    let request = unsafe { helpers::rfutex_uring_request(command.as_ptr()) };
    let Some(request) = NonNull::new(request.cast::<Request>()) else {
        return;
    };
    // SAFETY: The request is freed only when its command is completed, for which the lock of the
    // ring is needed.
    if !unsafe { request.as_ref() }.node.leave() {
        // Whoever has taken it out of its queue has it completed.
        return;
    }
    // SAFETY: By the function's requirements, the command is valid.
    let device = unsafe { device(command) };
    // SAFETY: The request was just taken out of its queue.
    unsafe { device.requests().free(request) };
    // SAFETY: The command is valid, and nobody else completes it.
    unsafe {
        helpers::rfutex_uring_done(command.as_ptr(), ECANCELED.to_errno(), issue_flags);
    }
}

/// Frees the request of a command that is about to be completed. Returns the result.
///
/// # Safety
///
/// `command` must be the valid command of a request that was taken out of its queue.
#[no_mangle]
unsafe extern "C" fn rfutex_request_end(command: *mut bindings::io_uring_cmd) -> c_int {
    let Some(command) = NonNull::new(command) else {
        return EINVAL.to_errno();
    };
    // SAFETY: By the function's requirements, the command is valid and has a request.
    let request = unsafe { helpers::rfutex_uring_request(command.as_ptr()) };
    let Some(request) = NonNull::new(request.cast::<Request>()) else {
        return EINVAL.to_errno();
    };
    // SAFETY: The request was taken out of its queue, and is freed only below.
    let result = unsafe { request.as_ref() }.result.get();
    // SAFETY: By the function's requirements, the command is valid.
    let device = unsafe { device(command) };
    // SAFETY: The request was taken out of its queue.
    unsafe { device.requests().free(request) };
    result
}
