// SPDX-License-Identifier: GPL-2.0
//! The kernel's own system calls, without the C library's: they leave errno
//! alone and cannot come back to our `syscall`.

use core::arch::asm;
use core::ffi::c_long;

/// The largest error number; results above `-1 - MAX_ERRNO` are errors.
const MAX_ERRNO: c_long = 4095;

/// Numbers that the libc crate has not.
pub(crate) const SYS_FUTEX_WAKE: c_long = 454;
pub(crate) const SYS_FUTEX_WAIT: c_long = 455;
pub(crate) const SYS_FUTEX_REQUEUE: c_long = 456;

/// The kernel's `struct futex_waitv`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Futex {
    pub(crate) val: u64,
    pub(crate) uaddr: u64,
    pub(crate) flags: u32,
    pub(crate) reserved: u32,
}

/// The arguments of a system call.
pub(crate) type Args = [c_long; 6];

/// Makes a system call. An error is the negative of its number.
///
/// # Safety
///
/// The call with these arguments must do to memory only what the program may
/// have done to it.
#[inline(always)]
pub(crate) unsafe fn call(number: c_long, args: &Args) -> c_long {
    let result;
    // SAFETY: The kernel changes the registers that are named here, and beside
    // them what the caller answers for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The error number in a result, if it is one.
#[inline]
pub(crate) fn error(result: c_long) -> Option<i32> {
    (-MAX_ERRNO..0).contains(&result).then_some(-result as i32)
}
