// SPDX-License-Identifier: GPL-2.0
//! A test program in huge pages, so that it starts soon.
//!
//! Each test is a process of its own. Most of what a short one costs, in a kernel that checks
//! itself, is to map the program's text page by page, and to unmap it again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// Where the copies are.
const AT: &str = "/run/rfutex-programs";

/// A copy of `program` on a tmpfs of huge pages, made the first time; `program` itself if the
/// kernel has no such tmpfs.
pub fn copy(program: &str) -> Result<PathBuf> {
    let program = Path::new(program);
    let name = program.file_name().context("the name of a program")?;
    let copy = Path::new(AT).join(name);
    if copy.exists() {
        return Ok(copy);
    }
    if !Path::new(AT).exists() {
        fs::create_dir_all(AT).context(AT)?;
        let options = Some("huge=always,mode=755");
        match mount(Some("tmpfs"), AT, Some("tmpfs"), MsFlags::empty(), options) {
            Ok(()) => (),
            Err(Errno::EINVAL) => {
                fs::remove_dir(AT).context(AT)?;
                return Ok(program.to_owned());
            }
            Err(error) => return Err(error).context(AT),
        }
    }
    fs::copy(program, &copy).with_context(|| format!("a copy of {}", program.display()))?;
    Ok(copy)
}
