// SPDX-License-Identifier: GPL-2.0
//! Loading and unloading the module, and what has to be gone afterwards.

use std::ffi::CStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, delete_module};

use crate::leftovers;

const DEVICE: &str = "/dev/rfutex";
const NAME: &CStr = c"rfutex";

/// The command that loads the module `file`.
pub fn insmod(file: &str) -> Command {
    let mut command = Command::new("insmod");
    command.arg(file);
    command
}

/// Checks that a loaded module is there for users.
pub fn is_there() -> Result<()> {
    File::open(DEVICE).with_context(|| format!("{DEVICE} cannot be opened"))?;
    Ok(())
}

fn unload() -> nix::Result<()> {
    delete_module(NAME, DeleteModuleFlags::O_NONBLOCK)
}

/// Unloads the module, which must be refused while its device is open and
/// leave nothing when it is not.
pub fn unload_checked(suites_before: &[String]) -> Result<()> {
    let open = File::open(DEVICE).with_context(|| format!("{DEVICE} cannot be opened"))?;
    match unload() {
        Err(Errno::EBUSY | Errno::EWOULDBLOCK) => (),
        other => bail!("rmmod with the device open gave {other:?}, not EBUSY"),
    }
    drop(open);
    unload().context("rmmod after the last close")?;
    for path in [
        DEVICE,
        "/sys/module/rfutex",
        "/sys/kernel/debug/rfutex",
        "/sys/class/misc/rfutex",
    ] {
        ensure!(!Path::new(path).exists(), "{path} is left behind");
    }
    for suite in leftovers::names("/sys/kernel/debug/kunit".as_ref()) {
        ensure!(
            suites_before.contains(&suite),
            "KUnit suite {suite} is left behind"
        );
    }
    for cache in leftovers::names("/sys/kernel/slab".as_ref()) {
        ensure!(
            !cache.contains("rfutex"),
            "slab cache {cache} is left behind"
        );
    }
    let symbols = fs::read_to_string("/proc/kallsyms").context("cannot read /proc/kallsyms")?;
    ensure!(
        !symbols.contains("[rfutex]"),
        "symbols of the module are left behind"
    );
    Ok(())
}
