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

mod claimed;
mod command;
mod requests;
#[cfg(RFUTEX_KUNIT)]
mod tests;

use self::{
    command::{
        device,
        request_of,
        Command, //
    },
    requests::Request, //
};
use crate::{
    bindings as helpers,
    device::unsized_command,
    mm::{
        uaccess::Mismatch,
        version::EOPNOTSUPP, //
    },
    op,
    queue::{
        About,
        Node,
        Who, //
    },
    request::{
        self,
        Argument, //
    },
    trace,
    word::{
        Location,
        Word, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    ioctl::_IOC_SIZE,
    prelude::*, //
};

pub(crate) use self::{
    claimed::{
        claim,
        Claimed, //
    },
    requests::Requests, //
};

/// Issues a command. Returns the result, or `-EIOCBQUEUED` if the command is completed later.
///
/// # Safety
///
/// `command` must be a valid command of a device file that was not completed yet, and the lock of
/// its ring must be held. It must have been issued with `flags`.
#[no_mangle]
unsafe extern "C" fn rfutex_request_issue(
    command: NonNull<bindings::io_uring_cmd>,
    op: u32,
    arg: u64,
    flags: c_uint,
) -> c_int {
    // SAFETY: The caller ensures the same.
    let command = unsafe { Command::new(command, flags) };
    match issue(&command, op, arg) {
        Ok(Some(result)) => result as c_int,
        Ok(None) => -(bindings::EIOCBQUEUED as c_int),
        Err(error) => error.to_errno(),
    }
}

/// Issues a command. Returns `None` if it is completed later.
fn issue(command: &Command<'_>, op: u32, arg: u64) -> Result<Option<u32>> {
    // The numbers of these commands are compared as a whole, as in `Device::ioctl`.
    let (location, nr) = match op {
        helpers::RFUTEX_CMD_WAKE_ONE_PRIVATE => (Location::PrivateAddress, 1),
        helpers::RFUTEX_CMD_WAKE_ALL_PRIVATE => (Location::PrivateAddress, u32::MAX),
        helpers::RFUTEX_CMD_WAKE_ONE => (Location::Address, 1),
        helpers::RFUTEX_CMD_WAKE_ALL => (Location::Address, u32::MAX),
        helpers::RFUTEX_CMD_WAKE_ONE_ARENA => (Location::Arena, 1),
        helpers::RFUTEX_CMD_WAKE_ALL_ARENA => (Location::Arena, u32::MAX),
        helpers::RFUTEX_CMD_URING_CANCEL => {
            let mut claimed = Claimed::new();
            let requests = command.device().requests();
            return Ok(Some(requests.cancel(command.ring(), arg, &mut claimed)));
        }
        _ => return with_struct(command, op, arg),
    };
    let word = Word::at(arg.try_into().map_err(|_| EFAULT)?, location);
    let mask = helpers::RFUTEX_MASK_ANY as u64;
    op::wake::wake(command.device().context(), word, mask, nr).map(Some)
}

/// Issues a command whose argument is a struct. Returns `None` if it is completed later.
fn with_struct(command: &Command<'_>, op: u32, arg: u64) -> Result<Option<u32>> {
    const WAIT: u32 = unsized_command(helpers::RFUTEX_CMD_WAIT);
    const WAKE: u32 = unsized_command(helpers::RFUTEX_CMD_WAKE);
    const WAKEV: u32 = unsized_command(helpers::RFUTEX_CMD_WAKEV);
    let argument = Argument::new(arg.try_into().map_err(|_| EFAULT)?, _IOC_SIZE(op));
    let context = command.device().context();
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
/// - `EINVAL`: the request has a deadline, or an owner. io_uring has timeouts of its own.
/// - `ENOSPC`: the user has as many watches and requests as are allowed.
/// - `ENOMEM`: there is no memory.
///
/// # Context
///
/// Process context, under the lock of the ring. May sleep.
fn wait(command: &Command<'_>, request: &request::Wait) -> Result {
    if request.deadline.is_some() || request.owner.is_some() {
        return Err(EINVAL);
    }
    let context = command.device().context();
    let about = About::new(request.word, request.val);
    // SAFETY: The command exists until it is completed, which is after the request was freed.
    let mut waiter = unsafe {
        let requests = command.device().requests();
        requests.insert(command.as_raw(), request.mask, about)
    }?;
    loop {
        let key = context.resolve(request.word)?;
        let compare = || -> Result<(), Mismatch> {
            context.compare(request.word, request.val)?;
            trace::wait(
                context.table(),
                trace::Command::UringWait,
                key,
                request.word,
                request.val,
                request.mask,
                false,
            );
            Ok(())
        };
        // The bucket is still locked when the command learns of its request, so that nobody
        // completes it before that.
        let queued = |request| command.wait_for(request);
        // SAFETY: The table is the device's, which the command's file keeps.
        match unsafe { waiter.queue_if(context.table(), key, compare, queued) } {
            Ok(()) => return Ok(()),
            Err((unqueued, mismatch)) => {
                mismatch.overcome(request.word)?;
                waiter = unqueued;
            }
        }
    }
}

/// What the request whose node is `node` has asked for.
///
/// # Safety
///
/// The node must be that of a request, and be in a queue whose lock the caller holds.
pub(crate) unsafe fn about(node: NonNull<Node>) -> About {
    // SAFETY: By the invariants of `Node`, it is the first field of a request. It is queued, so that
    // it is not freed while the bucket is locked.
    unsafe { node.cast::<Request>().as_ref() }.about
}

/// Who has submitted the request whose node is `node`.
///
/// # Safety
///
/// As [`about`].
pub(crate) unsafe fn who(node: NonNull<Node>) -> Who {
    // SAFETY: By the invariants of `Node`, it is the first field of a request. It is queued, so that
    // it is not freed while the bucket is locked.
    let request = unsafe { node.cast::<Request>().as_ref() };
    // SAFETY: The command is valid until its request is freed.
    let user_data = unsafe { helpers::rfutex_uring_user_data(request.command.as_ptr()) };
    Who::armed(&request.process, user_data)
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
    unsafe { free(command, request, ECANCELED.to_errno()) };
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
    // SAFETY: By the function's requirements, the command is valid, and the request was taken out of
    // its queue.
    unsafe { free(command, request, result) };
    result
}

/// Frees the request of a command that ends with `result`, and emits a trace event that says so.
///
/// # Safety
///
/// `command` must be valid, and `request` must be its request, which was taken out of its queue. The
/// request must not be used again.
unsafe fn free(command: NonNull<bindings::io_uring_cmd>, request: NonNull<Request>, result: c_int) {
    // SAFETY: By the function's requirements, the command is valid.
    let device = unsafe { device(command) };
    // SAFETY: By the function's requirements, the request is valid, and it is in no queue, so that
    // nobody else accesses its key.
    let id = unsafe { request.as_ref().node.id() };
    trace::request_ended(device.context().table(), id, result);
    // SAFETY: By the function's requirements, the request is that of a command of this device, was
    // taken out of its queue, and is not used again.
    unsafe { device.requests().free(request) };
}
