// SPDX-License-Identifier: GPL-2.0
//! Processes that share their memory, and so what the library knows, but not
//! their open files: what vfork(2) makes, or clone(2) with `CLONE_VM` alone.
//!
//! Such a child has this thread's errno and all else that is kept by thread: it
//! does not panic, and no calls that may fail are made by both at once.

use crate::call::{until, until_waiting, wait, wake};
use crate::device::descriptors;
use crate::kernel;
use crate::processes::{ROLE, ends_well};
use crate::sandbox::{enter, nothing_opens};
use crate::wakes::the_kernel_finds;
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;
use std::ffi::{c_int, c_void};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The size of a stack, in words.
const STACK: usize = 1 << 16;

/// Memory for a child to run on, which stays; returns where it ends.
fn stack_end() -> *mut usize {
    let stack: &'static mut [usize] = Vec::leak(vec![0; STACK]);
    let end = stack.as_mut_ptr_range().end;
    end.map_addr(|addr| addr & !15)
}

/// Runs `child` in a process that shares this one's memory, made with `flags`
/// besides, and `parent` beside it; then waits for the child, which ends well if
/// it returns true.
#[track_caller]
fn sharing<F: FnOnce() -> bool>(flags: c_int, child: F, parent: impl FnOnce(Pid)) {
    extern "C" fn begin<F: FnOnce() -> bool>(child: *mut c_void) -> c_int {
        // SAFETY: It was given away for this.
        let child = unsafe { Box::from_raw(child.cast::<F>()) };
        c_int::from(!child())
    }
    let child = Box::into_raw(Box::new(child)).cast();
    let flags = libc::CLONE_VM | libc::SIGCHLD | flags;
    // SAFETY: The stack is the child's alone, and so is the closure. What that
    // borrows is there until the child has ended, below.
    let pid = unsafe { libc::clone(begin::<F>, stack_end().cast(), flags, child) };
    let pid = Errno::result(pid).map(Pid::from_raw).expect("clone");
    parent(pid);
    ends_well(pid);
}

/// A child that `syscall()` makes, on a stack of its own: it finds there where to
/// return to.
pub fn onto_a_stack_of_its_own() {
    static RAN: AtomicBool = AtomicBool::new(false);
    extern "C" fn child() -> ! {
        RAN.store(true, Ordering::SeqCst);
        loop {
            // SAFETY: Ends the process and touches no memory.
            unsafe { kernel::call(libc::SYS_exit, &[0; 6]) };
        }
    }
    // SAFETY: The word is the stack's. A function begins with a stack that is
    // aligned but for the return address, which is taken off.
    let stack = unsafe {
        let top = stack_end().sub(2);
        top.write(child as *const () as usize);
        top
    };
    let flags = i64::from(libc::CLONE_VM | libc::SIGCHLD);
    // SAFETY: The child runs the function above, on memory of its own.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, stack, 0, 0, 0) };
    let pid = Errno::result(pid).expect("clone");
    ends_well(Pid::from_raw(pid as i32));
    assert!(RAN.load(Ordering::SeqCst));
}

/// Runs a part in a program that has not called futex yet.
fn in_new_program(part: &str) {
    let status = Command::new("/proc/self/exe")
        .arg(format!("{ROLE}{part}"))
        .env_remove("RFUTEX_PRELOAD")
        .status()
        .expect("exec");
    assert!(status.success(), "{status}");
}

/// A child of vfork calls first, and its parent goes on where it did.
pub fn vfork_calls_first() {
    in_new_program("vfork-calls-first");
}

/// The program of that test.
pub fn play_vfork_calls_first() {
    let word = AtomicU32::new(0);
    sharing(libc::CLONE_VFORK, || wake(&word, 1) == Ok(0), |_| ());
    the_kernel_finds(0);
    assert_eq!(descriptors("self").len(), 1);
}

/// A child that runs beside its parent calls first, and the two of them meet on
/// a word.
pub fn child_calls_first() {
    in_new_program("child-calls-first");
}

/// The program of that test.
pub fn play_child_calls_first() {
    let (word, called) = (AtomicU32::new(0), AtomicBool::new(false));
    let child = || {
        let first = wake(&word, 1);
        called.store(true, Ordering::SeqCst);
        first == Ok(0) && wait(&word, 0) == Ok(0)
    };
    sharing(0, child, |_| {
        until("the child has called", || called.load(Ordering::SeqCst));
        until_waiting(&word, 1);
        the_kernel_finds(0);
        assert_eq!(wake(&word, 1), Ok(1));
    });
}

/// Parent and child cannot have the device at the same high number: they agree
/// on one, and do not open it again and again.
pub fn one_number_for_both() {
    in_new_program("one-number-for-both");
}

/// The program of that test.
pub fn play_one_number_for_both() {
    const TURNS: u32 = 50;
    let (word, turn) = (AtomicU32::new(0), AtomicU32::new(0));
    // The other's turn is waited for without futex, which is what is tested.
    let take_turns = |mine: u32| {
        (0..TURNS).all(|round| {
            while turn.load(Ordering::SeqCst) != 2 * round + mine {
                std::thread::yield_now();
            }
            let result = wake(&word, 1);
            turn.fetch_add(1, Ordering::SeqCst);
            result == Ok(0)
        })
    };
    let done = AtomicBool::new(false);
    let child = || {
        let limited = setrlimit(Resource::RLIMIT_NOFILE, 64, 64).is_ok();
        let good = limited && take_turns(1);
        while !done.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        good
    };
    sharing(0, child, |child| {
        assert!(take_turns(0));
        until("the child's last turn", || {
            turn.load(Ordering::SeqCst) == 2 * TURNS
        });
        for process in ["self", &child.to_string()] {
            let open = descriptors(process);
            assert!(open.len() <= 2, "{process}: {open:?}");
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// A child that calls first, and has no device, decides for its parent too: on
/// one word they must meet.
pub fn one_answer_for_both() {
    in_new_program("one-answer-for-both");
}

/// The program of that test.
pub fn play_one_answer_for_both() {
    let word = AtomicU32::new(0);
    let filter = nothing_opens();
    let child = || {
        enter(&filter);
        wake(&word, 1) == Ok(0)
    };
    sharing(libc::CLONE_VFORK, child, |_| ());
    the_kernel_finds(1);
}
