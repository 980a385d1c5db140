// SPDX-License-Identifier: GPL-2.0
//! The tests: that rfutex does as futex(2), and that the oracle would see if it did not.

use super::alike::{alike, same};
use super::call::Backend;
use super::conductor::Conductor;
use super::differences::{DIFFERENCES, Knows};
use super::judge::{Compared, Pair, Verdict, judge};
use super::kept::{Kept, kept};
use super::lane::{Lane, on_processors};
use super::race::race;
use super::script::Scenario;
use super::search::{Search, Tally};
use super::wrong::Fault;
use crate::harness::{effort, named_trial, trial};
use libtest_mimic::Trial;

/// What is compared.
pub const PAIR: Pair = Pair(Backend::Futex, Backend::Rfutex);

/// The kind of tests that are about the oracle itself, and not about the module.
const OF_THE_ORACLE: &str = "oracle";

/// How many scenarios each of the four tests plays.
const SCENARIOS: u64 = 250;

/// What is the same each time is drawn from this.
const SEED: u64 = 7;

/// What the scenarios that show faults are drawn from. Any seed would do; with this one, those are
/// near the beginning, and soon made small: no process is killed in them.
const FAULTS_SEED: u64 = 6;

/// How many races are run, on each.
const RACES: u64 = 30;

/// How many scenarios must be enough to find a fault.
const ENOUGH: u64 = 1000;

/// How often words are put elsewhere until they collide. One in sixteen does.
const COLLIDING: u32 = 250;

/// The tests.
pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("rfutex::oracle::scenarios::fixed", || scenarios(SEED)),
        trial("rfutex::oracle::scenarios::fixed_too", || {
            scenarios(SEED + 1)
        }),
        trial(
            "rfutex::oracle::scenarios::random",
            || scenarios(any_seed()),
        ),
        trial("rfutex::oracle::scenarios::random_too", || {
            scenarios(any_seed())
        }),
        trial("rfutex::oracle::random_races", || races(any_seed())),
        trial("rfutex::oracle::alike", alike),
        trial("rfutex::oracle::same", same),
        trial("rfutex::oracle::intended", intended),
        trial("rfutex::oracle::table", table),
        trial("rfutex::oracle::faults", faults).with_kind(OF_THE_ORACLE),
    ];
    trials.extend(Fault::ALL.iter().map(|(name, fault)| {
        named_trial(format!("oracle::sees::{name}"), || {
            sees(
                Pair(PAIR.0, Backend::Wrong(true, *fault)),
                *fault,
                FAULTS_SEED,
            );
        })
        .with_kind(OF_THE_ORACLE)
    }));
    trials
}

fn any_seed() -> u64 {
    fastrand::u64(..u64::from(u32::MAX))
}

/// The scenarios of a seed.
fn scenarios(seed: u64) {
    println!("seed {seed}");
    on_processors(Lane::MOST, |lane, conductor| {
        let search = Search {
            seed,
            pair: PAIR,
            scenarios: 0..effort(SCENARIOS),
            lane,
            clock: true,
            about: None,
        };
        let mut tally = Tally::default();
        let result = search.run(conductor, &mut tally);
        println!("lane {}: {tally}", lane.number);
        if let Err(failure) = result {
            panic!("{}", failure.text);
        }
    });
}

/// The races of a seed, on both.
fn races(seed: u64) {
    println!("seed {seed}");
    let mut conductor = Conductor::new();
    for number in 0..effort(RACES) {
        for backend in [PAIR.0, PAIR.1] {
            if let Err(stuck) = race(&mut conductor, backend, seed + number) {
                panic!("{stuck}");
            }
        }
    }
}

fn play(conductor: &mut Conductor, pair: Pair, script: &Kept, compared: &mut Compared) -> Verdict {
    match judge(conductor, pair, &script.scenario, compared) {
        Ok(verdict) => verdict,
        Err(stuck) => panic!("{}: {stuck}", script.name),
    }
}

/// Each intended difference that a scenario can show is shown by the script with its name, and
/// that shows no other. One that this module does not have is not shown.
fn intended() {
    let mut conductor = Conductor::new();
    let mut scripts = kept("intended");
    for difference in DIFFERENCES {
        let times = match difference.knows {
            Knows::Step(_) => 1,
            Knows::Hash => COLLIDING,
            Knows::NotDrawn => continue,
        };
        let name = difference.name;
        let place = scripts.iter().position(|script| script.name == name);
        let script = scripts.remove(place.unwrap_or_else(|| panic!("no script shows {name}")));
        let mut compared = Compared::default();
        for _ in 0..times {
            match play(&mut conductor, PAIR, &script, &mut compared) {
                Verdict::Different(mismatch) => panic!("{name}:\n{}", mismatch.describe(PAIR)),
                _ if compared.intended.is_empty() => {}
                _ => break,
            }
        }
        let met = compared.intended;
        let expected = difference.is_there().then_some(&name);
        assert!(met.keys().eq(expected), "{name}: {met:?}");
    }
    assert!(scripts.is_empty(), "scripts of no difference: {scripts:?}");
}

/// The table for people has the differences that the oracle knows.
fn table() {
    let text = include_str!("../../../Documentation/differences.rst");
    let rows = text.lines().filter_map(|line| {
        let name = line.strip_prefix("   * - ``")?;
        name.strip_suffix("``")
    });
    let known = DIFFERENCES.iter().map(|difference| difference.name);
    assert_eq!(rows.collect::<Vec<_>>(), known.collect::<Vec<_>>());
}

/// What once showed a fault shows it still, and no difference without the fault.
fn faults() {
    let mut conductor = Conductor::new();
    let mut scripts = kept("faults");
    for (name, fault) in Fault::ALL {
        let place = scripts.iter().position(|script| script.name == *name);
        let script = scripts.remove(place.unwrap_or_else(|| panic!("no script shows {name}")));
        let mut compared = Compared::default();
        match play(&mut conductor, PAIR, &script, &mut compared) {
            Verdict::Same => {}
            Verdict::Intended(other) => panic!("{name}: differs by {other}"),
            Verdict::Different(mismatch) => panic!("{name}:\n{}", mismatch.describe(PAIR)),
        }
        let wrong = Pair(PAIR.0, Backend::Wrong(true, *fault));
        let verdict = play(&mut conductor, wrong, &script, &mut compared);
        assert!(
            matches!(verdict, Verdict::Different(_)),
            "{name}: {verdict:?}"
        );
    }
    assert!(scripts.is_empty(), "scripts of no fault: {scripts:?}");
}

/// A fault is found, and the scenario is small then.
pub fn sees(pair: Pair, fault: Fault, seed: u64) {
    on_processors(1, |lane, conductor| {
        let search = Search {
            seed,
            pair,
            scenarios: 0..ENOUGH,
            lane,
            clock: true,
            about: Some(fault),
        };
        let mut tally = Tally::default();
        let result = search.run(conductor, &mut tally);
        println!("{tally}");
        let failure = result.expect_err("the fault");
        println!("{}", failure.text);
        let scenario = &failure.scenario;
        let steps = &scenario.steps;
        assert!(steps.len() <= 5, "{} steps", steps.len());
        assert!(steps.iter().any(|step| fault.concerns(scenario, step)));
        // Both texts are the scenario.
        for text in [failure.scenario.text(), failure.scenario.line()] {
            assert_eq!(Scenario::parse(&text).as_ref(), Ok(&failure.scenario));
        }
    });
}
