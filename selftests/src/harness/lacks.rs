// SPDX-License-Identifier: GPL-2.0
//! What some kernels, or builds of the module, lack that tests use.

use std::fmt;
use std::panic;

/// What tells us what is lacking. The harness takes it from the kernel's configuration
/// (`tools/vm/src/kernels.rs`), so what is only broken is not taken for what is not there.
const VARIABLE: &str = "RFUTEX_LACKS";

/// What a kernel may lack, or the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Transparent huge pages.
    Thp,
    /// Failures that the kernel provokes.
    FaultInjection,
    /// The monitor of how tasks go to sleep (`monitor.rs`).
    Sssw,
    /// What only the lab build of the module has.
    Lab,
    /// Spinlocks that take a few instructions.
    FastLocks,
}

impl Feature {
    /// What the harness calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Thp => "thp",
            Self::FaultInjection => "fault-injection",
            Self::Sssw => "sssw",
            Self::Lab => "lab",
            Self::FastLocks => "fast-locks",
        }
    }

    /// Whether it is lacking.
    pub fn is_lacking(self) -> bool {
        let lacks = std::env::var(VARIABLE).unwrap_or_default();
        lacks.split_whitespace().any(|name| name == self.name())
    }

    /// Ends the test, as one that is skipped, if it is lacking. To be called in the thread
    /// that runs the test.
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
        f.write_str(match self.0 {
            Feature::Thp => "this kernel has no transparent huge pages",
            Feature::FaultInjection => "this kernel has no fault injection",
            Feature::Sssw => "this kernel has no monitor sssw",
            Feature::Lab => "the module is not its lab build",
            Feature::FastLocks => "each lock of this kernel takes its slow path",
        })
    }
}
