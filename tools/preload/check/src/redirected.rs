// SPDX-License-Identifier: GPL-2.0
//! Programs that never call `syscall()`: their waits are those of the C library, or of a library
//! with instructions of its own. Without our library they are on futex(2); with it they are
//! redirected, and what it counts says where they waited.

mod kept;

use std::env;
use std::ffi::CStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use libtest_mimic::Completion;

pub use kept::{plans_are_kept, starts_soon};

/// What the library has to have counted.
#[derive(Clone, Copy, Debug, Default)]
struct Least {
    /// Waits on the device.
    wait: u64,
    /// Wakes there.
    wake: u64,
    /// Calls that went to the kernel.
    kernel: u64,
    /// Wakes that went on to the kernel.
    on: u64,
    /// Programs that were started without the library.
    without: u64,
}

/// A program that has slept on the device and was woken there.
const DEVICE: Least = Least {
    wait: 1,
    wake: 1,
    kernel: 0,
    on: 0,
    without: 0,
};

/// A program of these tests.
fn program(name: &str) -> PathBuf {
    let own = env::current_exe().expect("this program");
    own.with_file_name(name)
}

/// The command that runs a part, with the library if it is in this process.
fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program(name));
    command
        .args(arguments)
        .env("PLUGIN", program("libplugin.so"))
        .env("STATIC_PROGRAM", "/bin/busybox")
        .env("RFUTEX_PRELOAD_REDIRECT", "1")
        .env("RFUTEX_PRELOAD_REPORT", "1");
    command
}

/// True if this program has the library.
fn is_preloaded() -> bool {
    env::var_os("LD_PRELOAD").is_some()
}

/// What a program has said.
#[track_caller]
fn said(output: Output) -> String {
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{}: {said}", output.status);
    said
}

/// The number after `word` in the last line that begins with `line`, of all processes that said
/// one.
fn counted(said: &str, line: &str, word: &str) -> u64 {
    let lines = said.lines().filter(|text| text.contains(line));
    let numbers = lines.map(|line| {
        let (_, rest) = line
            .split_once(&format!("{word} "))
            .unwrap_or_else(|| panic!("{line}"));
        let number = rest.split_whitespace().next().expect("a number");
        number.parse::<u64>().unwrap_or_else(|_| panic!("{line}"))
    });
    numbers.sum()
}

#[track_caller]
fn check(name: &str, arguments: &[&str], least: Least) {
    judged(&mut command(name, arguments), least);
}

/// Runs it. What it said, in which there are at least these counts.
#[track_caller]
fn judged(command: &mut Command, least: Least) -> String {
    let said = said(command.output().expect("a program"));
    if !is_preloaded() {
        return said;
    }
    const COUNTS: &str = "rfutex-preload: process ";
    const ENDS: &str = "rfutex-preload: wakes that ";
    for (line, word, least) in [
        (COUNTS, "wait", least.wait),
        (COUNTS, "wake", least.wake),
        (COUNTS, "kernel", least.kernel),
        (ENDS, "kernel", least.on),
        (ENDS, "library", least.without),
    ] {
        let count = counted(&said, line, word);
        assert!(count >= least, "{word}: {count} of {least}: {said}");
    }
    assert!(!said.contains("not redirected"), "{said}");
    said
}

/// Plays a part of `pthreads`.
#[track_caller]
fn play(part: &str, least: Least) {
    check("pthreads", &[part], least);
}

pub fn mutex() {
    play("mutex", DEVICE);
}

pub fn condvar() {
    play("condvar", DEVICE);
}

pub fn timed() {
    play(
        "timed",
        Least {
            wait: 1,
            ..Least::default()
        },
    );
}

pub fn barrier() {
    play("barrier", DEVICE);
}

pub fn semaphore() {
    play("semaphore", DEVICE);
}

pub fn rwlock() {
    play("rwlock", DEVICE);
}

/// What the kernel wakes waits in the kernel.
pub fn join() {
    play(
        "join",
        Least {
            kernel: 1,
            ..DEVICE
        },
    );
}

pub fn robust() {
    play(
        "robust",
        Least {
            kernel: 1,
            ..Least::default()
        },
    );
}

pub fn robust_unlock() {
    play(
        "robust-unlock",
        Least {
            wake: 1,
            kernel: 1,
            on: 1,
            ..Least::default()
        },
    );
}

