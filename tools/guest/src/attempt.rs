// SPDX-License-Identifier: GPL-2.0
//! What a test did.

use std::time::Instant;

use anyhow::Result;
use glob::Pattern;
use rfutex_guest::trial::Ended;

/// What a test did, before the kernel log is looked at.
#[derive(Default)]
pub struct Attempt {
    /// What was wrong, one sentence each.
    pub wrong: Vec<String>,
    /// Why it could not be run here.
    pub skipped: Option<String>,
    /// What it printed.
    pub output: String,
    /// Whether the host wants that even if all is well.
    pub shown: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Attempt {
    /// What `work` did, in this process.
    pub fn of(work: impl FnOnce() -> Result<()>) -> Self {
        let began = Instant::now();
        let error = work().err();
        Self {
            wrong: error
                .map(|error| format!("{error:#}"))
                .into_iter()
                .collect(),
            seconds: began.elapsed().as_secs_f64(),
            ..Self::default()
        }
    }

    /// The same, and wrong if the output does not match `pattern` as a whole.
    pub fn printing(mut self, pattern: &str) -> Result<Self> {
        if !Pattern::new(pattern)?.matches(&self.output) {
            let wanted = pattern.trim_end();
            self.wrong.push(format!("it does not print \"{wanted}\""));
        }
        Ok(self)
    }
}

impl From<Ended> for Attempt {
    fn from(ended: Ended) -> Self {
        let seconds = ended.took.as_secs_f64();
        Self {
            wrong: ended.wrong,
            output: ended.output,
            seconds,
            ..Self::default()
        }
    }
}
