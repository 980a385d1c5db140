// SPDX-License-Identifier: GPL-2.0
//! What became of a mutant, and whether that is as it should be.

use rfutex_guest::event;
use rfutex_guest::event::Outcome;
use serde::{Deserialize, Serialize};

use crate::list::Mutant;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// A test failed.
    Killed,
    /// No test failed.
    Survived,
    /// The machine crashed or hung before a test failed.
    Crashed,
    /// It does not build.
    Unbuilt,
}

/// What became of it, and who noticed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// What became of it.
    pub status: Status,
    /// The tests that failed.
    pub by: Vec<String>,
    /// How long all of it took.
    pub seconds: f64,
}

impl Verdict {
    /// What to say of `outcomes`, from a machine that did `finished` all that
    /// it was to do. `fatal`: it need not.
    pub fn of(outcomes: &[Outcome], finished: bool, fatal: bool) -> Self {
        let failed = |o: &&Outcome| o.verdict == event::Verdict::Failed;
        let mut by: Vec<_> = outcomes
            .iter()
            .filter(failed)
            .map(|o| o.name.clone())
            .collect();
        // The last one is the machine's end.
        let before = by.len() - usize::from(!finished && !by.is_empty());
        let status = match (finished, before) {
            (true, 0) => Status::Survived,
            (false, 0) if !fatal => Status::Crashed,
            _ => Status::Killed,
        };
        if let Some(last) = by.last_mut().filter(|_| !finished) {
            *last += " (the machine's end)";
        }
        let seconds = outcomes.iter().map(|o| o.seconds).sum();
        Self {
            status,
            by,
            seconds,
        }
    }

    /// With what was found out before.
    pub fn after(mut self, before: Self) -> Self {
        if before.status == Status::Killed {
            self.status = Status::Killed;
        }
        self.by.splice(0..0, before.by);
        self.seconds += before.seconds;
        self
    }

    /// The word for it; an error if that is not as it should be.
    pub fn judge(&self, mutant: &Mutant) -> Result<&'static str, &'static str> {
        match (self.status, &mutant.survives) {
            (Status::Killed, None) => Ok("killed"),
            (Status::Survived, Some(_)) => Ok("explained"),
            (Status::Killed, Some(_)) => Err("killed after all"),
            (Status::Survived, None) => Err("SURVIVED"),
            (Status::Crashed, _) => Err("CRASHED"),
            (Status::Unbuilt, _) => Err("DID NOT BUILD"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, good: bool) -> Outcome {
        let verdict = if good {
            event::Verdict::Passed
        } else {
            event::Verdict::Failed
        };
        let (why, splats) = (vec![], vec![]);
        Outcome {
            name: name.to_owned(),
            verdict,
            seconds: 0.0,
            why,
            splats,
            log: String::new(),
        }
    }

    fn status(good: &[bool], finished: bool, fatal: bool) -> Status {
        let outcomes: Vec<_> = good.iter().map(|&good| outcome("t", good)).collect();
        Verdict::of(&outcomes, finished, fatal).status
    }

    #[test]
    fn a_failed_test_kills() {
        assert_eq!(status(&[true, false, true], true, false), Status::Killed);
        assert_eq!(status(&[true, true], true, false), Status::Survived);
    }

    #[test]
    fn one_killer_is_enough() {
        let before = |status| Verdict {
            status,
            by: vec!["litmus".to_owned()],
            seconds: 1.0,
        };
        let survived = || Verdict::of(&[outcome("t", true)], true, false);
        let verdict = survived().after(before(Status::Killed));
        assert_eq!((verdict.status, verdict.by.len()), (Status::Killed, 1));
        let verdict = survived().after(before(Status::Survived));
        assert_eq!(verdict.status, Status::Survived);
    }

    #[test]
    fn a_crash_kills_only_what_may_crash() {
        assert_eq!(status(&[true, false], false, false), Status::Crashed);
        assert_eq!(status(&[true, false], false, true), Status::Killed);
        assert_eq!(status(&[false, false], false, false), Status::Killed);
    }
}
