// SPDX-License-Identifier: GPL-2.0

//! Faults: each [`Point`] can be made to fail a given number of times, or to keep those who come by.

use super::Point;
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        delay::udelay,
        Delta, //
    }, //
};

/// The longest time for which a task is kept, in 100 microseconds: ten seconds. The kernel complains
/// of read-side critical sections that take 21.
const MAX_PAUSE: u32 = 100_000;

/// The name and the state of a point.
pub(super) struct Fault {
    point: Point,
    pub(super) name: &'static str,
    left: Atomic<u32>,
    hits: Atomic<u32>,
}

impl Fault {
    const fn new(point: Point, name: &'static str) -> Self {
        Self {
            point,
            name,
            left: Atomic::new(0),
            hits: Atomic::new(0),
        }
    }

    /// How many more times the point is going to fail.
    pub(super) fn left(&self) -> u32 {
        self.left.load(Relaxed)
    }

    /// How many times the point has failed, or how many tasks it has kept.
    pub(super) fn hits(&self) -> u32 {
        self.hits.load(Relaxed)
    }

    /// Makes the point fail the next `count` times, or keep tasks as long as `count` is not 0.
    pub(super) fn arm(&self, count: u32) {
        self.left.store(count, Relaxed);
    }

    /// Whether the point has to fail now. If so, this is counted.
    fn hit(&self) -> bool {
        let mut left = self.left.load(Relaxed);
        while left != 0 {
            match self.left.cmpxchg(left, left - 1, Relaxed) {
                Ok(_) => {
                    self.hits.add(1, Relaxed);
                    return true;
                }
                Err(now) => left = now,
            }
        }
        false
    }
}

/// The faults of all points, in the order of [`Point`].
pub(super) static FAULTS: [Fault; 13] = [
    Fault::new(Point::Allocate, "allocate"),
    Fault::new(Point::CopyIn, "copy-in"),
    Fault::new(Point::CopyOut, "copy-out"),
    Fault::new(Point::ReadWord, "read-word"),
    Fault::new(Point::NoMapping, "no-mapping"),
    Fault::new(Point::HostGone, "host-gone"),
    Fault::new(Point::InodeGoing, "inode-going"),
    Fault::new(Point::MappingChanged, "mapping-changed"),
    Fault::new(Point::MmapLocked, "mmap-locked"),
    Fault::new(Point::AreaChanged, "area-changed"),
    Fault::new(Point::VmaLocked, "vma-locked"),
    Fault::new(Point::ThreadFound, "thread-found"),
    Fault::new(Point::ProcessFound, "process-found"),
];

/// Whether the operation at `point` has to fail now.
#[inline]
pub(crate) fn fault(point: Point) -> bool {
    at(point).hit()
}

/// Keeps the current task at `point` as long as it is armed. Warns after ten seconds. The task is not
/// preempted if it is in a read-side critical section, and those that wait for its processor wait
/// as long.
///
/// # Context
///
/// Any but in an interrupt. Does not sleep.
pub(crate) fn pause(point: Point) {
    let fault = at(point);
    if fault.left() == 0 {
        return;
    }
    fault.hits.add(1, Relaxed);
    // The clock is not read: an emulated one would keep the other processors from their work.
    for _ in 0..MAX_PAUSE {
        if fault.left() == 0 {
            return;
        }
        udelay(Delta::from_micros(100));
    }
    // Whoever has armed the point has not disarmed it.
    kernel::warn_on!(fault.left() != 0);
}

/// The fault with this name.
///
/// # Errors
///
/// `EINVAL`: there is none.
pub(super) fn named(name: &str) -> Result<&'static Fault> {
    FAULTS.iter().find(|fault| fault.name == name).ok_or(EINVAL)
}

/// The fault at `point`.
#[inline]
pub(super) fn at(point: Point) -> &'static Fault {
    let fault = &FAULTS[point as usize];
    debug_assert!(fault.point == point);
    fault
}
