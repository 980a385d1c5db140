// SPDX-License-Identifier: GPL-2.0
//! `trace`: waits and wakes as they happen.

mod event;
mod names;
mod tracefs;

pub use event::Event;
pub use tracefs::Instance;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cli::Trace;
use crate::device;
use crate::list::clean;
use names::Names;

/// How often signals are looked at, at least.
const TICK: Duration = Duration::from_millis(100);

/// Runs the command. Returns the exit status.
pub fn run(options: &Trace, out: &mut impl Write) -> Result<u8> {
    // Without the module there are no events; this says so in words.
    drop(device::open()?);
    let mut names = Names::of_waiters();
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, ended.clone())?;
    }
    let mut instance = Instance::new("trace", &options.event)?;
    let mut left = options.count.unwrap_or(u64::MAX);
    while left > 0 && !ended.load(Ordering::Relaxed) {
        if !instance.has_events() {
            bail!("the module rfutex was unloaded");
        }
        let lines = instance.read(TICK)?;
        for line in &lines {
            let Some(event) = Event::parse(line) else {
                continue;
            };
            if !options.process.as_ref().is_none_or(|p| event.is_by(p)) {
                continue;
            }
            writeln!(out, "{}", clean(&event.show(&mut names)))?;
            left -= 1;
            if left == 0 {
                break;
            }
        }
        out.flush()?;
    }
    Ok(0)
}
