// SPDX-License-Identifier: GPL-2.0
//! Counts the calls of `syscall()` and hands them on to the next definition, as
//! libraries do that trace what a program does. It stands before or behind
//! `librfutex_preload.so`, and knows nothing of it.

use core::ffi::{c_long, c_void};
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// How often each system call was made, by its number.
static CALLS: [AtomicU64; 512] = [const { AtomicU64::new(0) }; _];

/// The next definition; null before it was looked for.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// The C library's `syscall()`.
///
/// # Safety
///
/// That of the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;
    if let Some(calls) = CALLS.get(number as usize) {
        calls.fetch_add(1, Ordering::SeqCst);
    }
    let mut next = NEXT.load(Ordering::SeqCst);
    if next.is_null() {
        // SAFETY: Takes a string.
        next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"syscall".as_ptr()) };
        NEXT.store(next, Ordering::SeqCst);
    }
    // SAFETY: The C library's definition is there at least.
    let next = unsafe { mem::transmute::<*mut c_void, Syscall>(next) };
    // SAFETY: The caller's promise.
    unsafe { next(number, a, b, c, d, e, f) }
}

/// How often a system call was made.
#[unsafe(no_mangle)]
pub extern "C" fn tracer_calls(number: c_long) -> u64 {
    CALLS
        .get(number as usize)
        .map_or(0, |calls| calls.load(Ordering::SeqCst))
}
