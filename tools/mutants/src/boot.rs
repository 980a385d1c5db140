// SPDX-License-Identifier: GPL-2.0
//! One machine for several mutants, one after the other: what it is to do, and
//! which of its outcomes are whose.

use anyhow::Result;
use rfutex_guest::event::{Outcome, Verdict};
use rfutex_guest::plan::{Plan, Stage};
use serde::Deserialize;

/// How long a test may take, in seconds. A lost wake takes one half a minute.
pub const LIMIT: u64 = 60;

/// A mutant, and the selftests that it is to be tried with. KUnit is always.
pub struct Member<'a> {
    /// The mutant's name, which its build has too.
    pub id: &'a str,
    /// Parts of the selftests' names.
    pub tests: &'a [String],
}

/// What a machine does.
pub struct Boot {
    plan: Plan,
    ids: Vec<String>,
}

/// What the machine said of one mutant.
#[derive(Debug)]
pub struct Part<'a> {
    /// Its tests.
    pub outcomes: &'a [Outcome],
    /// Whether the machine lived until the module was unloaded.
    pub finished: bool,
}

/// What `rfutex-vm` writes of a run.
#[derive(Deserialize)]
struct Report {
    outcomes: Vec<Outcome>,
}

impl Boot {
    /// A machine for these, in that order. With `all`, the tests of a mutant go on
    /// after one that failed.
    pub fn of<'a>(members: impl Iterator<Item = Member<'a>>, all: bool) -> Self {
        let (mut stages, mut ids) = (vec![Stage::Boot], Vec::new());
        for Member { id, tests } in members {
            let build = || id.to_owned();
            stages.push(Stage::Load {
                build: build(),
                module: format!("/lib/modules/{id}/rfutex.ko"),
                installed: false,
                parameters: vec!["buckets=512".to_owned()],
                suites: Vec::new(),
                without_suites: false,
            });
            if !tests.is_empty() {
                stages.push(Stage::Trials {
                    build: build(),
                    program: "/bin/rfutex-selftests".to_owned(),
                    without: Vec::new(),
                    only: tests.to_vec(),
                    or_none: false,
                });
            }
            stages.push(Stage::Unload { build: build() });
            ids.push(build());
        }
        let plan = Plan {
            limit: LIMIT,
            stages,
            first_failure: !all,
            ..Plan::default()
        };
        Self { plan, ids }
    }

    /// The plan for the machine.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The builds that it needs.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The outcomes in a report of `rfutex-vm`.
    pub fn outcomes(report: &[u8]) -> Result<Vec<Outcome>> {
        let report: Report = serde_json::from_slice(report)?;
        Ok(report.outcomes)
    }

    /// What was said of each mutant, in order, up to the first after which the
    /// machine was no longer as good as new. Of those behind it, nothing is
    /// known.
    pub fn parts<'o>(&self, outcomes: &'o [Outcome]) -> Vec<Part<'o>> {
        let mut parts = Vec::new();
        let mut rest = outcomes;
        for id in &self.ids {
            let last = format!("{id}/rmmod");
            let end = rest.iter().position(|outcome| outcome.name == last);
            let (part, behind) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            parts.push(Part {
                outcomes: part,
                finished: end.is_some(),
            });
            rest = behind;
            if end.is_none() || part.iter().any(|outcome| is_dirt(outcome, id)) {
                break;
            }
        }
        // Crashed in a machine that others used before: not sure to be its own doing.
        if parts.len() > 1 && parts.last().is_some_and(|part| !part.finished) {
            parts.pop();
        }
        parts
    }
}

/// Whether the kernel may not be what it was after this.
fn is_dirt(outcome: &Outcome, id: &str) -> bool {
    let of_module = outcome.name == format!("{id}/insmod") || outcome.name == format!("{id}/rmmod");
    !outcome.splats.is_empty() || outcome.verdict == Verdict::Failed && of_module
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, verdict: Verdict, splat: bool) -> Outcome {
        Outcome {
            name: name.to_owned(),
            verdict,
            seconds: 0.0,
            why: vec![],
            splats: splat.then(|| "warn".to_owned()).into_iter().collect(),
            log: String::new(),
        }
    }

    fn boot() -> Boot {
        let members = ["a", "b", "c"].map(|id| Member { id, tests: &[] });
        Boot::of(members.into_iter(), true)
    }

    fn lengths(outcomes: &[Outcome]) -> Vec<(usize, bool)> {
        let parts = boot().parts(outcomes);
        parts
            .iter()
            .map(|part| (part.outcomes.len(), part.finished))
            .collect()
    }

    #[test]
    fn each_has_its_own() {
        use Verdict::{Failed, Passed};
        let all = [
            outcome("boot", Passed, false),
            outcome("a/insmod", Passed, false),
            outcome("a/rmmod", Passed, false),
            outcome("b/t", Failed, false),
            outcome("b/rmmod", Passed, false),
            outcome("c/rmmod", Passed, false),
        ];
        assert_eq!(lengths(&all), [(3, true), (2, true), (1, true)]);
        assert_eq!(boot().plan().stages.len(), 7);
    }

    #[test]
    fn nothing_is_known_behind_dirt() {
        use Verdict::{Failed, Passed};
        let splat = [
            outcome("a/t", Failed, true),
            outcome("a/rmmod", Passed, false),
            outcome("b/rmmod", Passed, false),
        ];
        assert_eq!(lengths(&splat), [(2, true)]);
        let stuck = [
            outcome("a/rmmod", Failed, false),
            outcome("b/rmmod", Passed, false),
        ];
        assert_eq!(lengths(&stuck), [(1, true)]);
    }

    #[test]
    fn a_crash_is_only_that_of_who_was_alone() {
        use Verdict::{Failed, Passed};
        let second = [
            outcome("a/rmmod", Passed, false),
            outcome("vm", Failed, false),
        ];
        assert_eq!(lengths(&second), [(1, true)]);
        let first = [outcome("vm", Failed, false)];
        assert_eq!(lengths(&first), [(1, false)]);
    }
}
