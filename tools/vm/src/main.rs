// SPDX-License-Identifier: GPL-2.0
//! The host side.

fn main() {}
