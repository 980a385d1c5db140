// SPDX-License-Identifier: GPL-2.0
//! How often programs called futex by way of the preloaded library, as that counts it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Calls of futex.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// On the device.
    pub device: u64,
    /// On to the kernel.
    pub kernel: u64,
}

impl Calls {
    /// What the library says in a program's output, of all processes together. `None` if it
    /// says nothing.
    pub fn in_output(output: &str) -> Option<Self> {
        let mut total = None;
        for line in output.lines() {
            // Two processes may have begun a line at once.
            let Some((_, counts)) = line.split_once("rfutex-preload: process ") else {
                continue;
            };
            let words: Vec<_> = counts.split(' ').skip(1).collect();
            let counts: BTreeMap<_, u64> = words
                .chunks_exact(2)
                .filter_map(|pair| Some((pair[0], pair[1].parse().ok()?)))
                .collect();
            let calls: &mut Self = total.get_or_insert_default();
            for operation in ["wait", "wake", "requeue", "wake_op", "waitv"] {
                calls.device += counts.get(operation).copied().unwrap_or(0);
            }
            calls.kernel += counts.get("kernel").copied().unwrap_or(0);
        }
        total
    }
}
