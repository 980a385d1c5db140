// SPDX-License-Identifier: GPL-2.0
//! Where trampolines call us in place of the function in which the C library makes the calls that a
//! thread can be cancelled in: glibc 2.41 and later.
//!
//! That function gets the address of a bit, a system call's number, and its arguments. It looks at
//! the bit, and if the thread is to be cancelled, it does not return; else it makes the call. A
//! thread that is interrupted in it, for cancellation, before the call or as it sleeps there, does
//! not return from it either. So it is this function itself that a thread has to sleep in on the
//! device:
//!
//! 1. [`begin`] decides what the call is for the device: an ioctl(2), with a struct in our frame.
//! 2. The function is called for that. It looks at the bit now: a thread that was to be cancelled in
//!    the meantime is.
//! 3. [`end`] looks at the result. What it does is not lost, as the thread is not cancelled here: the
//!    next function that looks at the bit will do that.
//!
//! While the function is being executed, all that there is of us is one frame of the stack, which
//! unwind tables describe. A thread that is cancelled leaves nothing behind.
//!
//! What the kernel has to do, it does in that function as well, with the arguments as they were.

use super::sides;
use crate::decode::{self, Entries, Request};
use crate::device::{self, Command};
use crate::kernel::Args;
use crate::stats::{self, Counter};
use crate::{command, simple};
use core::arch::global_asm;
use core::ffi::c_long;
use core::mem::offset_of;

/// What the function is called with, beside the address of the bit.
#[derive(Default)]
#[repr(C)]
struct Call {
    /// The last two arguments of the system call: on top of the stack, where the function finds
    /// them, and may write to.
    on_stack: [c_long; 2],
    number: c_long,
    /// The others.
    in_registers: [c_long; 4],
    /// Whether it is to be called again.
    again: c_long,
}

/// Our frame while it is. `Entries` come behind it, if the call is futex_waitv(2).
#[repr(C, align(16))]
struct Frame {
    call: Call,
    /// What the caller has given: the number of the system call and its arguments.
    number: c_long,
    args: Args,
    /// What that means to the device; `None` if it is for the kernel.
    request: Option<Request>,
    /// What the device is told, as long as there is one.
    command: Option<Command>,
}

// It has the arguments of a C function, and may change what such a function may.
global_asm!(
    ".pushsection .text.rfutex_cancellable,\"ax\",@progbits",
    ".balign 16",
    ".hidden rfutex_cancellable",
    ".globl rfutex_cancellable",
    ".type rfutex_cancellable,@function",
    "rfutex_cancellable:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp, -16",
    "mov rbp, rsp",
    ".cfi_def_cfa_register rbp",
    "push rbx",
    ".cfi_offset rbx, -24",
    "push r12",
    ".cfi_offset r12, -32",
    // The function, and the address of the bit.
    "mov rbx, rax",
    "mov r12, rdi",
    "cmp esi, {waitv}",
    "jne 2f",
    "sub rsp, {entries}",
    "2:",
    "sub rsp, {frame}",
    "mov [rsp + {number}], rsi",
    "mov [rsp + {args}], rdx",
    "mov [rsp + {args} + 8], rcx",
    "mov [rsp + {args} + 16], r8",
    "mov [rsp + {args} + 24], r9",
    "mov rax, [rbp + 16]",
    "mov [rsp + {args} + 32], rax",
    "mov rax, [rbp + 24]",
    "mov [rsp + {args} + 40], rax",
    "mov rdi, rsp",
    "call {begin}",
    "3:",
    "mov rdi, r12",
    "mov rsi, [rsp + {call_number}]",
    "mov rdx, [rsp + {registers}]",
    "mov rcx, [rsp + {registers} + 8]",
    "mov r8, [rsp + {registers} + 16]",
    "mov r9, [rsp + {registers} + 24]",
    "call rbx",
    "mov rdi, rsp",
    "mov rsi, rax",
    "call {end}",
    "cmp qword ptr [rsp + {again}], 0",
    "jne 3b",
    "lea rsp, [rbp - 16]",
    "pop r12",
    "pop rbx",
    "pop rbp",
    ".cfi_def_cfa rsp, 8",
    "ret",
    ".cfi_endproc",
    ".size rfutex_cancellable, . - rfutex_cancellable",
    ".popsection",
    waitv = const libc::SYS_futex_waitv,
    entries = const size_of::<Entries>(),
    frame = const size_of::<Frame>(),
    number = const offset_of!(Frame, number),
    args = const offset_of!(Frame, args),
    call_number = const offset_of!(Frame, call.number),
    registers = const offset_of!(Frame, call.in_registers),
    again = const offset_of!(Frame, call.again),
    begin = sym begin,
    end = sym end,
);

// The function finds what is on top of the stack, which is aligned.
const _: () = assert!(
    offset_of!(Frame, call.on_stack) == 0
        && size_of::<Entries>().is_multiple_of(16)
        && size_of::<Frame>().is_multiple_of(16)
);

unsafe extern "C" {
    /// Takes what the function takes, and its address in `rax`, and returns what it returns.
    fn rfutex_cancellable();
}

/// The address of what trampolines call.
pub(super) fn address() -> u64 {
    (rfutex_cancellable as *const ()).addr() as u64
}

