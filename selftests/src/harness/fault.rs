// SPDX-License-Identifier: GPL-2.0
//! Failures that the lab build provokes.

use std::fs;

const PATH: &str = "/sys/kernel/debug/rfutex/fault";

/// A point that fails, or that keeps tasks which come by, until this goes.
#[derive(Debug)]
pub struct Fault {
    point: &'static str,
    hits_before: u32,
}

impl Fault {
    /// Makes `point` fail the next `count` times that it is reached; or, if it is one that keeps tasks,
    /// keep them.
    pub fn arm(point: &'static str, count: u32) -> Self {
        let [_, hits_before] = numbers(point);
        let fault = Self { point, hits_before };
        fault.set(count);
        fault
    }

    /// The points at which a wait on a word of a file, found by its page, can be made to begin
    /// again. Taking the inode is one of them where a waiter holds it.
    pub fn retries_of_a_wait() -> Vec<&'static str> {
        let mut points = vec!["read-word", "host-gone", "mapping-changed", "no-mapping"];
        if super::holds_inode() {
            points.push("inode-going");
        }
        points
    }

    /// How many more times it is going to fail.
    pub fn left(&self) -> u32 {
        numbers(self.point)[0]
    }

    /// How many times it has failed, or how many tasks it has kept.
    pub fn hits(&self) -> u32 {
        numbers(self.point)[1] - self.hits_before
    }

    fn set(&self, count: u32) {
        fs::write(PATH, format!("{} {count}", self.point)).expect(PATH);
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// How many more times `point` is going to fail, and how many times it has.
fn numbers(point: &str) -> [u32; 2] {
    let text = fs::read_to_string(PATH).expect(PATH);
    let mut fields = text
        .lines()
        .find_map(|line| line.strip_prefix(point))
        .expect("the point has a line")
        .split_whitespace();
    [(); 2].map(|()| {
        let number = fields.next().and_then(|number| number.parse().ok());
        number.expect("a number")
    })
}
