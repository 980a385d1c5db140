// SPDX-License-Identifier: GPL-2.0
//! Runs inside the VM: carries out the plan that the host left in the guest's
//! root and tells it by events how each test ended.

mod attempt;
mod coverage;
mod in_memory;
mod kunit;
mod leftovers;
mod module;
mod own;
mod session;

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use nix::mount::{MsFlags, mount};
use rfutex_guest::event::Event;
use rfutex_guest::plan::{self, Plan};

use session::Session;

fn main() -> ExitCode {
    let result = match env::args().nth(1).as_deref() {
        None => carry_out(),
        Some(other) => Err(anyhow!("{other} is nothing that it does")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("rfutex-guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out() -> Result<()> {
    // From here on, what the machine dies of may be ours.
    Event::Up.emit()?;
    set_up().context("setting the guest up")?;
    let plan = fs::read_to_string(plan::PATH).context("the plan")?;
    let plan: Plan = serde_json::from_str(&plan).context("the plan")?;
    let mut session = Session::new(&plan)?;
    for stage in plan.stages {
        session.carry_out(stage)?;
    }
    session.close()?;
    Event::Done.emit()?;
    Ok(())
}

/// Makes what virtme-ng's init leaves out.
fn set_up() -> Result<()> {
    mount_at("tmpfs", "/tmp")?;
    for (kind, at) in [
        ("debugfs", "/sys/kernel/debug"),
        ("tracefs", "/sys/kernel/tracing"),
        ("cgroup2", "/sys/fs/cgroup"),
        // Where its init is a script, the options that it has for this are not those of busybox.
        ("devpts", "/dev/pts"),
    ] {
        if !mounted(at)? {
            mount_at(kind, at)?;
        }
    }
    // Whatever controllers there are: tests make groups of their own. Except cpuset: the kernel
    // patches its code with the first group of that kind and with the last, and QEMU's emulation
    // may run the breakpoint of a patch on one processor when the other has removed it ("Oops:
    // int3" in the page allocator, once in some sixty tests).
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
    for name in controllers
        .split_whitespace()
        .filter(|&name| name != "cpuset")
    {
        fs::write("/sys/fs/cgroup/cgroup.subtree_control", format!("+{name}"))
            .with_context(|| format!("cgroup controller {name}"))?;
    }
    let hung = Path::new("/proc/sys/kernel/hung_task_timeout_secs");
    if hung.exists() {
        // Less than a test's limit, so that the report belongs to the test.
        fs::write(hung, "30")?;
    }
    let covering = Path::new("/proc/sys/fs/xfs/xfssyncd_centisecs");
    if covering.exists() {
        // An unmount may have to wait for XFS's periodic work on its log, every 30 seconds by
        // default. That is as long as a test waits for anything. Once a second is the least.
        fs::write(covering, "100")?;
    }
    Ok(())
}

fn mounted(at: &str) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(at)))
}

fn mount_at(kind: &str, at: &str) -> Result<()> {
    fs::create_dir_all(at)?;
    mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mounting {kind} on {at}"))
}
