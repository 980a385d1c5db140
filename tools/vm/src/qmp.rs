// SPDX-License-Identifier: GPL-2.0
//! QEMU's monitor, while the guest runs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A connection to the monitor.
pub struct Monitor(BufReader<UnixStream>);

impl Monitor {
    /// QEMU's option for a monitor at `path`.
    pub fn option(path: &Path) -> String {
        format!("-qmp unix:{},server=on,wait=off", path.display())
    }

    /// Connects to it.
    pub fn connect(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).context("QEMU's monitor")?;
        let mut monitor = Self(BufReader::new(stream));
        monitor.read()?;
        monitor.execute(&json!({ "execute": "qmp_capabilities" }))?;
        Ok(monitor)
    }

    /// Carries out a command of the monitor for people.
    pub fn command(&mut self, line: &str) -> Result<()> {
        let arguments = json!({ "command-line": line });
        let answer =
            self.execute(&json!({ "execute": "human-monitor-command", "arguments": arguments }))?;
        match answer.as_str() {
            Some("") => Ok(()),
            _ => bail!("QEMU's answer to \"{line}\": {answer}"),
        }
    }

    fn execute(&mut self, command: &Value) -> Result<Value> {
        writeln!(self.0.get_mut(), "{command}")?;
        loop {
            let mut message = self.read()?;
            if message.get("event").is_none() {
                return Ok(message["return"].take());
            }
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("QEMU's monitor said \"{line}\""))
    }
}
