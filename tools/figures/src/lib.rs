// SPDX-License-Identifier: GPL-2.0
//! What the benchmark in the VM tells the host.

pub mod record;
pub mod spread;
