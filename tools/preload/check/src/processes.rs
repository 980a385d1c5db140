// SPDX-License-Identifier: GPL-2.0
//! fork and exec.

use crate::call::{set, shared_word, until_waiting, wait_for, wake};
use crate::{memory, sandbox, tracer};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork as nix_fork, ftruncate};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::AtomicU32;

/// Begins the argument by which this program runs itself for a part.
pub const ROLE: &str = "--role-";

/// Runs `child` in a child process.
pub fn in_child(child: impl FnOnce()) -> Pid {
    // SAFETY: Tests run one at a time in this thread; others only sleep.
    match unsafe { nix_fork() }.expect("fork") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).is_ok();
            // SAFETY: Ends the process, without what the parent is to do.
            unsafe { libc::_exit(i32::from(!good)) }
        }
    }
}

/// Waits for a child that must end well.
#[track_caller]
pub fn ends_well(child: Pid) {
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
}

/// Parent and child wake each other by turns.
fn by_turns(word: &AtomicU32, rounds: u32, mine: u32) {
    for round in 0..rounds {
        wait_for(word, 2 * round + mine);
        set(word, 2 * round + mine + 1);
    }
}

/// A child of a process that has used futex already.
pub fn fork() {
    let word = shared_word();
    assert_eq!(wake(word, 1), Ok(0));
    let child = in_child(|| by_turns(word, 100, 1));
    by_turns(word, 100, 0);
    ends_well(child);
}

/// A child that is the first to use it, and its child.
pub fn fork_of_fork() {
    let word = shared_word();
    let child = in_child(|| {
        let child = in_child(|| {
            by_turns(word, 50, 1);
        });
        by_turns(word, 50, 0);
        ends_well(child);
    });
    ends_well(child);
}

/// Maps the word that is in the file.
fn mapped(file: &OwnedFd) -> &'static AtomicU32 {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: New memory, which stays as long as the process.
    unsafe {
        let at = libc::mmap(
            std::ptr::null_mut(),
            4096,
            protection,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        );
        assert_ne!(at, libc::MAP_FAILED);
        AtomicU32::from_ptr(at.cast())
    }
}

/// Another program, which meets this one in a file.
pub fn exec() {
    let file = memfd_create(c"word", MFdFlags::empty()).expect("memfd_create");
    ftruncate(&file, 4096).expect("ftruncate");
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).expect("F_SETFD");
    let word = mapped(&file);
    // It was used before the exec, and its file descriptor ends there.
    assert_eq!(wake(word, 1), Ok(0));
    let mut child = Command::new("/proc/self/exe")
        .arg(format!("{ROLE}waiter={}", file.as_raw_fd()))
        .spawn()
        .expect("exec");
    until_waiting(word, 1);
    set(word, 1);
    assert!(child.wait().expect("wait").success());
}

/// Plays a part for a test of another process.
pub fn play(role: &str) {
    let role = role.strip_prefix(ROLE).expect("a role");
    let (part, given) = role.split_once('=').unwrap_or((role, ""));
    match part {
        "waiter" => {
            let fd = given.parse().expect("a file descriptor");
            // SAFETY: It was given to this process for that.
            let file = unsafe { OwnedFd::from_raw_fd(fd) };
            wait_for(mapped(&file), 1);
        }
        "wake" => wake_once(),
        "wake-without-descriptors" => {
            setrlimit(Resource::RLIMIT_NOFILE, 0, 0).expect("setrlimit");
            wake_once();
        }
        "refused" => sandbox::refused(given),
        "vfork-calls-first" => memory::play_vfork_calls_first(),
        "child-calls-first" => memory::play_child_calls_first(),
        "one-number-for-both" => memory::play_one_number_for_both(),
        "one-answer-for-both" => memory::play_one_answer_for_both(),
        "theirs-first" => tracer::play_theirs_first(),
        "ours-first" => tracer::play_ours_first(),
        _ => panic!("nobody plays {role}"),
    }
}

fn wake_once() {
    assert_eq!(wake(&AtomicU32::new(0), 1), Ok(0));
}
