// SPDX-License-Identifier: GPL-2.0
//! What is at an address of the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The first address that is the kernel's.
const KERNEL: u64 = 1 << 63;

/// What is not the kernel's.
pub const USER: &str = "(user space)";

/// Functions, and variables, by their addresses.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    functions: BTreeMap<u64, String>,
    variables: BTreeMap<u64, String>,
    /// Where the kernel's own memory ends.
    end: u64,
}

/// The kernel's last symbol.
const END: &str = "_end";

impl Symbols {
    /// Those of a System.map.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(Self::parse(&text))
    }

    /// Those of the text of one.
    pub fn parse(text: &str) -> Self {
        let mut symbols = Self::default();
        for line in text.lines() {
            let mut fields = line.split(' ');
            let (Some(address), Some(kind), Some(name)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else {
                continue;
            };
            if name == END {
                symbols.end = address;
            }
            let of_kind = if "tTwW".contains(kind) {
                &mut symbols.functions
            } else {
                &mut symbols.variables
            };
            of_kind.entry(address).or_insert_with(|| name.to_owned());
        }
        symbols
    }

    /// Adds functions.
    pub fn add(&mut self, functions: Vec<(u64, String)>) {
        self.functions.extend(functions);
    }

    /// The function at `address`, and how far in it that is.
    pub fn at(&self, address: u64) -> (&str, u64) {
        let before = self.functions.range(..=address).next_back();
        match before {
            Some((start, name)) if address >= KERNEL => (name, address - start),
            _ => (USER, 0),
        }
    }

    /// The variable at `address`, if that is in the kernel's own memory.
    pub fn variable(&self, address: u64) -> Option<&str> {
        let (start, _) = self.functions.first_key_value()?;
        if !(*start..self.end).contains(&address) {
            return None;
        }
        let before = self.variables.range(..=address).next_back()?;
        Some(before.1)
    }
}