/// The lock and the unlock.
pub fn priority_inheritance() {
    play(
        "priority-inheritance",
        Least {
            kernel: 2,
            ..Least::default()
        },
    );
}

/// A wait that is on the kernel's side for nothing is found there, by another process.
pub fn looks_like_a_thread() {
    play(
        "looks-like-a-thread",
        Least {
            wake: 1,
            kernel: 1,
            on: 1,
            ..Least::default()
        },
    );
}

pub fn fork() {
    play("fork", DEVICE);
}

/// One of the two is static.
pub fn spawn() {
    play(
        "spawn",
        Least {
            without: 1,
            ..DEVICE
        },
    );
}

pub fn cancel_condvar() {
    play(
        "cancel-condvar",
        Least {
            wait: 1,
            ..Least::default()
        },
    );
}

pub fn cancel_semaphore() {
    play(
        "cancel-semaphore",
        Least {
            wait: 1,
            ..Least::default()
        },
    );
}

pub fn cancel_asynchronously() {
    play(
        "cancel-asynchronously",
        Least {
            wait: 1,
            ..Least::default()
        },
    );
}

pub fn cancel_anywhere() {
    play(
        "cancel-anywhere",
        Least {
            wake: 1,
            ..Least::default()
        },
    );
}

/// Cancelled before it waits: whether the wait is made at all is the C library's business.
pub fn cancel_pending() {
    play("cancel-pending", Least::default());
}

pub fn cancel_disabled() {
    play("cancel-disabled", DEVICE);
}

/// 20 times, 16 threads sleep at a semaphore, and as many at a condition variable. Up to glibc 2.40,
/// wakes may be lost there on futex(2) as well, and the test is skipped.
pub fn cancel_many() -> Completion {
    // SAFETY: It returns a string that stays.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    let version = version.to_str().expect("ASCII");
    let numbers: Result<Vec<u32>, _> = version.split('.').map(str::parse).collect();
    if numbers.expect("numbers") < vec![2, 41] {
        return Completion::ignored_with(format!("glibc {version} loses wakes itself"));
    }
    play(
        "cancel-many",
        Least {
            wait: 20 * 2 * 16,
            ..DEVICE
        },
    );
    Completion::Completed
}

/// A thread is cancelled after each instruction of a wait that it executes, deferred and
/// asynchronously.
pub fn cancel_at_each_instruction() {
    play("cancel-stepwise", DEVICE);
}

/// An unwinder gets from each of these instructions to the function that waits.
pub fn unwound_from_each_instruction() {
    play("unwound-stepwise", DEVICE);
}

pub fn signals() {
    play("signals", DEVICE);
}

/// Three times a library that waits once and wakes once.
pub fn dlopen() {
    play(
        "dlopen",
        Least {
            wait: 3,
            wake: 3,
            ..DEVICE
        },
    );
}

pub fn by_number() {
    play(
        "by-number",
        Least {
            kernel: 1,
            ..DEVICE
        },
    );
}

pub fn closed() {
    play("closed", DEVICE);
}

/// More threads than most programs have, each of which waits on the device at once.
pub fn many_threads() {
    play(
        "many-threads",
        Least {
            wait: 10_500,
            ..DEVICE
        },
    );
}

/// What the device was opened as stays what a process may do with it.
pub fn privileges() {
    play("privileges", DEVICE);
}

/// A program that gives its caller privileges goes on with futex(2), and is counted.
pub fn privileged_program() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("chmod");
    let raised = directory.path().join("raised");
    std::fs::copy(program("pthreads"), &raised).expect("a copy");
    let mode = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(&raised, mode).expect("chmod");
    let mut command = command("pthreads", &["privileged"]);
    command.env("PRIVILEGED_PROGRAM", &raised);
    let least = Least {
        without: 1,
        ..DEVICE
    };
    let said = judged(&mut command, least);
    let lines = said
        .lines()
        .filter(|line| line.contains("rfutex-preload: process "));
    let most = usize::from(is_preloaded());
    assert_eq!(
        lines.count(),
        most,
        "one of the two has the library: {said}"
    );
}

/// A filter that lets a program have no more than threads need.
pub fn sandboxed() {
    play("sandboxed", DEVICE);
}

