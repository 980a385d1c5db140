// SPDX-License-Identifier: GPL-2.0
//! Another preloaded library that defines `syscall()`.

use crate::call::{Timeout, futex};
use crate::processes::ROLE;
use crate::wakes::the_kernel_finds;
use nix::errno::Errno;
use std::env;
use std::ffi::c_long;
use std::process::Command;
use std::sync::atomic::AtomicU32;

/// Runs a part with the two libraries in an order.
fn preloaded(part: &str, order: impl Fn(&str, &str) -> String) {
    let ours = env::var("LD_PRELOAD").expect("our library");
    let theirs = env::current_exe()
        .expect("this program")
        .with_file_name("librfutex_preload_tracer.so");
    let theirs = theirs.to_str().expect("a name");
    let status = Command::new("/proc/self/exe")
        .arg(format!("{ROLE}{part}"))
        .env("LD_PRELOAD", order(&ours, theirs))
        .status()
        .expect("exec");
    assert!(status.success(), "{status}");
}

/// What the other library was called for so far.
fn traced(number: c_long) -> u64 {
    // SAFETY: Takes a string.
    let function = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"tracer_calls".as_ptr()) };
    assert!(!function.is_null(), "the other library is not there");
    // SAFETY: That is its type.
    let function: extern "C" fn(c_long) -> u64 = unsafe { std::mem::transmute(function) };
    function(number)
}

/// Makes a call that is not futex's.
fn getppid() {
    // SAFETY: It has no arguments.
    let parent = unsafe { libc::syscall(libc::SYS_getppid) };
    assert_eq!(parent, std::os::unix::process::parent_id().into());
}

/// Makes a call of futex that rfutex has not, and which fails.
fn unlock_pi() {
    let word = AtomicU32::new(0);
    let result = futex(&word, libc::FUTEX_UNLOCK_PI, 0, Timeout::Never, &word, 0);
    assert_eq!(result, Err(Errno::EPERM));
}

/// Theirs comes first and sees all calls; what it hands on comes to us.
pub fn theirs_first() {
    preloaded("theirs-first", |ours, theirs| format!("{theirs}:{ours}"));
}

/// The program of that test.
pub fn play_theirs_first() {
    getppid();
    assert_eq!(traced(libc::SYS_getppid), 1);
    let before = traced(libc::SYS_futex);
    the_kernel_finds(0);
    assert!(traced(libc::SYS_futex) > before);
}

/// Ours comes first: theirs sees what we hand on, which is all that is not done
/// on the device.
pub fn ours_first() {
    preloaded("ours-first", |ours, theirs| format!("{ours}:{theirs}"));
}

/// The program of that test.
pub fn play_ours_first() {
    getppid();
    assert_eq!(traced(libc::SYS_getppid), 1);
    the_kernel_finds(0);
    assert_eq!(traced(libc::SYS_futex), 0);
    unlock_pi();
    assert_eq!(traced(libc::SYS_futex), 1);
}
