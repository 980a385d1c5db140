// SPDX-License-Identifier: GPL-2.0
//! Compares what two backends made of a scenario.

use super::call::Backend;
use super::conductor::{Conductor, Stuck};
use super::differences::{Case, explanation};
use super::memory::offset;
use super::play::Play;
use super::script::{ANY, Actor, Scenario, Step, Val, Word};
use super::trace::{Outcome, Trace};
use std::collections::HashMap;
use std::fmt::Write as _;

/// The name of the difference that is not seen in a step.
const ORDER: &str = "requeue-order";

/// How often a scenario with words that collide is played again, where they may not. That they do
/// each time is as good as impossible.
const ELSEWHERE: u32 = 8;

/// What a comparison came to.
#[derive(Debug)]
pub enum Verdict {
    /// The same.
    Same,
    /// Not the same, by intent; from there on, nothing was compared.
    Intended(&'static str),
    /// Not the same.
    Different(Box<Mismatch>),
}

/// Where two traces differ, first.
#[derive(Debug)]
pub struct Mismatch {
    scenario: Scenario,
    /// The step; none if it is what comes after them.
    step: Option<usize>,
    traces: [Trace; 2],
}

/// The two that are compared: the oracle, and who is asked to be like it.
#[derive(Clone, Copy, Debug)]
pub struct Pair(pub Backend, pub Backend);

/// What was compared.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// Steps that were made, up to where the two go on from different states.
    pub steps: u64,
    /// Those of them with which a watch or a request began to wait.
    pub armed: u64,
    /// And those that were made in a scenario with a table of its own.
    pub own: u64,
    /// How often each intended difference was met.
    pub intended: HashMap<&'static str, u64>,
}

impl Compared {
    fn meet(&mut self, name: &'static str) {
        *self.intended.entry(name).or_default() += 1;
    }
}

/// Plays a scenario on both and compares. Adds to `compared` what was.
///
/// # Errors
///
/// A call hangs.
pub fn judge(
    conductor: &mut Conductor,
    pair: Pair,
    scenario: &Scenario,
    compared: &mut Compared,
) -> Result<Verdict, Stuck> {
    let mut elsewhere = ELSEWHERE;
    loop {
        let round = conductor.next_round();
        let oracle = Play::run(conductor, scenario, pair.0, round)?;
        let other_round = conductor.next_round();
        let other = Play::run(conductor, scenario, pair.1, other_round)?;
        let step = match first_difference(scenario, &oracle, &other, compared) {
            None => return Ok(Verdict::Same),
            Some(At::Intended(name)) => {
                compared.meet(name);
                return Ok(Verdict::Intended(name));
            }
            Some(At::Step(step)) => Some(step),
            Some(At::End) => None,
        };
        // What a collision may be the reason of, must go away with it.
        if elsewhere > 0 && reordered(conductor, scenario, &oracle, pair.0, round)? {
            compared.meet(ORDER);
            elsewhere -= 1;
            continue;
        }
        return Ok(Verdict::Different(Box::new(Mismatch {
            scenario: scenario.clone(),
            step,
            traces: [oracle, other],
        })));
    }
}

/// What is to be said of a scenario.
#[derive(Debug)]
pub enum Judged {
    /// Nothing.
    Fine,
    /// The two differ so.
    Different(String),
    /// A call hangs. The threads of the conductor are lost.
    Stuck(String),
}

/// Plays a scenario on both and says what is wrong.
pub fn judged(conductor: &mut Conductor, pair: Pair, scenario: &Scenario) -> Judged {
    match judge(conductor, pair, scenario, &mut Compared::default()) {
        Ok(Verdict::Same | Verdict::Intended(_)) => Judged::Fine,
        Ok(Verdict::Different(mismatch)) => Judged::Different(mismatch.describe(pair)),
        Err(stuck) => {
            let lost = std::mem::replace(conductor, Conductor::new());
            // Its threads may be anywhere.
            std::mem::forget(lost);
            Judged::Stuck(stuck.to_string())
        }
    }
}

