// SPDX-License-Identifier: GPL-2.0
//! The kernel's own counters.
