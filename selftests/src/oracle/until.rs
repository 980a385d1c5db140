// SPDX-License-Identifier: GPL-2.0
//! When waits end by themselves.

use serde::{Deserialize, Serialize};

/// A clock of the interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clock {
    /// `CLOCK_MONOTONIC`
    #[default]
    Monotonic,
    /// `CLOCK_REALTIME`
    Realtime,
    /// `CLOCK_BOOTTIME`
    Boottime,
    /// There is none.
    Unknown,
}

/// When a wait ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// Never.
    #[default]
    Never,
    /// It is past.
    Past(Clock),
    /// In a moment, in which nothing else happens.
    Soon(Clock),
    /// When this scenario is long over.
    Far(Clock),
    /// On `CLOCK_REALTIME`, at the `n`th [`Step::Jump`](super::script::Step::Jump) of this scenario.
    Jump(u8),
    /// A time before the beginning of time.
    Negative(Clock),
}
