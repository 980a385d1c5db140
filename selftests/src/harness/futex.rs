// SPDX-License-Identifier: GPL-2.0
//! futex(2), to compare with.

use nix::errno::Errno;

const CLOCK_REALTIME: i32 = libc::FUTEX_CLOCK_REALTIME;

fn operation(command: i32, private: bool) -> i32 {
    command | if private { libc::FUTEX_PRIVATE_FLAG } else { 0 }
}

/// Waits on the word at `addr` until woken, while it is `val`.
pub fn wait(addr: u64, val: u32, private: bool) -> Result<(), Errno> {
    let none = std::ptr::null::<libc::timespec>();
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
