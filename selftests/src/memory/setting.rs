// SPDX-License-Identifier: GPL-2.0
//! Settings of the kernel, set for the time of a test.

use std::fs;
use std::path::PathBuf;

/// A value in /proc/sys or /sys, put back on drop.
#[derive(Debug)]
pub struct Setting {
    path: PathBuf,
    before: String,
}

impl Setting {
    /// Writes `value` to the file at `path`.
    #[track_caller]
    pub fn set(path: impl Into<PathBuf>, value: impl ToString) -> Self {
        let path = path.into();
        let setting = Self {
            before: chosen(&path),
            path,
        };
        setting.write(&value.to_string());
        setting
    }

    /// Changes the value once more.
    #[track_caller]
    pub fn write(&self, value: &str) {
        fs::write(&self.path, value)
            .unwrap_or_else(|error| panic!("{value} to {}: {error}", self.path.display()));
    }

    /// What the value is now.
    #[track_caller]
    pub fn read(&self) -> String {
        chosen(&self.path)
    }
}

/// The content of the file at `path`; of several words the one in brackets.
#[track_caller]
fn chosen(path: &PathBuf) -> String {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let word = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    word.map_or(text.trim(), |(word, _)| word).to_owned()
}

impl Drop for Setting {
    fn drop(&mut self) {
        self.write(&self.before);
    }
}
