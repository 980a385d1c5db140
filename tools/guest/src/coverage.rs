// SPDX-License-Identifier: GPL-2.0
//! What is reached of an instrumented build of the module: asks the module that
//! keeps it (tools/coverage/rfutex_coverage.c), and tells the host.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rfutex_guest::event::Event;
use rfutex_guest::plan::COVERAGE_MODULE;

/// A byte for each block of the module: whether it was reached. Writing forgets.
const FILE: &str = "/sys/kernel/debug/rfutex_coverage";

/// How often the host is told while tests run: what was told is not lost if the
/// machine dies.
const OFTEN: Duration = Duration::from_secs(60);

/// What is reached of the module that was loaded last.
pub struct Coverage {
    /// The file of that module; `None` before there is one.
    module: Option<String>,
    /// When the host was told.
    told: Instant,
}

impl Coverage {
    /// Begins, if the host has left what that needs.
    pub fn begin() -> Result<Option<Self>> {
        if !Path::new(COVERAGE_MODULE).exists() {
            return Ok(None);
        }
        let status = Command::new("insmod").arg(COVERAGE_MODULE).status()?;
        ensure!(status.success(), "insmod {COVERAGE_MODULE}: {status}");
        Ok(Some(Self {
            module: None,
            told: Instant::now(),
        }))
    }

    /// From now on, the module is the one in this file.
    pub fn of(&mut self, module: &str) -> Result<()> {
        if self.module.as_deref() != Some(module) {
            self.tell()?;
            self.module = Some(module.to_owned());
        }
        Ok(())
    }

    /// Tells the host what was reached, if that is due.
    pub fn tell_if_due(&mut self) -> Result<()> {
        if self.told.elapsed() < OFTEN {
            return Ok(());
        }
        self.tell()
    }

    /// Tells the host what was reached, and forgets it.
    pub fn tell(&mut self) -> Result<()> {
        self.told = Instant::now();
        let Some(module) = self.module.clone() else {
            return Ok(());
        };
        let flags = fs::read(FILE).context(FILE)?;
        fs::write(FILE, "0").context(FILE)?;
        let reached = flags.iter().enumerate().filter(|(_, flag)| **flag != 0);
        Event::Reached {
            module,
            blocks: flags.len(),
            reached: reached.map(|(block, _)| block).collect(),
        }
        .emit()?;
        Ok(())
    }
}
