// SPDX-License-Identifier: GPL-2.0
//! The definition of `syscall()` that comes after ours: the C library's, or that
//! of another library that was preloaded behind this one. What is not for the
//! device goes there, as if we were not here.

use crate::kernel::{self, Args};
use core::ffi::{c_long, c_void};
use core::mem;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Where it is. Constructors of other libraries may make calls before it was
/// looked for: these go to the kernel.
pub(crate) static NEXT: AtomicPtr<c_void> = AtomicPtr::new(kernel_syscall as *mut c_void);

/// Looks for it, when the library is loaded: from a signal handler one must not.
#[cfg(not(test))]
pub(crate) fn find() {
    // SAFETY: Takes a string.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"syscall".as_ptr()) };
    if !next.is_null() {
        NEXT.store(next, Ordering::Relaxed);
    }
}

/// Has the kernel be the next one if it is the C library's so far, of which the instruction is
/// redirected to us: `is_there` tells that of an address.
pub(crate) fn skip_c_library(is_there: impl Fn(u64) -> bool) {
    if is_there(NEXT.load(Ordering::Relaxed).addr() as u64) {
        NEXT.store(kernel_syscall as *mut c_void, Ordering::Relaxed);
    }
}

/// Calls it: -1 is an error, whose number is in errno.
///
/// # Safety
///
/// That of the system call.
pub(crate) unsafe fn call(number: c_long, args: &Args) -> c_long {
    type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;
    let next = NEXT.load(Ordering::Relaxed);
    // SAFETY: It is a definition of `syscall`, which is this to its callers.
    let next = unsafe { mem::transmute::<*mut c_void, Syscall>(next) };
    let [a, b, c, d, e, f] = *args;
    // SAFETY: The caller's promise.
    unsafe { next(number, a, b, c, d, e, f) }
}

/// Makes the system call, as the C library does.
unsafe extern "C" fn kernel_syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    // SAFETY: The caller's promise.
    to_errno(unsafe { kernel::call(number, &[a, b, c, d, e, f]) })
}

/// Turns the kernel's result into the C library's.
pub(crate) fn to_errno(result: c_long) -> c_long {
    match kernel::error(result) {
        None => result,
        Some(error) => {
            // SAFETY: It points to this thread's errno.
            unsafe { *libc::__errno_location() = error };
            -1
        }
    }
}
