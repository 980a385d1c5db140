// SPDX-License-Identifier: GPL-2.0
//! Where a thread runs, and before whom.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread, to the functions of sched(7).
const MYSELF: Pid = Pid::from_raw(0);

/// Keeps the calling thread, and those that it starts, on processor `cpu`.
#[track_caller]
pub fn stay_on(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).expect("a processor");
    sched_setaffinity(MYSELF, &cpus).expect("sched_setaffinity");
}

/// Does `f` on each processor on which the calling thread may run, one after another.
#[track_caller]
pub fn on_each_cpu(mut f: impl FnMut()) {
    let before = sched_getaffinity(MYSELF).expect("sched_getaffinity");
    for cpu in (0..CpuSet::count()).filter(|&cpu| before.is_set(cpu) == Ok(true)) {
        stay_on(cpu);
        f();
    }
    sched_setaffinity(MYSELF, &before).expect("sched_setaffinity");
}

/// Makes the calling thread one of `SCHED_FIFO`, or with 0 an ordinary one.
#[track_caller]
pub fn set_priority(priority: i32) {
    set_priority_of(MYSELF, priority);
}

/// The same with thread `tid`.
#[track_caller]
pub fn set_priority_of(tid: Pid, sched_priority: i32) {
    let policy = match sched_priority {
        0 => libc::SCHED_OTHER,
        _ => libc::SCHED_FIFO,
    };
    let param = libc::sched_param { sched_priority };
    // SAFETY: `param` is valid.
    let result = unsafe { libc::sched_setscheduler(tid.as_raw(), policy, &param) };
    nix::Error::result(result).expect("sched_setscheduler");
}

/// Makes the calling thread one of `SCHED_DEADLINE`, with a twentieth of a processor.
#[track_caller]
pub fn set_deadline() {
    const MS: u64 = 1_000_000;
    let attr = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_DEADLINE as u32,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 5 * MS,
        sched_deadline: 100 * MS,
        sched_period: 100 * MS,
    };
    // SAFETY: `attr` is valid.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &attr, 0) };
    nix::Error::result(result).expect("sched_setattr");
}