/// Decides what the function is called for first.
///
/// # Safety
///
/// `frame` is that of a system call which is to be made: what was given is there, and room for the
/// rest, with `Entries` behind it if the number is that of futex_waitv(2).
unsafe extern "C" fn begin(frame: *mut Frame) {
    // SAFETY: The caller's promise. What is not there yet has a value before there is a reference to
    // all of it; and the entries, which need none, are another object.
    unsafe {
        (&raw mut (*frame).call).write(Call::default());
        (&raw mut (*frame).request).write(None);
        (&raw mut (*frame).command).write(None);
        let entries = frame.add(1).cast::<Entries>();
        let frame = &mut *frame;
        frame.request = request(frame.number, &frame.args, entries);
        // It stays where it is.
        frame.command = frame.request.as_ref().map(command);
        frame.call_next();
    }
}

/// What a system call means to the device; `None` if it is for the kernel.
///
/// # Safety
///
/// That of the system call. If it is futex_waitv(2), `entries` are there for as long as the request.
unsafe fn request(number: c_long, args: &Args, entries: *mut Entries) -> Option<Request> {
    if !is_futex(number) || !device::may_be_there() {
        return None;
    }
    // SAFETY: The caller's promise.
    let request = unsafe {
        match number {
            libc::SYS_futex_waitv => decode::waitv(args, &mut *entries),
            _ => simple(number, args),
        }
    };
    request.filter(|request| !sides::is_for_kernel(request))
}

/// Whether it is one of futex's system calls, which are not all that trampolines come with.
fn is_futex(number: c_long) -> bool {
    !matches!(number, libc::SYS_execve | libc::SYS_execveat)
}

impl Frame {
    /// Has the function called for the device; or, if there is none, for what the caller wants.
    fn call_next(&mut self) {
        match self.command.as_mut().and_then(Command::next) {
            Some(args) => self.call_for(libc::SYS_ioctl, args),
            None => {
                self.command = None;
                if is_futex(self.number) {
                    stats::count(Counter::Kernel);
                }
                self.call_for(self.number, self.args);
            }
        }
    }

    fn call_for(&mut self, number: c_long, args: Args) {
        let [a, b, c, d, e, f] = args;
        self.call = Call {
            on_stack: [e, f],
            number,
            in_registers: [a, b, c, d],
            again: 0,
        };
    }
}

/// What the call comes to if the function has returned `result`; or nothing yet, if it has to be
/// called again.
///
/// # Safety
///
/// `frame` is what [`begin`] has made of it.
unsafe extern "C" fn end(frame: *mut Frame, result: c_long) -> c_long {
    // SAFETY: The caller's promise; nobody else uses it now.
    let frame = unsafe { &mut *frame };
    frame.call.again = 0;
    let (Some(request), Some(command)) = (&frame.request, &mut frame.command) else {
        return result;
    };
    let Some(answer) = command.answered(result) else {
        frame.call_next();
        frame.call.again = 1;
        return 0;
    };
    // SAFETY: It is the request of this call.
    unsafe { sides::finished(request, frame.number, &frame.args, answer) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::arch::naked_asm;
    use std::sync::Mutex;

    /// What the function was called with.
    static CALLED: Mutex<Vec<[c_long; 8]>> = Mutex::new(Vec::new());

    /// The function that makes the calls.
    unsafe extern "C" fn function(
        bit: c_long,
        number: c_long,
        a: c_long,
        b: c_long,
        c: c_long,
        d: c_long,
        e: c_long,
        f: c_long,
    ) -> c_long {
        let mut called = CALLED.lock().unwrap();
        called.push([bit, number, a, b, c, d, e, f]);
        -1000 - called.len() as c_long
    }

    /// Calls it as a trampoline does.
    #[unsafe(naked)]
    unsafe extern "C" fn trampoline(
        bit: c_long,
        number: c_long,
        a: c_long,
        b: c_long,
        c: c_long,
        d: c_long,
        e: c_long,
        f: c_long,
    ) -> c_long {
        naked_asm!(
            "lea rax, [rip + {function}]",
            "jmp {ours}",
            function = sym function,
            ours = sym rfutex_cancellable,
        )
    }

    /// What only the kernel can do is called for with all that was given, and the result is its own.
    #[test]
    fn calls_of_the_kernel_are_what_they_were() {
        const LOCK_PI: c_long = libc::FUTEX_LOCK_PI as c_long;
        for (number, a, b) in [
            (libc::SYS_futex, 0x1000, LOCK_PI),
            // Not aligned; and no flags that there are.
            (libc::SYS_futex, 0x1001, libc::FUTEX_WAIT.into()),
            (libc::SYS_futex_waitv, 0x1000, -1),
            (crate::kernel::SYS_FUTEX_WAIT, 0x1000, 1),
            (libc::SYS_execve, 0x1000, 2),
            (libc::SYS_execveat, 0x1000, 3),
        ] {
            CALLED.lock().unwrap().clear();
            // SAFETY: The function only notes what it is called with.
            let result = unsafe { trampoline(7, number, a, b, 3, 4, 5, 6) };
            let called = CALLED.lock().unwrap();
            assert_eq!(*called, [[7, number, a, b, 3, 4, 5, 6]]);
            assert_eq!(result, -1001);
        }
    }
}
