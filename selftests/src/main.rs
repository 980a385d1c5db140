// SPDX-License-Identifier: GPL-2.0
//! The selftests.

fn main() {}
