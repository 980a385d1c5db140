// SPDX-License-Identifier: GPL-2.0
//! Scripts that come to the same on both. In most, whoever waits in a place of a scenario, a task, a
//! watch or a request, is woken alike.

use super::call::Backend;
use super::conductor::{Conductor, Stuck};
use super::judge::{Compared, Pair, Verdict, judge};
use super::kept::{Kept, kept};
use super::play::Play;
use super::script::{Scenario, Step, Waiter};
use super::trace::{Outcome, Trace};

/// What is compared.
const PAIR: Pair = Pair(Backend::Futex, Backend::Rfutex);

/// Each script comes to the same on both, and to the same on rfutex, whatever waits in the places
/// where it has watches and requests.
pub fn alike() {
    let mut conductor = Conductor::new();
    for script in kept("alike") {
        if let Err(stuck) = is_alike(&mut conductor, &script) {
            panic!("{}: {stuck}", script.name);
        }
    }
}

/// Each script comes to the same on both, though some of its steps may not be played: it did not,
/// by a fault of the oracle's own.
pub fn same() {
    let mut conductor = Conductor::new();
    for script in kept("same") {
        let name = &script.name;
        let played = play(&mut conductor, name, &script.scenario);
        played.unwrap_or_else(|stuck| panic!("{name}: {stuck}"));
    }
}

fn is_alike(conductor: &mut Conductor, script: &Kept) -> Result<(), Stuck> {
    let name = &script.name;
    let original = play(conductor, name, &script.scenario)?;
    let is_skipped = |trace: &Trace| {
        let mut records = trace.records.iter();
        records.any(|record| record.outcome == Outcome::Skipped)
    };
    assert!(!is_skipped(&original), "{name}: {original:?}");
    let mut ended = original.records.iter().flat_map(|record| &record.ended);
    let is_armed = |actor: usize| script.scenario.actors[actor].waiter != Waiter::Task;
    assert!(ended.any(|(actor, _)| is_armed(*actor)), "{name}");

    // Tasks are not removed; and one that is stopped leaves its queue until it goes on.
    let is_otherwise = |step: &Step| {
        matches!(
            step,
            Step::Remove { .. } | Step::Close { .. } | Step::Stop { .. }
        )
    };
    let mut waiters = vec![Waiter::Watch, Waiter::Request];
    if !script.scenario.steps.iter().any(is_otherwise) {
        waiters.push(Waiter::Task);
    }
    for waiter in waiters {
        let mut other = script.scenario.clone();
        for actor in &mut other.actors {
            if actor.waiter != Waiter::Task {
                actor.waiter = waiter;
            }
        }
        let trace = play(conductor, name, &other)?;
        assert_eq!(trace, original, "{name} with {waiter:?}");
    }
    Ok(())
}

/// What comes of a scenario on rfutex, after it came to the same on both.
fn play(conductor: &mut Conductor, name: &str, scenario: &Scenario) -> Result<Trace, Stuck> {
    match judge(conductor, PAIR, scenario, &mut Compared::default())? {
        Verdict::Same => {}
        Verdict::Intended(other) => panic!("{name}: differs by {other}"),
        Verdict::Different(mismatch) => panic!("{name}:\n{}", mismatch.describe(PAIR)),
    }
    let round = conductor.next_round();
    Play::run(conductor, scenario, PAIR.1, round)
}
