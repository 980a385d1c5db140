// SPDX-License-Identifier: GPL-2.0
//! What rfutex is to cost at most, in instructions.

/// The greatest figure that will do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// What rfutex costs through what its contender does.
    Ratio(f64),
    /// What rfutex costs more than its contender.
    Added(f64),
}

/// Name, memory, resolver, hold, and the greatest ratio.
const RATIOS: &[(&str, &str, &str, &str, f64)] = &[
    ("wake-none", "private", "page", "inode", 0.65),
    ("wake-none-struct", "private", "page", "inode", 0.78),
    ("wake-none", "shared", "page", "inode", 0.85),
    ("wake-none-struct", "shared", "page", "inode", 0.92),
    ("wake-none", "shared", "vma", "inode", 0.64),
    ("wake-none-struct", "shared", "vma", "inode", 0.72),
    ("wait-eagain", "private", "page", "inode", 0.80),
    ("wait-eagain", "shared", "page", "inode", 0.90),
    ("wait-eagain", "shared", "vma", "inode", 0.72),
    ("pingpong", "private", "page", "inode", 0.95),
    ("pingpong", "shared", "page", "inode", 0.95),
    ("swap-pingpong", "private", "page", "inode", 0.80),
    ("wake-64", "private", "page", "inode", 0.95),
    ("requeue-64", "private", "page", "inode", 1.00),
    ("waitv-16-eagain", "private", "page", "inode", 0.85),
    ("pingpong", "shared", "page", "nothing", 0.92),
    ("requeue-none", "shared", "page", "nothing", 1.00),
    ("requeue-64", "shared", "page", "nothing", 1.00),
    ("signal-none", "shared", "page", "inode", 0.80),
    ("signal-none", "shared", "vma", "inode", 0.60),
    ("wakev-16-none", "shared", "vma", "inode", 0.45),
    ("arm-remove", "private", "page", "inode", 0.70),
    ("arm-remove", "shared", "page", "inode", 0.70),
    ("arm-remove", "shared", "vma", "inode", 0.70),
    ("arm-remove", "shared", "page", "nothing", 0.70),
    ("arm-remove", "shared", "vma", "nothing", 0.70),
    ("arm-remove-charged", "shared", "page", "inode", 0.70),
    ("arm-remove-charged", "shared", "vma", "inode", 0.70),
    ("handover-epoll", "shared", "page", "inode", 0.95),
    ("handover-epoll", "shared", "vma", "inode", 0.95),
    ("handover-epoll", "shared", "page", "nothing", 0.95),
    ("handover-epoll", "shared", "vma", "nothing", 0.95),
    ("handover-uring", "shared", "page", "inode", 1.00),
    ("handover-uring", "shared", "vma", "inode", 1.00),
    ("handover-uring", "shared", "page", "nothing", 1.00),
    ("handover-uring", "shared", "vma", "nothing", 1.00),
    ("handover-uring-cmd", "shared", "page", "inode", 1.00),
    ("handover-uring-cmd", "shared", "vma", "inode", 1.00),
    ("handover-uring-cmd", "shared", "page", "nothing", 1.00),
    ("handover-uring-cmd", "shared", "vma", "nothing", 1.00),
    ("mutex-free", "private", "page", "inode", 1.00),
    ("mutex-threads", "private", "page", "inode", 1.00),
    ("mutex-processes", "shared", "page", "inode", 1.00),
    ("mutex-processes", "shared", "page", "nothing", 1.00),
    ("wake-none", "arena", "none", "inode", 0.36),
    ("wait-eagain", "arena", "none", "inode", 0.45),
    ("pingpong", "arena", "none", "inode", 0.80),
    ("swap-pingpong", "arena", "none", "inode", 0.76),
    ("wakev-16-none", "arena", "none", "inode", 0.15),
];

/// Likewise, and the greatest difference.
const ADDED: &[(&str, &str, &str, &str, f64)] = &[
    ("wait-owner", "private", "page", "inode", 350.0),
    ("wait-owner", "private", "vma", "inode", 350.0),
    ("death-scan", "arena", "none", "inode", 4.0),
];

/// The target of a row, if it has one.
pub fn of(key: [&str; 4]) -> Option<Target> {
    let find = |targets: &[(&str, &str, &str, &str, f64)]| {
        targets
            .iter()
            .find(|target| [target.0, target.1, target.2, target.3] == key)
            .map(|target| target.4)
    };
    let ratio = find(RATIOS).map(Target::Ratio);
    ratio.or_else(|| find(ADDED).map(Target::Added))
}
