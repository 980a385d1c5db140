// SPDX-License-Identifier: GPL-2.0
//! Failures that the lab build provokes.

use std::fs;

const PATH: &str = "/sys/kernel/debug/rfutex/fault";

/// A point that fails, until this goes.
#[derive(Debug)]
pub struct Fault(&'static str);

impl Fault {
    /// Makes `point` fail the next `count` times that it is reached.
    pub fn arm(point: &'static str, count: u32) -> Self {
        let fault = Self(point);
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
        let text = fs::read_to_string(PATH).expect(PATH);
        let mut fields = text
            .lines()
            .find_map(|line| line.strip_prefix(self.0))
            .expect("the point has a line")
            .split_whitespace();
        fields
            .next()
            .and_then(|left| left.parse().ok())
            .expect("a number")
    }

    fn set(&self, count: u32) {
        fs::write(PATH, format!("{} {count}", self.0)).expect(PATH);
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.set(0);
    }
}
