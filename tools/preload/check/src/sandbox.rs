// SPDX-License-Identifier: GPL-2.0
//! System call filters that refuse what the library needs. Their errors are no
//! answers of futex: no program may see them.

use crate::call::{wait, wake};
use crate::device::{close_all, ends_by_abort};
use crate::processes::{ROLE, in_child};
use crate::wakes::the_kernel_finds;
use nix::errno::Errno;
use rfutex::raw::uapi;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::sync::atomic::AtomicU32;

/// What filters answer: what they are known to, and what somebody or something
/// else might have said. Not that there are too many files, or too little
/// memory: after this the device may be there as before.
const ERRORS: [Errno; 10] = [
    Errno::EPERM,
    Errno::ENOSYS,
    Errno::EACCES,
    Errno::EINVAL,
    Errno::EFAULT,
    Errno::ENOTTY,
    Errno::EBADF,
    Errno::EINTR,
    Errno::EAGAIN,
    Errno::ETIMEDOUT,
];

/// The calls that the device needs first.
const NEEDED: [(&str, i64); 2] = [("ioctl", libc::SYS_ioctl), ("openat", libc::SYS_openat)];

/// A filter that refuses the call with the error where one of the rules says so,
/// or always if there are none.
fn refusing(call: i64, rules: Vec<SeccompRule>, error: i32) -> BpfProgram {
    SeccompFilter::new(
        [(call, rules)].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(error as u32),
        TargetArch::x86_64,
    )
    .and_then(BpfProgram::try_from)
    .expect("a filter")
}

/// Has this thread's calls filtered from now on.
pub fn enter(filter: &BpfProgram) {
    seccompiler::apply_filter(filter).expect("seccomp");
}

/// A filter that hides the device from who has not opened it.
pub fn nothing_opens() -> BpfProgram {
    refusing(libc::SYS_openat, Vec::new(), libc::EPERM)
}

/// A program that was in the sandbox before its first call has futex, the kernel's.
pub fn from_the_first_call() {
    let errors = ERRORS.map(|error| error as i32);
    // A filter can also have a call do nothing, and succeed.
    let pretended = [("ioctl", 0)];
    let refused = NEEDED
        .iter()
        .flat_map(|&(name, _)| errors.map(|error| (name, error)));
    for (name, error) in refused.chain(pretended) {
        let status = Command::new("/proc/self/exe")
            .arg(format!("{ROLE}refused={name},{error}"))
            .env_remove("RFUTEX_PRELOAD")
            .status()
            .expect("exec");
        assert!(status.success(), "{name} refused with {error}: {status}");
    }
}

/// The program of that test.
pub fn refused(call_and_error: &str) {
    let (name, error) = call_and_error.split_once(',').expect("two parts");
    let (_, call) = NEEDED
        .iter()
        .find(|(needed, _)| *needed == name)
        .expect("a call");
    enter(&refusing(
        *call,
        Vec::new(),
        error.parse().expect("an error"),
    ));
    let word = AtomicU32::new(0);
    assert_eq!(wait(&word, 1), Err(Errno::EAGAIN));
    assert_eq!(wake(&word, 1), Ok(0));
    the_kernel_finds(1);
}

/// It does not begin if its user wants the device.
pub fn required_in_a_sandbox() {
    let filter = refusing(libc::SYS_ioctl, Vec::new(), libc::EPERM);
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(format!("{ROLE}wake"))
        .env("RFUTEX_PRELOAD", "require");
    // SAFETY: Two system calls.
    unsafe {
        command.pre_exec(move || seccompiler::apply_filter(&filter).map_err(std::io::Error::other));
    }
    let status = command.status().expect("exec");
    assert_eq!(status.signal(), Some(libc::SIGABRT));
}

/// A process that has used the device, and is in the sandbox now, ends: nobody
/// whom it met there would meet it on the kernel's futex.
pub fn after_the_first_call() {
    let word = AtomicU32::new(0);
    assert_eq!(wake(&word, 1), Ok(0));
    for error in ERRORS {
        let child = in_child(|| {
            enter(&refusing(libc::SYS_ioctl, Vec::new(), error as i32));
            let result = wake(&word, 1);
            println!("refused with {error}, the wake goes on: {result:?}");
        });
        ends_by_abort(child);
    }
}

/// The same if the filter knows the device, and has forgotten what it refuses.
pub fn some_commands_refused() {
    let word = AtomicU32::new(0);
    assert_eq!(wake(&word, 1), Ok(0));
    let not_query = || {
        let query = uapi::RFUTEX_QUERY.into();
        SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, query)
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .expect("a rule")
    };
    // Where it answers at all, these may be its own.
    let own = [Errno::EFAULT, Errno::EINVAL];
    for error in ERRORS.into_iter().filter(|error| !own.contains(error)) {
        let child = in_child(|| {
            enter(&refusing(libc::SYS_ioctl, vec![not_query()], error as i32));
            let result = wake(&word, 1);
            println!("refused with {error}, the wake goes on: {result:?}");
        });
        ends_by_abort(child);
    }
}

/// It needs nothing but ioctl for as long as nobody closes the device.
pub fn nothing_opens_any_more() {
    let word = AtomicU32::new(0);
    assert_eq!(wake(&word, 1), Ok(0));
    for error in ERRORS {
        let child = in_child(|| {
            enter(&refusing(libc::SYS_openat, Vec::new(), error as i32));
            assert_eq!(wake(&word, 1), Ok(0), "it is open still");
            close_all();
            let result = wake(&word, 1);
            println!("refused with {error}, the wake goes on: {result:?}");
        });
        ends_by_abort(child);
    }
}
