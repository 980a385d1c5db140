// SPDX-License-Identifier: GPL-2.0
//! What the guest program and the host's `rfutex-vm` share: the plan that goes
//! in, the events that come out, and what counts as a splat in a kernel log.

pub mod event;
pub mod plan;
pub use rfutex_trial::{kmsg, ktap, splat, trial};
