// SPDX-License-Identifier: GPL-2.0
//! futex(2), to compare with.

use linux_raw_sys::general::{FUTEX2_PRIVATE, FUTEX2_SIZE_U32, futex_waitv};
use nix::errno::Errno;
use std::ptr;

const CLOCK_REALTIME: i32 = libc::FUTEX_CLOCK_REALTIME;

fn operation(command: i32, private: bool) -> i32 {
    command | if private { libc::FUTEX_PRIVATE_FLAG } else { 0 }
}

/// Waits on the word at `addr` until woken, while it is `val`.
pub fn wait(addr: u64, val: u32, private: bool) -> Result<(), Errno> {
    let none = ptr::null::<libc::timespec>();
    // SAFETY: The kernel reads the word only, if it can.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            addr,
            operation(libc::FUTEX_WAIT, private),
            val,
            none,
        )
    };
    Errno::result(result).map(drop)
}

/// Waits until a time that is past. Returns the errno.
pub fn wait_past(addr: u64, val: u32, private: bool, mask: u32) -> i32 {
    let past = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: The kernel reads the word and the time only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            addr,
            operation(libc::FUTEX_WAIT_BITSET | CLOCK_REALTIME, private),
            val,
            &raw const past,
            0,
            mask,
        )
    };
    Errno::result(result).map_or_else(|error| error as i32, |_| 0)
}

/// Wakes up to `nr` waiters. Returns how many.
pub fn wake(addr: u64, nr: i32, private: bool) -> Result<u32, Errno> {
    // SAFETY: The kernel does not change the memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            addr,
            operation(libc::FUTEX_WAKE, private),
            nr,
        )
    };
    Errno::result(result).map(|nr| u32::try_from(nr).expect("a small number"))
}

/// Wakes up to `nr_wake` of those who wait at `from`, and moves up to `nr_move` more to `to`; if
/// `val` is there, only while `from` has that value. Returns how many were woken or moved.
pub fn requeue(
    [from, to]: [u64; 2],
    val: Option<u32>,
    [nr_wake, nr_move]: [i32; 2],
    private: bool,
) -> Result<u32, Errno> {
    let command = if val.is_some() {
        libc::FUTEX_CMP_REQUEUE
    } else {
        libc::FUTEX_REQUEUE
    };
    // SAFETY: The kernel reads the first word only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            from,
            operation(command, private),
            nr_wake,
            i64::from(nr_move),
            to,
            val.unwrap_or(0),
        )
    };
    Errno::result(result).map(|nr| u32::try_from(nr).expect("a small number"))
}

/// Does `op` (as FUTEX_OP has it) to the word at `target`, wakes up to `nr` at `addr`, and up to
/// `nr_target` at the target if its old value compares. Returns how many were woken.
///
/// # Safety
///
/// At the target is nothing of Rust but an atomic.
pub unsafe fn wake_op(
    [addr, target]: [u64; 2],
    op: i32,
    [nr, nr_target]: [i32; 2],
    private: bool,
) -> Result<u32, Errno> {
    // SAFETY: The kernel changes the target only, which the caller answers for.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            addr,
            operation(libc::FUTEX_WAKE_OP, private),
            nr,
            i64::from(nr_target),
            target,
            op,
        )
    };
    Errno::result(result).map(|nr| u32::try_from(nr).expect("a small number"))
}

/// An entry for [`waitv`]: sleep while the 32-bit word at `addr` is `val`.
pub fn waitv_entry(addr: u64, val: u32, private: bool) -> futex_waitv {
    futex_waitv {
        val: val.into(),
        uaddr: addr,
        flags: FUTEX2_SIZE_U32 | if private { FUTEX2_PRIVATE } else { 0 },
        __reserved: 0,
    }
}

/// futex_waitv(2), until a time on a clock if there is one. Returns the index.
pub fn waitv(
    entries: &[futex_waitv],
    deadline: Option<(libc::timespec, libc::clockid_t)>,
) -> Result<u32, Errno> {
    let time = deadline.as_ref().map_or(ptr::null(), |(time, _)| time);
    let clock = deadline.map_or(0, |(_, clock)| clock);
    // SAFETY: The kernel reads the entries, the time and the words only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            entries.as_ptr(),
            entries.len() as u32,
            0,
            time,
            clock,
        )
    };
    Errno::result(result).map(|index| u32::try_from(index).expect("an index"))
}
