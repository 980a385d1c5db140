// SPDX-License-Identifier: GPL-2.0
//! What runs tests shares, in the VM and on the host: how a test process is run, and
//! how its outcome is told.

pub mod ktap;
pub mod outcome;
pub mod printed;
pub mod trial;
