// SPDX-License-Identifier: GPL-2.0
//! For `LD_PRELOAD`: programs that call futex through the C library's
//! `syscall()` use `/dev/rfutex` instead, and see no difference.
//!
//! See `Documentation/preload.rst`. On the way of a call nothing is allocated
//! and no lock taken: it may come from a signal handler, or from a child
//! between fork and exec.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("knows the system calls of x86-64 Linux only");

mod decode;
mod device;
#[cfg(test)]
mod grid;
mod kernel;
mod next;
mod options;
mod redirect;
mod stats;
mod user;

/// Memory for what is done when libraries are loaded. It is not the program's: whatever that
/// allocates with may be what is being loaded, or be waiting for it.
#[cfg(not(test))]
#[global_allocator]
static MEMORY: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

use core::arch::naked_asm;
use core::ffi::c_long;
use core::mem::MaybeUninit;
use decode::{Entries, Request};
use device::Command;
use kernel::{Args, SYS_FUTEX_REQUEUE, SYS_FUTEX_WAIT, SYS_FUTEX_WAKE};
use rfutex::raw::uapi;
use stats::Counter;

/// The C library's `syscall()`: makes any system call.
///
/// There it has any number of arguments. It always takes as many as fit: what
/// the caller did not give is not looked at by the kernel, and not here.
///
/// A call that is not futex's jumps on to the next definition, with all registers
/// and the stack as the caller left them: the child of a clone(2) with a stack of
/// its own finds its return address there, and a variadic function of C, which the
/// next definition may be, looks at `al`.
///
/// # Safety
///
/// That of the system call.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    naked_asm!(
        "cmp rdi, {futex}",
        "je {ours}",
        "cmp rdi, {waitv}",
        "je {ours}",
        "lea r11, [rdi - {first}]",
        "cmp r11, {last} - {first}",
        "jbe {ours}",
        "jmp qword ptr [rip + {next}]",
        futex = const libc::SYS_futex,
        waitv = const libc::SYS_futex_waitv,
        first = const SYS_FUTEX_WAKE,
        last = const SYS_FUTEX_REQUEUE,
        ours = sym futex,
        next = sym next::NEXT,
    )
}

/// Makes one of futex's system calls: on the device if it can.
///
/// # Safety
///
/// That of the system call.
unsafe extern "C" fn futex(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let args = &[a, b, c, d, e, f];
    // SAFETY: The caller's promise, as the number says.
    unsafe {
        let served = if redirect::is_active() {
            decoded(number, args, |request| {
                redirect::sides::made(request, number, args)
            })
        } else {
            decoded(number, args, |request| serve(request))
        };
        match served {
            Some(result) => next::to_errno(result),
            None => {
                stats::count(Counter::Kernel);
                next::call(number, args)
            }
        }
    }
}

/// Decodes one of futex's system calls and has `make` make it; `None` if it is for the kernel.
///
/// # Safety
///
/// That of the system call.
#[inline(always)]
unsafe fn decoded(
    number: c_long,
    args: &Args,
    make: impl FnOnce(&Request) -> Option<c_long>,
) -> Option<c_long> {
    // SAFETY: The caller's promise, as the number says.
    unsafe {
        match number {
            _ if !device::may_be_there() => None,
            libc::SYS_futex_waitv => waitv(args),
            _ => simple(number, args).and_then(|request| make(&request)),
        }
    }
}

/// Decodes one of futex's system calls, other than futex_waitv(2); `None` if it is for the kernel.
///
/// # Safety
///
/// That of the system call.
#[inline(always)]
unsafe fn simple(number: c_long, args: &Args) -> Option<Request> {
    // SAFETY: The caller's promise, as the number says.
    unsafe {
        match number {
            SYS_FUTEX_WAKE => decode::wake(args),
            SYS_FUTEX_WAIT => decode::wait(args),
            SYS_FUTEX_REQUEUE => decode::requeue(args),
            _ => decode::futex(args),
        }
    }
}

// The three numbers that `syscall` takes for one range.
const _: () =
    assert!(SYS_FUTEX_WAKE + 1 == SYS_FUTEX_WAIT && SYS_FUTEX_WAIT + 1 == SYS_FUTEX_REQUEUE);

/// futex_waitv(2), apart from the others: its words take some stack.
///
/// # Safety
///
/// That of the system call.
#[inline(never)]
unsafe fn waitv(args: &Args) -> Option<c_long> {
    let mut entries: Entries = [MaybeUninit::uninit(); _];
    // SAFETY: The caller's promise. The entries outlive the call.
    unsafe { decode::waitv(args, &mut entries).and_then(|request| serve(&request)) }
}

/// Has the device do it; `None` if there is no device.
///
/// # Safety
///
/// The entries of a `Waitv` are there.
unsafe fn serve(request: &Request) -> Option<c_long> {
    // SAFETY: Each command has the struct that it takes.
    unsafe { device::call(command(request)) }
}

/// What the device is told. It is to be where it is for as long as that takes.
fn command(request: &Request) -> Command {
    let at = |pointer: *const ()| pointer.addr() as u64;
    let (counter, command, argument) = match request {
        Request::Wait(wait) => (
            Counter::Wait,
            uapi::RFUTEX_WAIT,
            at((&raw const *wait).cast()),
        ),
        Request::Wake(wake) => (
            Counter::Wake,
            uapi::RFUTEX_WAKE,
            at((&raw const *wake).cast()),
        ),
        Request::WakeAt(command, addr) => (Counter::Wake, *command, *addr),
        Request::Requeue(requeue) => (
            Counter::Requeue,
            uapi::RFUTEX_REQUEUE,
            at((&raw const *requeue).cast()),
        ),
        Request::WakeOp(wake_op) => (
            Counter::WakeOp,
            uapi::RFUTEX_WAKE_OP,
            at((&raw const *wake_op).cast()),
        ),
        Request::Waitv(waitv) => (
            Counter::Waitv,
            uapi::RFUTEX_WAITV,
            at((&raw const *waitv).cast()),
        ),
    };
    Command::new(counter, command, argument)
}

/// What is done when the library comes into a process and when that ends.
mod ends {
    use super::{options, stats};
    use core::ffi::{c_char, c_int};

    #[used]
    #[unsafe(link_section = ".init_array")]
    static BEGIN: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = {
        /// glibc gives constructors what it gives `main`.
        extern "C" fn begin(
            _count: c_int,
            _arguments: *const *const c_char,
            environment: *const *const c_char,
        ) {
            #[cfg(not(test))]
            crate::next::find();
            // SAFETY: It is the environment, which nobody changes yet.
            unsafe { options::read(environment) };
        }
        begin
    };

    #[used]
    #[unsafe(link_section = ".fini_array")]
    static END: extern "C" fn() = {
        extern "C" fn end() {
            stats::tell();
        }
        end
    };
}
