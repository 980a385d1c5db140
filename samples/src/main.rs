// SPDX-License-Identifier: GPL-2.0
//! The demo.

fn main() {}
