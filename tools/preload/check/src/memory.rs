// SPDX-License-Identifier: GPL-2.0
//! Processes that share their memory: what clone(2) makes with `CLONE_VM`.

use crate::kernel;
use crate::processes::ends_well;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, Ordering};

/// The size of a stack, in words.
const STACK: usize = 1 << 16;

/// Memory for a child to run on, which stays; returns where it ends.
fn stack_end() -> *mut usize {
    let stack: &'static mut [usize] = Vec::leak(vec![0; STACK]);
    let end = stack.as_mut_ptr_range().end;
    end.map_addr(|addr| addr & !15)
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
