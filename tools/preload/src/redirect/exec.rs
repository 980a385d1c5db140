// SPDX-License-Identifier: GPL-2.0
//! Programs that this one starts. Those into which no library can be loaded go on with the
//! kernel's futex: they are counted.
//!
//! This may run in a child of vfork(2), which has its parent's memory and a small stack.

use super::report;
use crate::kernel::{self, Args};
use core::ffi::{CStr, c_long};
use core::mem::MaybeUninit;

/// Makes execve(2).
///
/// # Safety
///
/// That of the system call.
pub(crate) unsafe fn execve(args: &Args) -> c_long {
    if report::is_enabled() {
        // SAFETY: The path is the system call's.
        unsafe { look(libc::AT_FDCWD.into(), args[0], 0) };
    }
    // SAFETY: The caller's promise.
    unsafe { kernel::call(libc::SYS_execve, args) }
}

/// Makes execveat(2).
///
/// # Safety
///
/// That of the system call.
pub(crate) unsafe fn execveat(args: &Args) -> c_long {
    let [directory, path, _, _, flags, _] = *args;
    if report::is_enabled() {
        // SAFETY: The path is the system call's.
        unsafe { look(directory, path, flags) };
    }
    // SAFETY: The caller's promise.
    unsafe { kernel::call(libc::SYS_execveat, args) }
}

/// Counts a program that the library will not be in.
///
/// # Safety
///
/// `path` is an argument of the system call that is being made.
unsafe fn look(directory: c_long, path: c_long, flags: c_long) {
    let open = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: The kernel reads the path, and says so if it cannot.
    let file = unsafe {
        if flags & c_long::from(libc::AT_EMPTY_PATH) != 0 {
            kernel::call(libc::SYS_dup, &[directory, 0, 0, 0, 0, 0])
        } else {
            kernel::call(libc::SYS_openat, &[directory, path, open.into(), 0, 0, 0])
        }
    };
    if kernel::error(file).is_some() {
        return;
    }
    let privileged = gives_privileges(file);
    let mut bytes = [0_u8; START];
    let at = bytes.as_mut_ptr().addr() as c_long;
    // SAFETY: The kernel writes to the array; the file was just opened.
    let read = unsafe {
        let read = kernel::call(libc::SYS_pread64, &[file, at, START as c_long, 0, 0, 0]);
        kernel::call(libc::SYS_close, &[file, 0, 0, 0, 0, 0]);
        read
    };
    let bytes = bytes.get(..read.max(0) as usize).unwrap_or_default();
    let elf = bytes.starts_with(ELF);
    let why = without_library(bytes).or((elf && privileged).then_some("has more privileges"));
    if let Some(why) = why {
        let name = if flags & c_long::from(libc::AT_EMPTY_PATH) != 0 {
            c"a file descriptor"
        } else {
            // SAFETY: The kernel has just opened it by this name.
            unsafe { CStr::from_ptr(path as *const _) }
        };
        report::child(name, why);
    }
}

/// Whether the loader ignores `LD_PRELOAD` for this program, as it gives its caller privileges.
fn gives_privileges(file: c_long) -> bool {
    // SAFETY: It takes constants.
    let raised = unsafe {
        let args = [libc::PR_GET_NO_NEW_PRIVS.into(), 0, 0, 0, 0, 0];
        kernel::call(libc::SYS_prctl, &args) == 0
    };
    let mut status = MaybeUninit::<libc::stat>::uninit();
    let to = status.as_mut_ptr().addr() as c_long;
    // SAFETY: The kernel writes the status, in its own form.
    let known = unsafe { kernel::call(libc::SYS_fstat, &[file, to, 0, 0, 0, 0]) == 0 };
    if !raised || !known {
        return false;
    }
    // SAFETY: It was written; the others touch no memory.
    let (status, user, group) = unsafe {
        (
            status.assume_init(),
            kernel::call(libc::SYS_geteuid, &[0; 6]),
            kernel::call(libc::SYS_getegid, &[0; 6]),
        )
    };
    let name = c"security.capability".as_ptr().addr() as c_long;
    // SAFETY: Takes a string, and writes nothing.
    let capabilities = unsafe { kernel::call(libc::SYS_fgetxattr, &[file, name, 0, 0, 0, 0]) };
    let another_user = status.st_mode & libc::S_ISUID != 0 && c_long::from(status.st_uid) != user;
    let another_group = status.st_mode & libc::S_ISGID != 0 && c_long::from(status.st_gid) != group;
    another_user || another_group || capabilities > 0 && user != 0
}

/// What a program begins with.
const ELF: &[u8] = b"\x7fELF";

/// How many bytes at the beginning of a program are looked at.
const START: usize = 1024;

/// Why the library will not be in a program that begins with `bytes`; `None` if it will, or if
/// that is no program of its own.
fn without_library(bytes: &[u8]) -> Option<&'static str> {
    const X86_64: u16 = 62;
    const HEADER: usize = 56;
    const INTERPRETER: u32 = 3;
    let word = |at: usize| {
        bytes
            .get(at..at + 2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
    };
    if !bytes.starts_with(ELF) {
        return None;
    }
    let is_64 = bytes.get(4) == Some(&2);
    if !is_64 || word(18)? != X86_64 {
        return Some("is for another architecture");
    }
    let at = u64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?);
    let headers = bytes.get(usize::try_from(at).ok()?..)?;
    let count = usize::from(word(56)?);
    let has = headers
        .chunks_exact(HEADER)
        .take(count)
        .any(|header| header[..4] == INTERPRETER.to_le_bytes());
    (!has).then_some("is static")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a program with a header of this kind.
    fn program(kind: u32) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes[..5].copy_from_slice(b"\x7fELF\x02");
        bytes[18] = 62;
        bytes[32] = 64;
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    #[test]
    fn programs_without_the_library() {
        assert_eq!(without_library(&program(3)), None);
        assert_eq!(without_library(&program(1)), Some("is static"));
        let mut other = program(3);
        other[18] = 183;
        assert_eq!(without_library(&other), Some("is for another architecture"));
        let mut small = program(3);
        small[4] = 1;
        assert_eq!(without_library(&small), Some("is for another architecture"));
        assert_eq!(without_library(b"#!/bin/sh\n"), None);
        assert_eq!(without_library(b""), None);
        // These tests are one program, and linked statically.
        let own = std::fs::read("/proc/self/exe").unwrap();
        let expected = cfg!(target_feature = "crt-static").then_some("is static");
        assert_eq!(without_library(&own[..START]), expected);
    }
}
