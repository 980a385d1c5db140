// SPDX-License-Identifier: GPL-2.0

//! Faults: each [`Point`] can be made to fail a given number of times.

use super::Point;
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

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

    /// How many times the point has failed.
    pub(super) fn hits(&self) -> u32 {
        self.hits.load(Relaxed)
    }

    /// Makes the point fail the next `count` times.
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
pub(super) static FAULTS: [Fault; 11] = [
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
];

/// Whether the operation at `point` has to fail now.
#[inline]
pub(crate) fn fault(point: Point) -> bool {
    at(point).hit()
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
