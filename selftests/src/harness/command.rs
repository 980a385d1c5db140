// SPDX-License-Identifier: GPL-2.0
//! Commands of the device as the header has them, right or wrong.
//!
//! The tests know what they may have written to: a command has an output of its own struct, and the
//! target of WAKE_OP is a word of a mapping, which has atomics only, or where nothing of ours is.

use rfutex::raw::{self, Struct};
use rfutex::{Error, Rfutex};
use std::os::fd::AsFd;

/// Calls the command `request` with its struct.
pub fn call<T: Struct>(fx: &Rfutex, request: u32, arg: &mut T) -> Result<u32, Error> {
    // SAFETY: It is the device; see the module for the target.
    unsafe { raw::call(fx.as_fd(), request, arg) }
}

/// Calls the command `request` with a struct of exactly these bytes.
pub fn call_bytes(fx: &Rfutex, request: u32, bytes: &mut [u8]) -> Result<u32, Error> {
    // SAFETY: As above.
    unsafe { raw::call_bytes(fx.as_fd(), request, bytes) }
}

/// Calls the command `request`, which has no struct, on `addr`.
pub fn call_addr(fx: &Rfutex, request: u32, addr: u64) -> Result<u32, Error> {
    // SAFETY: It is the device.
    unsafe { raw::call_addr(fx.as_fd(), request, addr) }
}
