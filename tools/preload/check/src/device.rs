// SPDX-License-Identifier: GPL-2.0
//! The library's file descriptor, under programs that know nothing of it.

use crate::call::{set, shared_word, until_waiting, wait, wait_for, wake};
use crate::processes::{ROLE, ends_well, in_child};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

/// The device.
const DEVICE: &str = "/dev/rfutex";

/// Closes all files but the standard ones, as daemons do.
pub fn close_all() {
    // SAFETY: Closes what nobody here uses any more.
    let result = unsafe { libc::close_range(3, u32::MAX, 0) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// A process's file descriptors for the device.
pub fn descriptors(process: &str) -> Vec<RawFd> {
    let entries = std::fs::read_dir(format!("/proc/{process}/fd")).expect("/proc");
    entries
        .flatten()
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == DEVICE))
        .map(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .parse()
                .expect("a number")
        })
        .collect()
}

/// A program that closes everything goes on as before.
pub fn all_files_closed() {
    let word = shared_word();
    let child = in_child(|| {
        for _ in 0..10 {
            assert_eq!(wake(word, 1), Ok(0));
            close_all();
            assert_eq!(wait(word, 1), Err(nix::errno::Errno::EAGAIN));
            close_all();
        }
        wait_for(word, 1);
    });
    until_waiting(word, 1);
    set(word, 1);
    ends_well(child);
}

/// A thread that sleeps meanwhile is still found.
pub fn closed_while_sleeping() {
    let child = in_child(|| {
        let word = AtomicU32::new(0);
        thread::scope(|scope| {
            scope.spawn(|| wait_for(&word, 1));
            until_waiting(&word, 1);
            close_all();
            until_waiting(&word, 1);
            set(&word, 1);
        });
    });
    ends_well(child);
}

/// One thread closes everything for as long as two others wake each other.
pub fn closed_all_the_time() {
    let child = in_child(|| {
        let (word, done) = (AtomicU32::new(0), AtomicBool::new(false));
        let turns = |mine: u32| {
            for round in 0..500 {
                wait_for(&word, 2 * round + mine);
                set(&word, 2 * round + mine + 1);
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    close_all();
                    thread::yield_now();
                }
            });
            let other = scope.spawn(|| turns(1));
            turns(0);
            other.join().expect("no panic");
            done.store(true, Ordering::SeqCst);
        });
        assert!(
            descriptors("self").len() <= 1,
            "files are left open: {:?}",
            descriptors("self")
        );
    });
    ends_well(child);
}

/// Another file that gets the same number is neither used nor closed.
pub fn another_file_in_its_place() {
    let word = AtomicU32::new(0);
    assert_eq!(wake(&word, 1), Ok(0));
    for path in [
        "/dev/null",
        "/dev/zero",
        "/proc/self/status",
        "/tmp",
        "/dev/kmsg",
    ] {
        let [fd] = descriptors("self")[..] else {
            panic!("not one file: {:?}", descriptors("self"));
        };
        let file = File::open(path).expect(path);
        // SAFETY: Puts the file there; it is closed below.
        assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), fd) }, fd, "{path}");
        thread::scope(|scope| {
            scope.spawn(|| wait(&word, 0).expect("a wake"));
            until_waiting(&word, 1);
            assert_eq!(wake(&word, 1), Ok(1), "{path}");
        });
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).expect("still open");
        assert_ne!(link.as_os_str(), DEVICE);
        // The library has another number by now, and keeps it.
        let [other] = descriptors("self")[..] else {
            panic!("not one file: {:?}", descriptors("self"));
        };
        assert_ne!(other, fd);
        // SAFETY: Closes what was put there, and the library's own.
        unsafe {
            libc::close(fd);
            libc::close(other);
        }
        assert_eq!(wake(&word, 1), Ok(0));
        assert_eq!(descriptors("self"), [other]);
    }
}

/// Its file descriptor is where programs do not meet it, and ends with exec.
pub fn out_of_the_way() {
    assert_eq!(wake(&AtomicU32::new(0), 1), Ok(0));
    let [fd] = descriptors("self")[..] else {
        panic!("not one file: {:?}", descriptors("self"));
    };
    assert!(fd > 100, "{fd}");
    // SAFETY: Touches no memory.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    assert_eq!(flags, libc::FD_CLOEXEC);
}

/// Hides the device from this process.
fn hide_device() {
    unshare(CloneFlags::CLONE_NEWNS).expect("unshare");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    mount(Some("/dev/null"), DEVICE, none, MsFlags::MS_BIND, none).expect("a mount");
}

/// Runs a program that wakes once where the device is hidden.
fn where_hidden(require: bool) -> ExitStatus {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(format!("{ROLE}wake"))
        .env_remove("RFUTEX_PRELOAD");
    if require {
        command.env("RFUTEX_PRELOAD", "require");
    }
    // SAFETY: This process has one thread that does anything.
    unsafe {
        command.pre_exec(|| {
            hide_device();
            Ok(())
        });
    }
    command.status().expect("exec")
}

/// Without the device the kernel's futex is used,
pub fn falls_through() {
    assert!(where_hidden(false).success());
}

/// but not if the user does not want it.
pub fn required() {
    assert_eq!(where_hidden(true).signal(), Some(libc::SIGABRT));
}

/// Nor if it is there, and cannot be opened now: others use it.
pub fn no_descriptor_left() {
    let status = Command::new("/proc/self/exe")
        .arg(format!("{ROLE}wake-without-descriptors"))
        .env_remove("RFUTEX_PRELOAD")
        .status()
        .expect("exec");
    assert_eq!(status.signal(), Some(libc::SIGABRT));
}

/// A device that was there and cannot be opened again ends the program: waiters
/// and wakers would miss each other.
pub fn lost() {
    let child = in_child(|| {
        assert_eq!(wake(&AtomicU32::new(0), 1), Ok(0));
        hide_device();
        assert_eq!(wake(&AtomicU32::new(0), 1), Ok(0), "it is open still");
        close_all();
        let _ = wake(&AtomicU32::new(0), 1);
    });
    ends_by_abort(child);
}

/// Waits for a child that must end itself.
#[track_caller]
pub fn ends_by_abort(child: Pid) {
    let status = waitpid(child, None);
    assert!(
        matches!(status, Ok(WaitStatus::Signaled(_, Signal::SIGABRT, _))),
        "{status:?}"
    );
}
