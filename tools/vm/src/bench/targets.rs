// SPDX-License-Identifier: GPL-2.0
//! What rfutex is to cost at most, in instructions, through what futex(2) does.

/// Name, memory, resolver, and the greatest ratio that will do.
const TARGETS: &[(&str, &str, &str, f64)] = &[
    ("wake-none", "private", "page", 0.65),
    ("wake-none-struct", "private", "page", 0.78),
    ("wake-none", "shared", "page", 0.85),
    ("wake-none-struct", "shared", "page", 0.92),
    ("wake-none", "shared", "vma", 0.64),
    ("wake-none-struct", "shared", "vma", 0.72),
    ("wait-eagain", "private", "page", 0.80),
    ("wait-eagain", "shared", "page", 0.90),
    ("wait-eagain", "shared", "vma", 0.72),
    ("pingpong", "private", "page", 0.95),
    ("pingpong", "shared", "page", 0.95),
    ("swap-pingpong", "private", "page", 0.80),
    ("wake-64", "private", "page", 0.95),
    ("requeue-64", "private", "page", 1.00),
    ("waitv-16-eagain", "private", "page", 0.85),
];

/// The target of a row, if it has one.
pub fn of(name: &str, memory: &str, resolver: &str) -> Option<f64> {
    TARGETS
        .iter()
        .find(|target| (target.0, target.1, target.2) == (name, memory, resolver))
        .map(|target| target.3)
}
