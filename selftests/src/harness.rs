// SPDX-License-Identifier: GPL-2.0
//! What the tests share. Nothing here sleeps and hopes: what a test waits for
//! is observed, and [`LIMIT`] bounds every wait, so that a lost wake fails the
//! test instead of hanging it.

mod brief;
mod calls;
mod cgroup;
mod clock;
pub mod command;
mod fail_nth;
mod fault;
pub mod futex;
mod lacks;
mod mapping;
mod module;
mod passing;
mod process;
mod sched;
mod service;
mod signal;
pub mod storm;
mod task;
mod vfork;

pub use brief::effort;
pub use calls::{CALLS, Call, Touch, past};
pub use cgroup::{Group, added_to};
pub use clock::Realtime;
pub use fail_nth::{FailNth, NO_MEMORY, lacked_memory};
pub use fault::Fault;
pub use lacks::Feature;
pub use mapping::{AnyAtomic, Mapping, PAGE};
pub use module::{ReloadedModule, UnloadedModule, module_is_used, module_references};
pub use passing::{receive_file, send_file};
pub use process::{Child, end_thread, execute, stop_and_go};
pub use sched::{on_each_cpu, set_deadline, set_priority, set_priority_of, stay_on};
pub use service::{BOTH, Service, Sleeper};
pub use signal::{Handler, Ticker, signal_thread, try_signal_thread};
pub use task::{Task, Waiter};
pub use vfork::{SHARINGS, SharedChild, Sharing};

use lacks::Lacking;
use libtest_mimic::{Completion, Trial};
use nix::unistd::Pid;
use rfutex::{Error, Features, Hold, Rfutex, Word};
use std::panic::{self, UnwindSafe};
use std::sync::{LazyLock, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that must happen: long enough for a debug
/// kernel on an emulated processor.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The name and the function of each test of a module, as trials.
///
/// `trials![a, b; lab: c]` defines `pub fn trials()`; `c` needs the lab build.
/// A test is a `fn()` that panics when it fails.
macro_rules! trials {
    ($($name:ident),* $(,)? $(; lab: $($lab:ident),* $(,)?)?) => {
        /// The tests of this module.
        pub fn trials() -> Vec<libtest_mimic::Trial> {
            vec![
                $(crate::harness::trial(concat!(module_path!(), "::", stringify!($name)), $name),)*
                $($(
                    crate::harness::lab_trial(concat!(module_path!(), "::", stringify!($lab)), $lab),
                )*)?
            ]
        }
    };
}

/// The test `run` under its full path, less the name of the crate.
pub fn trial(path: &str, run: fn()) -> Trial {
    named_trial(without_crate(path), run)
}

/// The same of one that needs the lab build.
pub fn lab_trial(path: &str, run: fn()) -> Trial {
    let run = move || {
        Feature::Lab.need();
        run();
    };
    named_trial(without_crate(path), run).with_kind("lab")
}

/// A path without the name of the crate.
fn without_crate(path: &str) -> &str {
    path.split_once("::").map_or(path, |(_crate, path)| path)
}

/// A test that is called `name`. It is skipped if what it needs is lacking
/// ([`Feature::need`]).
pub fn named_trial(
    name: impl Into<String>,
    run: impl FnOnce() + Send + UnwindSafe + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match panic::catch_unwind(run) {
        Ok(()) => Ok(Completion::Completed),
        Err(payload) => match payload.downcast::<Lacking>() {
            Ok(lacking) => Ok(Completion::ignored_with(lacking.to_string())),
            Err(payload) => panic::resume_unwind(payload),
        },
    })
}

/// The system calls that epoll_wait and poll of the C library are. Newer architectures have only
/// those that take a signal mask.
#[cfg(target_arch = "x86_64")]
pub const EPOLL_WAIT: libc::c_long = libc::SYS_epoll_wait;
#[cfg(not(target_arch = "x86_64"))]
pub const EPOLL_WAIT: libc::c_long = libc::SYS_epoll_pwait;
/// See [`EPOLL_WAIT`].
#[cfg(target_arch = "x86_64")]
pub const POLL: libc::c_long = libc::SYS_poll;
#[cfg(not(target_arch = "x86_64"))]
pub const POLL: libc::c_long = libc::SYS_ppoll;

/// Returns when the thread `tid` of the process `pid` sleeps in the system
/// call `nr`.
#[track_caller]
pub fn until_in_syscall(pid: Pid, tid: Pid, nr: libc::c_long) {
    let path = format!("/proc/{pid}/task/{tid}/syscall");
    let nr = nr.to_string();
    until("a thread sleeps in a system call", || {
        let line = std::fs::read_to_string(&path).expect("the thread is there");
        line.split(' ').next() == Some(&nr)
    });
}

/// The device, opened once for this process and its children.
pub fn fx() -> &'static Rfutex {
    static DEVICE: OnceLock<Rfutex> = OnceLock::new();
    DEVICE.get_or_init(|| Rfutex::open().expect("/dev/rfutex opens"))
}

/// Whether WAKE_OP changes words of this size, in bytes, where they have addresses.
pub fn can_update(size: u32) -> bool {
    static ALL: LazyLock<bool> = LazyLock::new(|| {
        let features = fx().query().expect("query").features;
        features.contains(Features::WAKE_OP_SIZES)
    });
    size == 4 || *ALL
}

/// Whether a thread that sleeps on a word of a file holds the file's inode, and with it the file
/// system: what the module was loaded with (`hold=`). Otherwise it holds nothing.
#[track_caller]
pub fn holds_inode() -> bool {
    match fx().query().expect("query").hold {
        Hold::Inode => true,
        Hold::Nothing => false,
        other => panic!("{other:?} is nothing that a thread holds"),
    }
}

/// Looks at `condition` until it holds; fails the test after [`LIMIT`].
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The same without sleeping in between: for what is to be seen as soon as it is so.
#[track_caller]
pub fn until_at_once(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        thread::yield_now();
    }
}

/// The value of the module parameter `name`, if the module was loaded with one. Whoever loaded it
/// has to tell: the kernel shows no number among the parameters of a module in Rust.
pub fn module_parameter(name: &str) -> Option<String> {
    let parameters = std::env::var("RFUTEX_PARAMETERS").unwrap_or_default();
    let mut given = parameters.split(' ').filter_map(|one| one.split_once('='));
    given
        .find(|(other, _)| *other == name)
        .map(|(_, value)| value.to_owned())
}

/// The number that stands for the file or the address space of `word`.
#[track_caller]
pub fn object_of(word: Word<'_>) -> u64 {
    fx().key_info(word).expect("key of a word").object
}

/// How many wait on `word`.
#[track_caller]
pub fn nr_waiters(word: Word<'_>) -> u32 {
    fx().key_info(word).expect("key of a word").nr_waiters
}

/// Returns when `nr` wait on `word`: they are queued then, and a wake finds
/// them.
#[track_caller]
pub fn until_queued(word: Word<'_>, nr: u32) {
    until(&format!("{nr} wait"), || nr_waiters(word) == nr);
}

/// The errno of `result`, 0 if it is none.
pub fn errno<T>(result: Result<T, Error>) -> i32 {
    result.map_or_else(Error::errno, |_| 0)
}
