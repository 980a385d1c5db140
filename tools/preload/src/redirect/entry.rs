// SPDX-License-Identifier: GPL-2.0
//! Where trampolines call us, in place of the kernel.

use super::{exec, sides};
use crate::kernel::Args;
use core::arch::global_asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use core::ffi::c_long;
use core::sync::atomic::{AtomicU64, Ordering};

/// How many bytes the vector state has, with what is beside it in the same area.
static STATE_SIZE: AtomicU64 = AtomicU64::new(LEGACY);

/// Which parts of it are saved: a mask as XSAVE takes it; zero where there is only FXSAVE.
static STATE_PARTS: AtomicU64 = AtomicU64::new(0);

/// The size of what FXSAVE writes.
const LEGACY: u64 = 512;

/// The size of the header that XSAVE writes behind that.
const HEADER: u64 = 64;

/// Parts that nobody changes here: the keys of memory protection, and tiles.
const UNTOUCHED: u64 = 1 << 9 | 1 << 17 | 1 << 18;

// A system call changes rax, rcx and r11, and nothing else. The vector state is saved because the
// compiler, and functions of the C library, use these registers as they like; the flags because
// the processor's own instruction keeps them.
global_asm!(
    ".pushsection .text.rfutex_redirected,\"ax\",@progbits",
    ".balign 16",
    ".hidden rfutex_redirected",
    ".globl rfutex_redirected",
    ".type rfutex_redirected,@function",
    "rfutex_redirected:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp, -16",
    "mov rbp, rsp",
    ".cfi_def_cfa_register rbp",
    "pushfq",
    "cld",
    // The arguments in order, for the function that takes them.
    "push r9",
    "push r8",
    "push r10",
    "push rdx",
    "push rsi",
    "push rdi",
    "movsxd rdi, eax",
    "mov rsi, rsp",
    "sub rsp, qword ptr [rip + {size}]",
    "and rsp, -64",
    "mov eax, dword ptr [rip + {parts}]",
    "xor edx, edx",
    "test eax, eax",
    "jz 2f",
    // XRSTOR wants to find nothing else in the header.
    "mov qword ptr [rsp + 512], rdx",
    "mov qword ptr [rsp + 520], rdx",
    "mov qword ptr [rsp + 528], rdx",
    "mov qword ptr [rsp + 536], rdx",
    "mov qword ptr [rsp + 544], rdx",
    "mov qword ptr [rsp + 552], rdx",
    "mov qword ptr [rsp + 560], rdx",
    "mov qword ptr [rsp + 568], rdx",
    "xsave64 [rsp]",
    "call {made}",
    "mov rcx, rax",
    "mov eax, dword ptr [rip + {parts}]",
    "xor edx, edx",
    "xrstor64 [rsp]",
    "3:",
    "mov rax, rcx",
    "lea rsp, [rbp - 56]",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop r10",
    "pop r8",
    "pop r9",
    "popfq",
    "pop rbp",
    ".cfi_def_cfa rsp, 8",
    "ret",
    ".cfi_def_cfa rbp, 16",
    "2:",
    "fxsave64 [rsp]",
    "call {made}",
    "mov rcx, rax",
    "fxrstor64 [rsp]",
    "jmp 3b",
    ".cfi_endproc",
    ".size rfutex_redirected, . - rfutex_redirected",
    ".popsection",
    size = sym STATE_SIZE,
    parts = sym STATE_PARTS,
    made = sym made,
);

unsafe extern "C" {
    /// Takes the registers of a system call and leaves them as the kernel would.
    fn rfutex_redirected();
}

/// The address of what trampolines call.
pub(crate) fn address() -> u64 {
    (rfutex_redirected as *const ()).addr() as u64
}

/// Makes one of the calls that are redirected. An error is the negative of its number; errno
/// stays as it is.
///
/// # Safety
///
/// That of the system call.
unsafe extern "C" fn made(number: c_long, args: &Args) -> c_long {
    // SAFETY: The caller's promise.
    unsafe {
        match number {
            libc::SYS_execve => exec::execve(args),
            libc::SYS_execveat => exec::execveat(args),
            _ => sides::call(number, args),
        }
    }
}

/// Finds out which vector state this processor has, before anything is redirected.
pub(crate) fn measure() {
    /// Whether the kernel uses XSAVE, in ECX of the first leaf.
    const OSXSAVE: u32 = 1 << 27;
    /// The leaf that describes the parts.
    const PARTS: u32 = 0xd;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return;
    }
    // SAFETY: The processor has it, as was just asked.
    let parts = unsafe { enabled() } & !UNTOUCHED & u64::from(u32::MAX);
    let ends = (2..32).filter(|part| parts >> part & 1 != 0).map(|part| {
        let described = __cpuid_count(PARTS, part);
        u64::from(described.eax) + u64::from(described.ebx)
    });
    let size = ends.fold(LEGACY + HEADER, u64::max);
    STATE_SIZE.store(size, Ordering::Relaxed);
    STATE_PARTS.store(parts, Ordering::Relaxed);
}

/// The parts that the kernel has enabled.
///
/// # Safety
///
/// The processor has XSAVE, and the kernel uses it.
#[target_feature(enable = "xsave")]
unsafe fn enabled() -> u64 {
    // SAFETY: The caller's promise.
    unsafe { _xgetbv(0) }
}
