// SPDX-License-Identifier: GPL-2.0
//! Which side a call is for: the device, the kernel's futex, or both.
//!
//! The kernel itself wakes who waits for a thread to end: it clears the word that clone(2) was
//! given with `CLONE_CHILD_CLEARTID`, marks the words of a robust list, and wakes one waiter of
//! each, on its own side and never as a private futex. Who waits for that has to wait there. It is
//! known by the value that it waits for, see [`belongs_to_kernel`]. So a wake that is not private
//! may have waiters on both sides, in whatever process they are: it goes to the device first, and
//! to the kernel for the rest. Therefore a wait that is taken for one of these and is none is not
//! lost; it is only not on the device.

use crate::decode::Request;
use crate::kernel::{self, Args};
use crate::stats::{self, Counter};
use crate::{decoded, serve};
use core::ffi::c_long;
use rfutex::raw::uapi;

/// The largest thread id that a kernel gives out (`PID_MAX_LIMIT`).
const LARGEST_TID: u64 = 1 << 22;

/// Makes one of futex's system calls: on the device if it can, else in the kernel. An error is
/// the negative of its number.
///
/// # Safety
///
/// That of the system call.
pub(crate) unsafe fn call(number: c_long, args: &Args) -> c_long {
    // SAFETY: The caller's promise.
    unsafe {
        match decoded(number, args, |request| made(request, number, args)) {
            Some(result) => result,
            None => {
                stats::count(Counter::Kernel);
                kernel::call(number, args)
            }
        }
    }
}

/// Has the device do it, and the kernel the rest; `None` if all of it is for the kernel.
///
/// # Safety
///
/// `request` is what `args` are decoded to, of the system call that is being made.
pub(crate) unsafe fn made(request: &Request, number: c_long, args: &Args) -> Option<c_long> {
    if is_for_kernel(request) {
        return None;
    }
    // SAFETY: The caller's promise.
    unsafe {
        let result = serve(request)?;
        Some(finished(request, number, args, result))
    }
}

/// True if a request has to be made in the kernel.
#[inline(always)]
pub(super) fn is_for_kernel(request: &Request) -> bool {
    matches!(request, Request::Wait(wait) if belongs_to_kernel(wait, is_thread))
}

/// What a request comes to that the device has answered with `result`: the kernel does the rest.
///
/// # Safety
///
/// That of [`made`].
#[inline(always)]
pub(super) unsafe fn finished(
    request: &Request,
    number: c_long,
    args: &Args,
    result: c_long,
) -> c_long {
    let Some(nr) = wakes(request).filter(|_| result >= 0) else {
        return result;
    };
    let rest = c_long::from(nr) - result;
    if rest <= 0 {
        return result;
    }
    stats::count(Counter::Rest);
    let mut args = *args;
    args[COUNT] = rest;
    // SAFETY: The caller's promise: it is the same call, for fewer waiters.
    let more = unsafe { kernel::call(number, &args) };
    result + more.max(0)
}

/// Which argument of a wake says how many, of futex(2) and of futex_wake(2).
const COUNT: usize = 2;

/// How many a request wakes that may have waiters on both sides.
fn wakes(request: &Request) -> Option<u32> {
    match request {
        Request::Wake(wake) if wake.word.flags & uapi::RFUTEX_WORD_PRIVATE == 0 => Some(wake.nr),
        Request::WakeAt(uapi::RFUTEX_WAKE_ONE, _) => Some(1),
        Request::WakeAt(uapi::RFUTEX_WAKE_ALL, _) => Some(i32::MAX as u32),
        _ => None,
    }
}

/// True if a wait is for what the kernel does when a thread ends. It is not private, and the value
/// that it waits for is
///
/// - the id of a thread of this process, as in the word that is cleared when the thread ends, or
/// - an id with `FUTEX_WAITERS`, as in the word of a robust lock.
fn belongs_to_kernel(wait: &uapi::rfutex_wait, is_thread: impl Fn(i32) -> bool) -> bool {
    const WAITERS: u64 = libc::FUTEX_WAITERS as u64;
    const TID: u64 = libc::FUTEX_TID_MASK as u64;
    if wait.word.flags & uapi::RFUTEX_WORD_PRIVATE != 0 {
        return false;
    }
    match wait.val {
        1..=LARGEST_TID => is_thread(wait.val as i32),
        val => val & WAITERS != 0 && (1..=LARGEST_TID).contains(&(val & TID)),
    }
}

