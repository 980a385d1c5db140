// SPDX-License-Identifier: GPL-2.0
//! Whether KVM runs an ordinary guest here: tried once, and remembered.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::root::Root;
use crate::vng::{End, Interrupt, Limits, Machine};

/// How long a guest under KVM may take to come up: many times what it needs.
const LIMIT: Duration = Duration::from_secs(40);

/// What the guest says when it is up.
const SIGN: &str = "rfutex-kvm-works";

/// What the answer depends on: the host's kernel and processor, and QEMU.
fn host() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))
        .unwrap_or_default();
    let qemu = Command::new("qemu-system-x86_64").arg("--version").output();
    let qemu = qemu
        .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
        .unwrap_or_default();
    format!(
        "{} {} / {model} / {}",
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/sys/kernel/version").trim(),
        qemu.lines().next().unwrap_or_default()
    )
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
    let host = host();
    let memory = cache.join("kvm");
    let known = fs::read_to_string(&memory).unwrap_or_default();
    if let Some((of, answer)) = known.split_once('\n')
        && of == host
    {
        return Ok(answer.trim() == "yes");
    }
    eprintln!("  kvm        trying whether a guest boots with it");
    let machine = Machine {
        kvm: true,
        ..machine.clone()
    };
    let limits = Limits {
        silence: LIMIT,
        total: LIMIT,
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
    let works = came_up && end == End::Exited(0);
    let answer = if works { "yes" } else { "no" };
    let mut new = tempfile::NamedTempFile::new_in(cache).context("the cache")?;
    std::io::Write::write_all(&mut new, format!("{host}\n{answer}\n").as_bytes())?;
    new.persist(&memory)
        .context("remembering whether KVM works")?;
    eprintln!(
        "  kvm        {answer}{}",
        if works {
            ""
        } else {
            ": software emulation instead"
        }
    );
    Ok(works)
}
