// SPDX-License-Identifier: GPL-2.0
//! What became of a test.

use serde::{Deserialize, Serialize};

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It did what it should.
    Passed,
    /// It did not, or the kernel complained meanwhile.
    Failed,
    /// It could not be run here.
    Skipped,
}

/// One test that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The test's name.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What was wrong, one sentence each. Why it was skipped.
    pub why: Vec<String>,
    /// The kinds of kernel splats seen while it ran.
    pub splats: Vec<String>,
    /// Its output and its part of the kernel log. Empty unless it failed; of a
    /// program that is not ours, the output in any case.
    pub log: String,
}

impl Outcome {
    /// One of which no more is known than how it ended.
    pub fn new(name: &str, verdict: Verdict) -> Self {
        Self {
            name: name.to_owned(),
            verdict,
            seconds: 0.0,
            why: Vec::new(),
            splats: Vec::new(),
            log: String::new(),
        }
    }
}