/// Whether this is a thread of this process. One that ends is one until the kernel has cleared its
/// word: after that, a wait for its id ends at once.
fn is_thread(tid: i32) -> bool {
    // SAFETY: Neither touches memory, and signal 0 is none.
    unsafe {
        let process = kernel::call(libc::SYS_getpid, &[0; 6]);
        let args = [process, tid.into(), 0, 0, 0, 0];
        kernel::call(libc::SYS_tgkill, &args) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(val: u64, flags: u32) -> uapi::rfutex_wait {
        uapi::rfutex_wait {
            word: uapi::rfutex_word {
                addr: 0x1000,
                size: 4,
                flags,
            },
            val,
            ..Default::default()
        }
    }

    #[test]
    fn waits_for_a_thread_to_end() {
        let own = |tid| tid == 1234;
        assert!(belongs_to_kernel(&wait(1234, 0), own));
        assert!(!belongs_to_kernel(&wait(1235, 0), own));
        assert!(!belongs_to_kernel(&wait(0, 0), |_| true));
        assert!(!belongs_to_kernel(&wait(LARGEST_TID + 1, 0), |_| true));
        assert!(!belongs_to_kernel(
            &wait(1234, uapi::RFUTEX_WORD_PRIVATE),
            own
        ));
    }

    #[test]
    fn waits_for_a_robust_lock() {
        let waiters = u64::from(libc::FUTEX_WAITERS);
        let died = u64::from(libc::FUTEX_OWNER_DIED);
        let nobody = |_| false;
        assert!(belongs_to_kernel(&wait(waiters | 77, 0), nobody));
        assert!(belongs_to_kernel(&wait(waiters | died | 77, 0), nobody));
        assert!(!belongs_to_kernel(&wait(77, 0), nobody));
        // Whose lock would it be?
        assert!(!belongs_to_kernel(&wait(waiters, 0), nobody));
        assert!(!belongs_to_kernel(
            &wait(waiters | (LARGEST_TID + 1), 0),
            nobody
        ));
        assert!(!belongs_to_kernel(
            &wait(waiters | 77, uapi::RFUTEX_WORD_PRIVATE),
            nobody
        ));
    }

    #[test]
    fn threads_of_this_process() {
        // SAFETY: It touches nothing.
        let own = unsafe { libc::gettid() };
        assert!(is_thread(own));
        let (send, receive) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            // SAFETY: As above.
            send.send(unsafe { libc::gettid() }).unwrap();
            ended.recv().unwrap_err();
        });
        let other = receive.recv().unwrap();
        assert!(is_thread(other));
        drop(end);
        thread.join().unwrap();
        assert!(!is_thread(-1));
        // The first process is another one, or it is this one.
        assert_eq!(is_thread(1), std::process::id() == 1);
    }

    #[test]
    fn wakes_with_waiters_on_both_sides() {
        let wake = |flags| {
            Request::Wake(uapi::rfutex_wake {
                word: wait(0, flags).word,
                nr: 7,
                ..Default::default()
            })
        };
        assert_eq!(wakes(&wake(0)), Some(7));
        assert_eq!(wakes(&wake(uapi::RFUTEX_WORD_PRIVATE)), None);
        let at = |command| wakes(&Request::WakeAt(command, 0x1000));
        assert_eq!(at(uapi::RFUTEX_WAKE_ONE), Some(1));
        assert_eq!(at(uapi::RFUTEX_WAKE_ALL), Some(i32::MAX as u32));
        assert_eq!(at(uapi::RFUTEX_WAKE_ONE_PRIVATE), None);
        assert_eq!(at(uapi::RFUTEX_WAKE_ALL_PRIVATE), None);
        assert_eq!(wakes(&Request::Wait(wait(1, 0))), None);
    }
}
