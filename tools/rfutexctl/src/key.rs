// SPDX-License-Identifier: GPL-2.0
//! `key`: what identifies a word of a file, or a word in a process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use anyhow::{Context, Result, anyhow, bail};
use rfutex::{KeyInfo, Rfutex};

use crate::cli;
use crate::device::{self, failed};
use crate::facts::{Facts, Mapping, Proc};
use crate::place::{self, Place};
use crate::record::position;
use crate::source::{Device, Source};
use crate::status;
use crate::word::{Access, FileWord};

/// Runs the command. Returns the exit status.
pub fn run(options: &cli::Key, out: &mut impl Write) -> Result<u8> {
    let rfutex = device::open()?;
    let wrong = |error| anyhow!("{}: {error}", options.word);
    match options.pid {
        None => {
            if place::address(&options.word).is_ok() {
                bail!(
                    "{}: an address needs the process that it is in, --pid",
                    options.word
                );
            }
            let place = Place::parse(&options.word).map_err(wrong)?;
            let word = FileWord::map(&place, 1, Access::Read)?;
            show(&info(&rfutex, &word)?, out)?;
        }
        Some(pid) => {
            let addr = place::address(&options.word).map_err(wrong)?;
            in_process(&rfutex, pid, addr, out)?;
        }
    }
    Ok(0)
}

fn info(rfutex: &Rfutex, word: &FileWord) -> Result<KeyInfo> {
    let info = rfutex.key_info(word.word());
    info.map_err(|e| failed("RFUTEX_KEY_INFO", e))
}

/// Shows the key of a shared word at `addr` in the process `pid`, and the keys of those of its
/// threads that wait there.
///
/// The device looks only at the caller's memory. So the file that is mapped there is mapped here.
fn in_process(rfutex: &Rfutex, pid: u32, addr: u64, out: &mut impl Write) -> Result<()> {
    std::fs::metadata(format!("/proc/{pid}")).map_err(|_| anyhow!("there is no process {pid}"))?;
    let Some(mapping) = Proc::default().mapping(pid, addr) else {
        bail!("process {pid} has nothing mapped at {addr:#x}, or it may not be asked");
    };
    if mapping.shared && mapping.file.is_some() {
        let word = same_word(pid, addr, &mapping)?;
        show(&info(rfutex, &word)?, out)?;
    } else {
        line(out, "kind", "mm")?;
        line(out, "process", pid)?;
        line(out, "position", format!("{addr:#x}"))?;
    }
    let mut waiters: BTreeMap<_, u32> = BTreeMap::new();
    for record in Device::default().list()?.records {
        if record.process == Some(pid) && record.addr == Some(addr) {
            *waiters.entry((record.kind, record.object)).or_default() += 1;
        }
    }
    for ((kind, object), nr) in waiters {
        let text = format!("{nr} of this process, as {kind} word of object {object:x}");
        line(out, "waits here", text)?;
    }
    Ok(())
}

/// The word at `addr` in the process `pid`, mapped here.
fn same_word(pid: u32, addr: u64, mapping: &Mapping) -> Result<FileWord> {
    let path = format!(
        "/proc/{pid}/map_files/{:x}-{:x}",
        mapping.start, mapping.end
    );
    let file = File::open(&path).with_context(|| {
        format!("the file that process {pid} has mapped at {addr:#x} cannot be opened here")
    })?;
    FileWord::map_open(&file, mapping.position(addr), 1, Access::Read)
}

fn line(out: &mut impl Write, name: &str, value: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(out, "{:<12}{value}", format!("{name}:"))?)
}

fn show(info: &KeyInfo, out: &mut impl Write) -> Result<()> {
    use rfutex::Key;
    let (kind, index, offset) = match info.key {
        Key::Private { index, offset } => ("private", index, offset),
        Key::Mm { index, offset } => ("mm", index, offset),
        Key::Inode { index, offset, .. } => ("inode", index, offset),
        Key::Arena { index, offset } => ("arena", index, offset),
        other => bail!("a key that this program does not know: {other:?}"),
    };
    line(out, "kind", kind)?;
    if let Key::Inode { dev, ino, .. } = info.key {
        line(out, "device", format!("{}:{}", dev.0, dev.1))?;
        line(out, "inode", ino)?;
    }
    line(out, "object", format!("{:x}", info.object))?;
    line(out, "position", format!("{:#x}", position(index, offset)))?;
    line(out, "waiters", info.nr_waiters)?;
    line(out, "resolver", status::resolver(info.resolver))
}
