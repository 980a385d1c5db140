// SPDX-License-Identifier: GPL-2.0
//! What some kernels lack that tests use.

use std::fmt;
use std::panic;

/// What tells us what the kernel was built without. The harness takes it from the
/// kernel's configuration (`tools/vm/src/kernels.rs`), so what is only broken is not
/// taken for what is not there.
const VARIABLE: &str = "RFUTEX_LACKS";

/// What a kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Transparent huge pages.
    Thp,
}

impl Feature {
    /// What the harness calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Thp => "thp",
        }
    }

    /// Whether the kernel was built without it.
    pub fn is_lacking(self) -> bool {
        let lacks = std::env::var(VARIABLE).unwrap_or_default();
        lacks.split_whitespace().any(|name| name == self.name())
    }

    /// Ends the test, as one that is skipped, if the kernel was built without it. To be
    /// called in the thread that runs the test.
    pub fn need(self) {
        if self.is_lacking() {
            // No hook prints this: nothing is wrong.
            panic::resume_unwind(Box::new(Lacking(self)));
        }
    }
}

/// What a test unwinds with that needs what is lacking.
#[derive(Debug)]
pub struct Lacking(Feature);

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0 {
            Feature::Thp => "transparent huge pages",
        };
        write!(f, "this kernel has no {what}")
    }
}