pub fn registers() {
    play(
        "registers",
        Least {
            wait: 1,
            ..Least::default()
        },
    );
}

pub fn exceptions() {
    check("exceptions", &[], DEVICE);
}

/// That a call is redirected adds few instructions to it: beyond those that the library adds to the
/// same call by way of `syscall()`.
pub fn cost() {
    /// As many as it may be.
    const MOST: i64 = 60;
    let printed = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let mut plain = command("pthreads", &["cost"]);
    let plain = plain.env_remove("LD_PRELOAD").output().expect("pthreads");
    assert!(plain.status.success(), "{plain:?}");
    let plain = printed(&plain);
    let output = command("pthreads", &["cost"]).output().expect("pthreads");
    let ours = printed(&output);
    let said = said(output);
    println!("on futex(2):\n{plain}on rfutex:\n{ours}");
    for call in ["wake", "wait"] {
        let on_device = counted(&said, "rfutex-preload: process ", call);
        assert!(on_device >= 2, "{call}: {said}");
        let added = |way| {
            let of = |printed| i64::try_from(counted(printed, call, way)).expect("few");
            of(&ours) - of(&plain)
        };
        let (through, redirected) = (added("by-syscall"), added("redirected"));
        assert!(
            redirected <= through + MOST,
            "{call}: {redirected}, to {through}"
        );
    }
}

/// Where there is no device, nothing is redirected, and the program runs as ever.
pub fn without_the_device() {
    let mut command = command("pthreads", &["mutex"]);
    hidden(&mut command);
    let said = said(command.output().expect("pthreads"));
    assert_eq!(said, "", "nobody is to say anything");
}

/// One that must have it is ended before it begins.
pub fn required_without_the_device() {
    let mut command = command("pthreads", &["mutex"]);
    hidden(&mut command);
    let output = command
        .env("RFUTEX_PRELOAD", "require")
        .output()
        .expect("pthreads");
    let said = String::from_utf8_lossy(&output.stderr);
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// Has a program find no device.
fn hidden(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.env_remove("RFUTEX_PRELOAD");
    // SAFETY: It makes system calls, with constants.
    unsafe {
        command.pre_exec(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
            let nothing: Option<&str> = None;
            let flags = nix::mount::MsFlags::MS_BIND;
            nix::mount::mount(Some("/dev/null"), "/dev/rfutex", nothing, flags, nothing)?;
            Ok(())
        });
    }
}

/// Has the kernel refuse a program this call.
fn without(command: &mut Command, call: i64, error: i32) {
    use std::os::unix::process::CommandExt;
    let errno = seccompiler::SeccompAction::Errno(error as u32);
    let rules = [(call, Vec::new())].into();
    let arch = env::consts::ARCH.try_into().expect("a known machine");
    let filter =
        seccompiler::SeccompFilter::new(rules, seccompiler::SeccompAction::Allow, errno, arch);
    let filter = filter.expect("a filter");
    let filter: seccompiler::BpfProgram = filter.try_into().expect("a program");
    // SAFETY: It makes one system call, with memory that was allocated before.
    unsafe {
        command.pre_exec(move || seccompiler::apply_filter(&filter).map_err(std::io::Error::other));
    }
}

/// Code may not be changed: nothing is redirected, and one sentence says so.
pub fn refused() {
    let mut command = command("pthreads", &["mutex"]);
    command.env_remove("RFUTEX_PRELOAD");
    without(&mut command, libc::SYS_memfd_create, libc::EACCES);
    let said = said(command.output().expect("pthreads"));
    let sentence = "nothing is redirected: ";
    let lines = said.lines().filter(|line| line.contains(sentence));
    assert_eq!(lines.count(), 1, "{said}");
    assert_eq!(
        counted(&said, "rfutex-preload: process ", "wait"),
        0,
        "{said}"
    );
}

/// A program that was in a sandbox without the device before it began runs as where there is none.
pub fn sandboxed_from_the_beginning() {
    for error in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        let mut command = command("pthreads", &["mutex"]);
        command.env_remove("RFUTEX_PRELOAD");
        without(&mut command, libc::SYS_ioctl, error);
        let said = said(command.output().expect("pthreads"));
        assert_eq!(
            said, "",
            "nothing is redirected, and nobody is to say anything"
        );
    }
}