/// Where the first difference is that counts.
enum At {
    Intended(&'static str),
    Step(usize),
    End,
}

fn first_difference(
    scenario: &Scenario,
    oracle: &Trace,
    other: &Trace,
    compared: &mut Compared,
) -> Option<At> {
    let mut asleep: HashMap<usize, &Step> = HashMap::new();
    for (number, step) in scenario.steps.iter().enumerate() {
        let (futex, rfutex) = (&oracle.records[number], &other.records[number]);
        let actor = step.actor().map(|by| scenario.actor(by));
        compared.steps += u64::from(futex.outcome != Outcome::Skipped);
        compared.own += u64::from(futex.outcome != Outcome::Skipped && scenario.table.is_some());
        compared.armed += u64::from(futex.outcome == Outcome::Sleeps && scenario.arms(step));
        if futex != rfutex {
            let case = Case {
                scenario,
                step,
                asleep: &asleep,
                futex,
                rfutex,
            };
            let Some(name) = explanation(&case) else {
                return Some(At::Step(number));
            };
            if !case.leaves_same_state() {
                return Some(At::Intended(name));
            }
            compared.meet(name);
        }
        for (actor, _) in &futex.ended {
            asleep.remove(actor);
        }
        if let Step::Kill { process } = step
            && futex.outcome != Outcome::Skipped
        {
            asleep.retain(|actor, _| scenario.actors[*actor].process != *process);
        }
        if let (Some(actor), Outcome::Sleeps) = (actor, futex.outcome) {
            asleep.insert(actor, step);
        }
    }
    let end = |trace: &Trace| Trace {
        records: Vec::new(),
        ..trace.clone()
    };
    (end(oracle) != end(other)).then_some(At::End)
}

/// Whether two words between which waiters were moved hash to one bucket of futex(2)'s, which then
/// leaves the waiters where they are in the queue: among those that they join they may be anywhere.
///
/// The words are looked at where the oracle's trace had them.
fn reordered(
    conductor: &mut Conductor,
    scenario: &Scenario,
    oracle: &Trace,
    backend: Backend,
    round: usize,
) -> Result<bool, Stuck> {
    for (step, record) in scenario.steps.iter().zip(&oracle.records) {
        let Step::Requeue {
            by,
            from,
            to,
            nr_wake,
            private,
            mixed: false,
            ..
        } = *step
        else {
            continue;
        };
        let moved = matches!(record.outcome, Outcome::Returned(n) if n > i64::from(nr_wake));
        // Onto itself, nobody moves in either.
        let place = |word| {
            let Word { kind, place, .. } = *scenario.word(word);
            (kind.writable(), offset(place))
        };
        if !moved || place(from) == place(to) {
            continue;
        }
        let process = scenario.actors[scenario.actor(by)].process;
        let probe = collision(scenario, process, [from, to], private);
        let trace = Play::run(conductor, &probe, backend, round)?;
        // The first waiter is moved behind the second, unless it stays where it is.
        let woken = |record: &super::trace::Record| record.ended.first().map(|(actor, _)| *actor);
        if trace.records.last().and_then(woken) == Some(0) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A scenario that shows whether two words collide.
fn collision(scenario: &Scenario, process: u8, [from, to]: [u8; 2], private: bool) -> Scenario {
    let wait = |by, word| Step::Wait {
        by,
        word,
        val: Val::Now,
        mask: ANY,
        private,
        until: Default::default(),
        via: Default::default(),
    };
    let actor = Actor {
        process,
        ..Actor::default()
    };
    Scenario {
        actors: vec![actor; 3],
        steps: vec![
            wait(0, from),
            wait(1, to),
            Step::Requeue {
                by: 2,
                from,
                to,
                val: Some(Val::Now),
                nr_wake: 0,
                nr_move: 1,
                private,
                mixed: false,
                via: Default::default(),
            },
            Step::Wake {
                by: 2,
                word: to,
                nr: 1,
                mask: ANY,
                private,
                via: Default::default(),
            },
        ],
        ..scenario.clone()
    }
}

impl Mismatch {
    /// What is to be known about it: the script, and what each step came to.
    pub fn describe(&self, pair: Pair) -> String {
        let [oracle, other] = &self.traces;
        let (script, line) = (self.scenario.text(), self.scenario.line());
        let mut text = format!("{script}\n\nrfutex-selftests oracle --script '{line}'\n\n");
        for (number, (record, theirs)) in oracle.records.iter().zip(&other.records).enumerate() {
            let _ = write!(text, "step {number}: {record}");
            if record != theirs {
                let _ = write!(text, "\n    {:?}: {theirs}", pair.1);
            }
            text.push('\n');
            if self.step == Some(number) {
                let _ = write!(text, "This is where it differs.");
                return text;
            }
        }
        for (backend, trace) in [(pair.0, oracle), (pair.1, other)] {
            let _ = writeln!(
                text,
                "in the end, {backend:?}: continued {:?}, woken {:?}, left {:?}, {} not counted, {} queued, values {:?}",
                trace.continued,
                trace.woken,
                trace.left,
                trace.uncounted,
                trace.queued,
                trace.values
            );
        }
        text
    }
}
