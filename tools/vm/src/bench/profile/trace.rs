// SPDX-License-Identifier: GPL-2.0
//! What QEMU logged, by function and address.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::bench::symbols::Symbols;

/// Where the kernel is entered by a system call.
const ENTRY: &str = "entry_SYSCALL_64";

/// Begins the names of functions where it is entered by an interrupt.
const INTERRUPTS: [&str; 2] = ["asm_sysvec_", "asm_common_interrupt"];

/// What the calls of a log cost.
#[derive(Debug, Default)]
pub struct Profile {
    /// How many calls are counted.
    pub calls: u64,
    /// How often each instruction ran, by function and place in it.
    counts: HashMap<(String, u64), u64>,
}

impl Profile {
    /// Of a log of QEMU.
    pub fn read(log: &Path, symbols: &Symbols) -> Result<Self> {
        let log = File::open(log).context("QEMU's log")?;
        let profile = Self::of(BufReader::new(log).lines().map_while(Result::ok), symbols);
        ensure!(profile.calls > 0, "no system call is in QEMU's log");
        Ok(profile)
    }

    fn of(lines: impl Iterator<Item = String>, symbols: &Symbols) -> Self {
        let mut places = HashMap::new();
        let mut profile = Self::default();
        // What has run since the last entry, once there was one.
        let mut call: Option<Vec<u64>> = None;
        let mut interrupted = false;
        for line in lines {
            let Some(address) = address(&line) else {
                continue;
            };
            let place = places.entry(address).or_insert_with(|| symbols.at(address));
            if *place == (ENTRY, 0) {
                if let Some(call) = call.replace(Vec::new())
                    && !interrupted
                {
                    profile.add(&call, symbols);
                }
                interrupted = false;
            }
            interrupted |= INTERRUPTS.iter().any(|start| place.0.starts_with(start));
            if let Some(call) = &mut call {
                call.push(address);
            }
        }
        profile
    }

    fn add(&mut self, call: &[u64], symbols: &Symbols) {
        self.calls += 1;
        for &address in call {
            let (function, at) = symbols.at(address);
            *self.counts.entry((function.to_owned(), at)).or_default() += 1;
        }
    }

    /// Instructions of a call.
    pub fn per_call(&self) -> f64 {
        self.counts.values().sum::<u64>() as f64 / self.calls as f64
    }

    /// The functions and how many instructions ran there, the dearest first.
    pub fn functions(&self) -> Vec<(&str, u64)> {
        let mut functions: HashMap<&str, u64> = HashMap::new();
        for ((function, _), count) in &self.counts {
            *functions.entry(function).or_default() += count;
        }
        let mut functions: Vec<_> = functions.into_iter().collect();
        functions.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
        functions
    }

    /// How often each instruction of a function ran, in order.
    pub fn instructions(&self, function: &str) -> BTreeMap<u64, u64> {
        self.counts
            .iter()
            .filter(|((name, _), _)| name == function)
            .map(|((_, at), &count)| (*at, count))
            .collect()
    }
}

/// The address in a line of the log.
fn address(line: &str) -> Option<u64> {
    let block = line.strip_prefix("Trace ")?.split_once('[')?.1;
    u64::from_str_radix(block.split('/').nth(1)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::symbols::USER;

    const MAP: &str = "\
ffffffff81000000 T startup\nffffffff81000100 T entry_SYSCALL_64\nffffffff81000200 t work\n\
ffffffff81000300 T asm_sysvec_timer\nffffffff81000400 D data\n";

    fn profile(addresses: &[u64]) -> Profile {
        let lines = addresses
            .iter()
            .map(|address| format!("Trace 0: 0x7f00 [0000000000000000/{address:016x}/1/2] "));
        Profile::of(lines, &Symbols::parse(MAP))
    }

    const ENTER: u64 = 0xffff_ffff_8100_0100;
    const WORK: u64 = 0xffff_ffff_8100_0204;
    const INTERRUPT: u64 = 0xffff_ffff_8100_0300;

    #[test]
    fn whole_calls_are_counted() {
        let profile = profile(&[WORK, ENTER, WORK, WORK, 0x1000, ENTER, WORK, ENTER, WORK]);
        assert_eq!(
            profile.calls, 2,
            "not what was before, nor what was cut off"
        );
        assert_eq!(
            profile.functions(),
            [("work", 3), ("entry_SYSCALL_64", 2), (USER, 1)]
        );
        assert_eq!(profile.instructions("work"), BTreeMap::from([(4, 3)]));
    }

    #[test]
    fn interrupted_calls_are_not() {
        let profile = profile(&[ENTER, WORK, INTERRUPT, ENTER, WORK, ENTER]);
        assert_eq!(profile.calls, 1);
        assert_eq!(profile.per_call(), 2.0);
    }

    #[test]
    fn other_lines_say_nothing() {
        assert_eq!(
            address("Stopped execution of TB chain before 0x7f [1/2/3]"),
            None
        );
    }
}
