// SPDX-License-Identifier: GPL-2.0
//! What the guest tells the host: one line of JSON an event, on standard
//! output, behind a mark that no other output begins with. Where standard output
//! is the user's terminal, they go to a file instead.

use std::fs::File;
use std::io::{self, Write};

pub use rfutex_trial::outcome::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

/// Names the file that events go to, if they do not go to standard output.
pub const FILE: &str = "RFUTEX_EVENTS";

/// Begins each line that is an event.
const MARK: &str = "@rfutex ";

/// Something that happened in the guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The kernel has booted, and our runner began: the first of all events.
    Up,
    /// A test began.
    Started {
        /// Its name.
        name: String,
    },
    /// A test ended.
    Ended(Outcome),
    /// A program that has the screen for itself ended.
    Exited {
        /// Its exit status; 128 and the signal's number if one killed it.
        status: i32,
    },
    /// The same program wrote a line to its standard error.
    Stderr {
        /// The line.
        line: String,
    },
    /// The module is loaded, and nothing more is done until standard input has a
    /// line.
    Loaded {
        /// Where each section of the module is in the kernel's memory.
        sections: Vec<(String, u64)>,
    },
    /// What has been reached of an instrumented module.
    Reached {
        /// The module's file.
        module: String,
        /// How many blocks it has.
        blocks: usize,
        /// The numbers of those that were reached.
        reached: Vec<usize>,
    },
    /// The whole plan was carried out.
    Done,
}

impl Event {
    /// Writes the event to where events go, at once.
    pub fn emit(&self) -> io::Result<()> {
        let line = format!("{MARK}{}\n", serde_json::to_string(self)?);
        if let Some(path) = std::env::var_os(FILE) {
            let mut file = File::options().create(true).append(true).open(path)?;
            return file.write_all(line.as_bytes());
        }
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.flush()
    }

    /// The event that `line` carries, if it does.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim_end().strip_prefix(MARK)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_lines_are_events() {
        let done = format!("{MARK}{}\r\n", serde_json::to_string(&Event::Done).unwrap());
        assert!(matches!(Event::parse(&done), Some(Event::Done)));
        assert!(Event::parse("\"Done\"").is_none());
        assert!(Event::parse("@rfutex nonsense").is_none());
    }
}
