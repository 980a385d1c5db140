// SPDX-License-Identifier: GPL-2.0
//! What runs tests shares, in the VM and on the host: how a test process is run, how
//! its outcome is told, and what the kernel logs meanwhile.

pub mod kmsg;
pub mod ktap;
pub mod outcome;
pub mod printed;
pub mod splat;
pub mod trial;
