// SPDX-License-Identifier: GPL-2.0
//! futex_waitv(2), futex_wake(2), futex_wait(2) and futex_requeue(2).

use super::{Deadline, Entries, Request, at_least_one, count, mask, wake_request, word};
use crate::kernel::{Args, Futex};
use crate::user::{self, Plain};
use core::ffi::c_long;
use rfutex::raw::uapi;

/// `FUTEX2_SIZE_U32`, the one size that the kernel has.
const SIZE_U32: u32 = 0x02;
/// `FUTEX2_PRIVATE`
const PRIVATE: u32 = 0x80;

// SAFETY: Integers only.
unsafe impl Plain for Futex {}

impl Futex {
    /// The word and its value; `None` if something is wrong with them.
    fn decode(&self) -> Option<(uapi::rfutex_word, u64)> {
        if self.reserved != 0 {
            return None;
        }
        let word = word(self.uaddr, private(self.flags)?)?;
        Some((word, fits(self.val)?))
    }
}

/// Whether the flags say that the word is private; `None` if they say
/// something that rfutex has not (a node) or the kernel has not (a size).
fn private(flags: u32) -> Option<bool> {
    match flags & !PRIVATE {
        SIZE_U32 => Some(flags & PRIVATE != 0),
        _ => None,
    }
}

/// `None` if `val` does not fit into a word.
fn fits(val: u64) -> Option<u64> {
    (val <= u32::MAX.into()).then_some(val)
}

/// When a wait ends.
///
/// # Safety
///
/// Those of [`user::read`].
unsafe fn deadline(timeout: c_long, clock: c_long) -> Option<Deadline> {
    if timeout == 0 {
        return Some(Deadline::NEVER);
    }
    let clock = match clock as i32 {
        libc::CLOCK_MONOTONIC => uapi::RFUTEX_CLOCK_MONOTONIC,
        libc::CLOCK_REALTIME => uapi::RFUTEX_CLOCK_REALTIME,
        _ => return None,
    };
    // SAFETY: The caller's promise.
    unsafe { Deadline::absolute(timeout as u64, clock) }
}

/// Decodes futex_wait(2); `None` if it is for the kernel.
///
/// # Safety
///
/// The pointers in `args` are those of the system call that is being made.
pub(crate) unsafe fn wait(args: &Args) -> Option<Request> {
    let [addr, val, bits, flags, timeout, clock] = *args;
    let word = word(addr as u64, private(flags as u32)?)?;
    let mask = mask(fits(bits as u64)? as u32)?;
    // SAFETY: The caller's promise.
    let deadline = unsafe { deadline(timeout, clock) }?;
    Some(Request::Wait(uapi::rfutex_wait {
        word,
        val: fits(val as u64)?,
        mask,
        deadline: deadline.ns,
        clock: deadline.clock,
        ..Default::default()
    }))
}

/// Decodes futex_wake(2); `None` if it is for the kernel.
pub(crate) fn wake(args: &Args) -> Option<Request> {
    let [addr, bits, nr, flags, ..] = *args;
    let word = word(addr as u64, private(flags as u32)?)?;
    let mask = mask(fits(bits as u64)? as u32)?;
    // Here, and only here, none means none.
    let nr = match nr as i32 {
        0 => 0,
        nr => at_least_one(nr),
    };
    Some(wake_request(word, mask, nr))
}

/// Decodes futex_requeue(2); `None` if it is for the kernel.
///
/// # Safety
///
/// The pointers in `args` are those of the system call that is being made.
pub(crate) unsafe fn requeue(args: &Args) -> Option<Request> {
    let [futexes, flags, nr_wake, nr_move, ..] = *args;
    if flags as u32 != 0 || futexes == 0 {
        return None;
    }
    // SAFETY: The caller's promise.
    let mut futexes = unsafe { user::read_array::<Futex>(futexes as u64, 2) }?;
    let (from, val) = futexes.next()?.decode()?;
    let (to, _) = futexes.next()?.decode()?;
    if from.flags != to.flags {
        return None;
    }
    Some(Request::Requeue(uapi::rfutex_requeue {
        from,
        to,
        val,
        nr_wake: count(nr_wake as i32)?,
        nr_move: count(nr_move as i32)?,
        flags: uapi::RFUTEX_REQUEUE_CMP,
        pad: 0,
    }))
}

/// Decodes futex_waitv(2), whose words go to `entries`; `None` if it is for the
/// kernel.
///
/// # Safety
///
/// The pointers in `args` are those of the system call that is being made.
pub(crate) unsafe fn waitv(args: &Args, entries: &mut Entries) -> Option<Request> {
    let [futexes, nr, flags, timeout, clock, _] = *args;
    let nr = nr as u32;
    if flags as u32 != 0 || futexes == 0 || nr == 0 {
        return None;
    }
    let entries = entries.get_mut(..nr as usize)?;
    // SAFETY: The caller's promise.
    let deadline = unsafe { deadline(timeout, clock) }?;
    // SAFETY: The caller's promise.
    let futexes = unsafe { user::read_array::<Futex>(futexes as u64, entries.len()) }?;
    for (entry, futex) in entries.iter_mut().zip(futexes) {
        let (word, val) = futex.decode()?;
        entry.write(uapi::rfutex_waitv_entry {
            word,
            val,
            mask: uapi::RFUTEX_MASK_ANY,
            ..Default::default()
        });
    }
    Some(Request::Waitv(uapi::rfutex_waitv {
        entries: entries.as_ptr() as u64,
        nr,
        entry_size: size_of::<uapi::rfutex_waitv_entry>() as u32,
        deadline: deadline.ns,
        clock: deadline.clock,
        flags: 0,
    }))
}
