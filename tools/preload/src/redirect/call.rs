// SPDX-License-Identifier: GPL-2.0
//! System calls without the C library, in which some of them are places where a thread may be
//! cancelled.

use crate::kernel;
use core::ffi::c_long;

/// Makes a system call with up to six arguments. An error is its number.
///
/// # Safety
///
/// That of the system call.
pub(super) unsafe fn call(number: c_long, given: &[c_long]) -> Result<c_long, i32> {
    let mut args = [0; 6];
    args[..given.len()].copy_from_slice(given);
    // SAFETY: The caller's promise.
    let result = unsafe { kernel::call(number, &args) };
    match kernel::error(result) {
        None => Ok(result),
        Some(error) => Err(error),
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct File(pub(super) c_long);

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: It is this file's number.
        let _ = unsafe { call(libc::SYS_close, &[self.0]) };
    }
}
