// SPDX-License-Identifier: GPL-2.0
//! How much of something is done.

use std::time::Duration;

/// What is set where a run is to be short: the harness does it for `make check BRIEF=1`.
const VARIABLE: &str = "RFUTEX_BRIEF";

/// How often, or for how long, something is done.
pub trait Amount: Sized {
    /// A quarter of it, but not nothing.
    fn quarter(self) -> Self;
}

macro_rules! counts {
    ($($count:ty)*) => {
        $(impl Amount for $count {
            fn quarter(self) -> Self {
                self.div_ceil(4)
            }
        })*
    };
}

counts!(u32 u64 usize);

impl Amount for Duration {
    fn quarter(self) -> Self {
        self / 4
    }
}

/// How much to do of what may come out differently each time: `whole`, or a quarter of it in a
/// brief run.
pub fn effort<A: Amount>(whole: A) -> A {
    if std::env::var_os(VARIABLE).is_some() {
        whole.quarter()
    } else {
        whole
    }
}
