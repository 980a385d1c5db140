// SPDX-License-Identifier: GPL-2.0
//! The flags of the instrumented module, one for each of its basic blocks.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What tools/coverage/rfutex_coverage.c shows.
const FILE: &str = "/sys/kernel/debug/rfutex_coverage";

/// The flags that have been seen to be set.
#[derive(Debug)]
pub struct Flags {
    file: File,
    seen: Vec<u8>,
    nr_seen: usize,
}

impl Flags {
    /// Begins with those that are set.
    ///
    /// # Errors
    ///
    /// The module is not instrumented.
    pub fn open() -> io::Result<Self> {
        let mut flags = Self {
            file: File::open(FILE)?,
            seen: Vec::new(),
            nr_seen: 0,
        };
        flags.look()?;
        Ok(flags)
    }

    /// How many have been set since the last look.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn look(&mut self) -> io::Result<usize> {
        // Nothing is there while no module has been loaded.
        let mut now = vec![0; self.seen.len().max(4096)];
        let mut len = 0;
        loop {
            match self.file.read_at(&mut now[len..], len as u64)? {
                0 => break,
                read => len += read,
            }
            if len == now.len() {
                now.resize(2 * len, 0);
            }
        }
        now.truncate(len);
        let nr = now.iter().filter(|flag| **flag != 0).count();
        let new = nr.saturating_sub(self.nr_seen);
        (self.seen, self.nr_seen) = (now, nr);
        Ok(new)
    }

    /// How many have been set at all.
    pub fn seen(&self) -> usize {
        self.nr_seen
    }

    /// How many there are.
    pub fn all(&self) -> usize {
        self.seen.len()
    }
}
