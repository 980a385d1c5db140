// SPDX-License-Identifier: GPL-2.0

//! A command of io_uring that is being issued.

use super::requests::Request;
use crate::{
    bindings as helpers,
    device::Device, //
};
use core::{
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*,
    types::ForeignOwnable, //
};

/// A command that is being issued.
///
/// # Invariants
///
/// `raw` is a valid command of the file `device`, it was not completed yet, and the lock of its
/// ring is held. `flags` are the ones that io_uring has issued it with.
pub(super) struct Command<'c> {
    raw: NonNull<bindings::io_uring_cmd>,
    device: &'c Device,
    flags: c_uint,
}

impl<'c> Command<'c> {
    /// The command `raw`, which is issued with `flags`.
    ///
    /// # Safety
    ///
    /// `raw` must be a valid command of a device file that was not completed yet, and the lock of
    /// its ring must be held, all of that for `'c`. It must have been issued with `flags`.
    pub(super) unsafe fn new(raw: NonNull<bindings::io_uring_cmd>, flags: c_uint) -> Self {
        // INVARIANT: The caller ensures that the invariants hold.
        Self {
            raw,
            // SAFETY: By the function's requirements, the command is valid, and is one of a device
            // file.
            device: unsafe { device(raw) },
            flags,
        }
    }

    /// The command, as io_uring knows it.
    pub(super) fn as_raw(&self) -> NonNull<bindings::io_uring_cmd> {
        self.raw
    }

    /// The device file.
    pub(super) fn device(&self) -> &'c Device {
        self.device
    }

    /// The ring, to be compared.
    pub(super) fn ring(&self) -> *mut c_void {
        // SAFETY: By the type invariants, the command is valid.
        unsafe { helpers::rfutex_uring_ring(self.raw.as_ptr()) }
    }

    /// Notes that the command waits for `request`, and has io_uring cancel it when that becomes
    /// necessary.
    pub(super) fn wait_for(&self, request: NonNull<Request>) {
        // SAFETY: By the type invariants, the command is valid, and was issued with these flags.
        // The lock of the ring is held, so that the second function does not sleep.
        unsafe {
            helpers::rfutex_uring_set_request(self.raw.as_ptr(), request.as_ptr().cast());
            helpers::rfutex_uring_mark_cancelable(self.raw.as_ptr(), self.flags);
        }
    }
}

/// The device file on which `command` was issued.
///
/// # Safety
///
/// The command must be valid for `'a`, and be one of a device file.
pub(super) unsafe fn device<'a>(command: NonNull<bindings::io_uring_cmd>) -> &'a Device {
    // SAFETY: By the function's requirements, the command is valid. It has a reference on its file.
    let private = unsafe { helpers::rfutex_uring_private_data(command.as_ptr()) };
    // SAFETY: The private data of a device file comes from `into_foreign`, and remains until the
    // file is released.
    unsafe { Pin::<KBox<Device>>::borrow(private) }.get_ref()
}

/// The request that `command` waits for.
///
/// # Safety
///
/// The command must be valid, and must have been queued.
pub(super) unsafe fn request_of(command: NonNull<bindings::io_uring_cmd>) -> NonNull<Request> {
    // SAFETY: By the function's requirements, the command is valid. Before it was queued, its
    // request was set, which is not null.
    unsafe { NonNull::new_unchecked(helpers::rfutex_uring_request(command.as_ptr()).cast()) }
}
