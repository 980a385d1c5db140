// SPDX-License-Identifier: GPL-2.0
//! What came of a scenario.

use nix::errno::Errno;
use std::fmt;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It could not be made: the actor was busy, for one.
    Skipped,
    /// It returned a number, or a negative errno.
    Returned(i64),
    /// It sleeps.
    Sleeps,
}

impl Outcome {
    /// Whether the call returned this error.
    pub fn is_error(self, errno: Errno) -> bool {
        self == Self::Returned(-(errno as i64))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped => f.write_str("skipped"),
            Self::Sleeps => f.write_str("sleeps"),
            Self::Returned(number @ 0..) => write!(f, "{number}"),
            Self::Returned(error) => write!(f, "{:?}", Errno::from_raw(-*error as i32)),
        }
    }
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of its own call.
    pub outcome: Outcome,
    /// Which other actors' calls ended by it, and how.
    pub ended: Vec<(usize, Outcome)>,
    /// What the word holds afterwards, if the step may have changed it.
    pub value: Option<u32>,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outcome)?;
        if let Some(value) = self.value {
            write!(f, ", the word is {value:#x}")?;
        }
        for (actor, outcome) in &self.ended {
            write!(f, ", {actor} returns {outcome}")?;
        }
        Ok(())
    }
}

/// One wake at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Woken {
    /// The number of the word.
    pub word: u8,
    /// What the wake returned.
    pub result: i64,
    /// Who came back by it.
    pub ended: Vec<(usize, Outcome)>,
}

/// All that came of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Of each step.
    pub records: Vec<Record>,
    /// Who came back when the processes that were still stopped went on.
    pub continued: Vec<(usize, Outcome)>,
    /// The wakes, one by one, of those that then slept.
    pub woken: Vec<Woken>,
    /// Who was not to be woken, and came back by a signal or was removed.
    pub left: Vec<(usize, Outcome)>,
    /// How many more slept before these wakes than rfutex counted.
    pub uncounted: i64,
    /// How many were queued after all of that.
    pub queued: i64,
    /// What each word then holds, in each process.
    pub values: Vec<Vec<Option<u32>>>,
}
