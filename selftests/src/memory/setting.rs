// SPDX-License-Identifier: GPL-2.0
//! Settings of the kernel, set for the time of a test.

use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// A value in /proc/sys or /sys, put back on drop.
#[derive(Debug)]
pub struct Setting {
    path: PathBuf,
    before: String,
}

impl Setting {
    /// Writes `value` to `path`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub fn set(path: impl Into<PathBuf>, value: impl ToString) -> Result<Self> {
        let path = path.into();
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        // Where one of several words is chosen, it stands in brackets.
        let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let before = chosen.map_or(text.trim(), |(word, _)| word).to_owned();
        let setting = Self { path, before };
        setting.write(&value.to_string())?;
        Ok(setting)
    }

    /// Changes the value once more.
    pub fn write(&self, value: &str) -> Result<()> {
        fs::write(&self.path, value)
            .with_context(|| format!("writing {value} to {}", self.path.display()))
    }

    /// What it was before.
    pub fn before(&self) -> &str {
        &self.before
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = self.write(&self.before) {
            // A destructor cannot fail the test, and the next test's memory would be wrong.
            eprintln!("{error:#}");
            std::process::abort();
        }
    }
}
