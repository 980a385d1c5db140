// SPDX-License-Identifier: GPL-2.0
//! Loading and unloading the module, and what has to be gone afterwards.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};

use crate::leftovers;

const DEVICE: &str = "/dev/rfutex";
const NAME: &CStr = c"rfutex";

/// The command that loads the module `file`.
pub fn insmod(file: &str) -> Command {
    let mut command = Command::new("insmod");
    command.arg(file);
    command
}

/// The command that loads the module `file`; one that is `installed` is found by modprobe.
pub fn loader(file: &str, installed: bool) -> Command {
    if !installed {
        return insmod(file);
    }
    let mut command = Command::new("modprobe");
    command.arg("rfutex");
    command
}

/// Checks that a loaded module is there for users.
pub fn is_there() -> Result<()> {
    File::open(DEVICE).with_context(|| format!("{DEVICE} cannot be opened"))?;
    Ok(())
}

/// Where each section of the loaded module is in the kernel's memory.
pub fn sections() -> Result<Vec<(String, u64)>> {
    let dir = "/sys/module/rfutex/sections";
    let mut sections = Vec::new();
    for name in leftovers::names(dir.as_ref()) {
        let text = fs::read_to_string(format!("{dir}/{name}"))?;
        let digits = text.trim().trim_start_matches("0x");
        let address = u64::from_str_radix(digits, 16).with_context(|| format!("{name}: {text}"))?;
        sections.push((name, address));
    }
    sections.sort();
    Ok(sections)
}

fn unload() -> nix::Result<()> {
    delete_module(NAME, DeleteModuleFlags::O_NONBLOCK)
}

/// Loads the module `file` with `parameters`, which must fail with `errno` and
/// leave nothing.
pub fn refused(file: &str, parameters: &str, errno: Errno, suites_before: &[String]) -> Result<()> {
    let module = File::open(file).with_context(|| file.to_owned())?;
    let result = finit_module(
        &module,
        CString::new(parameters)?.as_c_str(),
        ModuleInitFlags::empty(),
    );
    if result.is_ok() {
        unload().context("rmmod of what should not have been loaded")?;
    }
    ensure!(
        result == Err(errno),
        "insmod with {parameters} gave {result:?}, not {errno}"
    );
    nothing_left(suites_before)
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
    nothing_left(suites_before)
}

/// Looks for what a module that is gone has left; `suites_before` were there
/// before it.
fn nothing_left(suites_before: &[String]) -> Result<()> {
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
    let slab = Path::new("/sys/kernel/slab");
    for cache in leftovers::names(slab) {
        // A link is the name of a cache that was merged with one of the kernel's own. The kernel
        // leaves it there, until there is another of that name.
        ensure!(
            !cache.contains("rfutex") || slab.join(&cache).is_symlink(),
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
