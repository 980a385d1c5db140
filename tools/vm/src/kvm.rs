// SPDX-License-Identifier: GPL-2.0
//! Whether KVM runs an ordinary guest here: tried once, and remembered.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::interrupt::Interrupt;
use crate::root::Root;
use crate::vng::{End, Limits, Machine};

/// How long a guest under KVM may take to come up: many times what it needs.
const LIMIT: Duration = Duration::from_secs(40);

/// The same without KVM, on a busy host.
const EMULATION_LIMIT: Duration = Duration::from_secs(600);

/// What the guest says when it is up.
const SIGN: &str = "rfutex-kvm-works";

/// What the answer depends on: the host's kernel and processor, and QEMU.
fn host() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let about_cpu = |field: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(field));
        line.unwrap_or_default().to_owned()
    };
    let qemu = Command::new("qemu-system-x86_64").arg("--version").output();
    let qemu = qemu
        .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
        .unwrap_or_default();
    format!(
        "{} {} / {} / {} / {}",
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/sys/kernel/version").trim(),
        about_cpu("model name"),
        about_cpu("flags"),
        qemu.lines().next().unwrap_or_default()
    )
}

/// The answer that is kept in the cache, with what it depends on.
struct Memory {
    file: PathBuf,
}

impl Memory {
    fn of(cache: &Path) -> Self {
        let file = cache.join("kvm");
        Self { file }
    }

    /// The answer for `host`, if it is known.
    fn recall(&self, host: &str) -> Option<bool> {
        let known = fs::read_to_string(&self.file).ok()?;
        let (of, answer) = known.split_once('\n')?;
        (of == host).then_some(answer.trim() == "yes")
    }

    fn keep(&self, host: &str, works: bool) -> Result<()> {
        let cache = self.file.parent().context("the cache")?;
        let answer = if works { "yes" } else { "no" };
        let mut new = tempfile::NamedTempFile::new_in(cache).context("the cache")?;
        new.write_all(format!("{host}\n{answer}\n").as_bytes())?;
        new.persist(&self.file)
            .context("remembering whether KVM works")?;
        Ok(())
    }
}

/// Forgets the answer that is kept in `cache`.
pub fn forget(cache: &Path) -> Result<()> {
    match fs::remove_file(Memory::of(cache).file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context("forgetting whether KVM works")
        }
        _ => Ok(()),
    }
}

/// True if KVM runs `machine` here. The answer is kept in `cache`.
pub fn works(cache: &Path, machine: &Machine, root: &Root, interrupt: &Interrupt) -> Result<bool> {
    if OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_err()
    {
        return Ok(false);
    }
    let (host, memory) = (host(), Memory::of(cache));
    if let Some(works) = memory.recall(&host) {
        return Ok(works);
    }
    eprintln!("  kvm        trying whether a guest boots with it");
    let works = find_out(|kvm| comes_up(machine, kvm, root, interrupt))?;
    if let Some(works) = works {
        memory.keep(&host, works)?;
    }
    eprintln!(
        "  kvm        {}",
        match works {
            Some(true) => "yes",
            Some(false) => "no: software emulation instead",
            None => "not known: no guest boots, with it or without",
        }
    );
    Ok(works == Some(true))
}

/// Whether KVM works, by what `comes_up` tells of a guest with it and without;
/// `None` if neither came up: then something else is wrong.
fn find_out(mut comes_up: impl FnMut(bool) -> Result<bool>) -> Result<Option<bool>> {
    Ok(if comes_up(true)? {
        Some(true)
    } else if comes_up(false)? {
        Some(false)
    } else {
        None
    })
}

/// Whether a guest comes up, with KVM or without, and goes down again.
fn comes_up(machine: &Machine, kvm: bool, root: &Root, interrupt: &Interrupt) -> Result<bool> {
    let machine = Machine {
        kvm,
        input: None,
        ..machine.clone()
    };
    let limit = if kvm { LIMIT } else { EMULATION_LIMIT };
    let limits = Limits {
        silence: limit,
        total: limit,
    };
    let mut came_up = false;
    let (end, _) = machine.boot(
        root.path(),
        &format!("echo {SIGN}"),
        limits,
        interrupt,
        &mut File::create("/dev/null")?,
        |line| {
            came_up |= line.trim() == SIGN;
            Ok(())
        },
    )?;
    Ok(came_up && end == End::Exited(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_that_of_one_host() {
        let cache = tempfile::tempdir().unwrap();
        let memory = Memory::of(cache.path());
        forget(cache.path()).unwrap();
        assert_eq!(memory.recall("a"), None);
        for works in [false, true] {
            memory.keep("a", works).unwrap();
            assert_eq!(memory.recall("a"), Some(works));
            assert_eq!(memory.recall("b"), None);
        }
        forget(cache.path()).unwrap();
        assert_eq!(memory.recall("a"), None);
    }

    #[test]
    fn kvm_is_to_blame_only_if_emulation_works() {
        let answer = |with, without| find_out(|kvm| Ok(if kvm { with } else { without })).unwrap();
        assert_eq!(answer(true, false), Some(true));
        assert_eq!(answer(false, true), Some(false));
        assert_eq!(answer(false, false), None);
    }
}
