// SPDX-License-Identifier: GPL-2.0
//! Looks for scenarios in which two backends differ.

use super::conductor::Conductor;
use super::draw::draw;
use super::judge::{Compared, Mismatch, Pair, Verdict, judge};
use super::lane::Lane;
use super::script::Scenario;
use super::shrink::shrink;
use super::wrong::Fault;
use proptest::strategy::ValueTree;
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

/// After so many scenarios, one says how far it is.
const OFTEN: u64 = 1000;

/// A search.
#[derive(Clone, Debug)]
pub struct Search {
    /// What the scenarios are drawn from.
    pub seed: u64,
    /// Who is compared.
    pub pair: Pair,
    /// Which of them.
    pub scenarios: Range<u64>,
    /// And of these, the part of this lane.
    pub lane: Lane,
    /// Whether those with even numbers may set the clock.
    pub clock: bool,
    /// Only those that may show this fault.
    pub about: Option<Fault>,
}

/// What was looked at.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Scenarios.
    pub scenarios: u64,
    /// What was compared in them.
    pub compared: Compared,
    /// How long it took.
    pub time: Duration,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs_f64();
        let Compared {
            steps,
            armed,
            own,
            intended,
        } = &self.compared;
        let scenarios = self.scenarios;
        write!(
            f,
            "{scenarios} scenarios, {steps} steps, {armed} armed, {own} in tables of their own, \
             {seconds:.1} s"
        )?;
        let mut intended: Vec<_> = intended.iter().collect();
        intended.sort();
        for (name, count) in intended {
            write!(f, ", {name} {count}")?;
        }
        Ok(())
    }
}

/// A scenario that failed.
#[derive(Debug)]
pub struct Failure {
    /// It, made small.
    pub scenario: Scenario,
    /// All about it.
    pub text: String,
}

impl Search {
    /// Looks at all of them, or until one fails.
    ///
    /// # Errors
    ///
    /// A scenario fails.
    pub fn run(&self, conductor: &mut Conductor, tally: &mut Tally) -> Result<(), Box<Failure>> {
        let start = Instant::now();
        for index in self.lane.part(self.scenarios.clone()) {
            let mut tree = draw(self.seed, index, self.clock && index % 2 == 0);
            let scenario = tree.current();
            let concerns = |fault: Fault| {
                let mut steps = scenario.steps.iter();
                steps.any(|step| fault.concerns(&scenario, step))
            };
            if !self.about.is_none_or(concerns) {
                continue;
            }
            tally.scenarios += 1;
            let failed = self.fails(conductor, &scenario, &mut tally.compared);
            tally.time = start.elapsed();
            if tally.scenarios.is_multiple_of(OFTEN) {
                println!("lane {}: {tally}", self.lane.number);
            }
            if let Some(first) = failed {
                let (seed, found) = (self.seed, first.text(self.pair));
                let place = format!("seed {seed}, scenario {index}");
                return Err(Box::new(
                    self.small(conductor, &mut tree, &place, first, found),
                ));
            }
        }
        Ok(())
    }

    fn small(
        &self,
        conductor: &mut Conductor,
        tree: &mut dyn ValueTree<Value = Scenario>,
        place: &str,
        first: Failed,
        found: String,
    ) -> Failure {
        if let Failed::Stuck(_) = first {
            // Its threads are lost, and a hang takes long to see: it stays as it is.
            return Failure {
                scenario: tree.current(),
                text: format!("{place}:\n{}\n{found}", tree.current().text()),
            };
        }
        // Somebody may lose patience.
        println!("{place} differs:\n{}", tree.current().text());
        let mut last = found;
        let scenario = shrink(tree, |scenario| {
            match self.fails(conductor, scenario, &mut Compared::default()) {
                Some(failed @ Failed::Different(_)) => {
                    last = failed.text(self.pair);
                    true
                }
                _ => false,
            }
        });
        Failure {
            scenario,
            text: format!("made small:\n{last}"),
        }
    }

    fn fails(
        &self,
        conductor: &mut Conductor,
        scenario: &Scenario,
        compared: &mut Compared,
    ) -> Option<Failed> {
        match judge(conductor, self.pair, scenario, compared) {
            Ok(Verdict::Same | Verdict::Intended(_)) => None,
            Ok(Verdict::Different(mismatch)) => Some(Failed::Different(mismatch)),
            Err(stuck) => {
                let lost = std::mem::replace(conductor, Conductor::new());
                // Its threads may be anywhere.
                std::mem::forget(lost);
                Some(Failed::Stuck(stuck.to_string()))
            }
        }
    }
}

enum Failed {
    Different(Box<Mismatch>),
    Stuck(String),
}

impl Failed {
    fn text(&self, pair: Pair) -> String {
        match self {
            Self::Different(mismatch) => mismatch.describe(pair),
            Self::Stuck(why) => why.clone(),
        }
    }
}
