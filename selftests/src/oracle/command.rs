// SPDX-License-Identifier: GPL-2.0
//! The oracle by hand: `rfutex-selftests oracle`.

use super::call::Backend;
use super::conductor::Conductor;
use super::judge::{Compared, Pair, Verdict, judge};
use super::lane::{Lane, on_processors};
use super::race::race;
use super::script::Scenario;
use super::search::{Search, Tally};
use super::trials::sees;
use super::wrong::Fault;
use clap::Parser;
use std::process::ExitCode;

/// Compare rfutex with futex(2) over random scenarios
#[derive(Parser)]
#[command(bin_name = "rfutex-selftests oracle")]
struct Options {
    /// What the scenarios are drawn from
    #[arg(long)]
    seed: Option<u64>,
    /// How many scenarios
    #[arg(long, default_value_t = 10000)]
    scenarios: u64,
    /// How many races after them
    #[arg(long, default_value_t = 200)]
    races: u64,
    /// The scenario with this number alone
    #[arg(long, value_name = "NUMBER", requires = "seed")]
    only: Option<u64>,
    /// Compare futex(2) with itself: for machines without rfutex
    #[arg(long)]
    futex: bool,
    /// No scenario sets the clock
    #[arg(long)]
    no_clock: bool,
    /// Play this script
    #[arg(long, value_name = "TEXT")]
    script: Option<String>,
    /// Give the other one this fault, and see it found
    #[arg(long, value_name = "NAME")]
    fault: Option<String>,
}

/// Does what the arguments say, which follow the word `oracle`.
pub fn command(arguments: impl Iterator<Item = String>) -> ExitCode {
    let options = Options::parse_from(arguments);
    let other = if options.futex {
        Backend::Futex
    } else {
        Backend::Rfutex
    };
    let pair = Pair(Backend::Futex, other);
    if let Some(text) = &options.script {
        return play(pair, text);
    }
    if let Some(wanted) = &options.fault {
        for (name, fault) in Fault::ALL
            .iter()
            .filter(|(name, _)| wanted == "all" || name == wanted)
        {
            println!("{name}");
            let pair = Pair(pair.0, Backend::Wrong(!options.futex, *fault));
            sees(pair, *fault, options.seed.unwrap_or(1));
        }
        return ExitCode::SUCCESS;
    }
    let seed = options
        .seed
        .unwrap_or_else(|| fastrand::u64(..u64::from(u32::MAX)));
    println!("seed {seed}");
    on_processors(Lane::MOST, |lane, conductor| {
        search(&options, pair, seed, lane, conductor)
    });
    ExitCode::SUCCESS
}

fn search(options: &Options, pair: Pair, seed: u64, lane: Lane, conductor: &mut Conductor) {
    let search = Search {
        seed,
        pair,
        scenarios: match options.only {
            Some(number) => number..number + 1,
            None => 0..options.scenarios,
        },
        lane,
        clock: !options.no_clock,
        about: None,
    };
    let mut tally = Tally::default();
    let result = search.run(conductor, &mut tally);
    println!("lane {}: {tally}", lane.number);
    if let Err(failure) = result {
        println!("{}", failure.text);
        panic!("a scenario differs");
    }
    if options.only.is_some() {
        return;
    }
    for number in lane.part(0..options.races) {
        for backend in [pair.0, pair.1] {
            if let Err(stuck) = race(conductor, backend, seed + number) {
                println!("{stuck}");
                panic!("a race fails");
            }
        }
    }
}

fn play(pair: Pair, text: &str) -> ExitCode {
    let scenario = match Scenario::parse(text) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut conductor = Conductor::new();
    match judge(&mut conductor, pair, &scenario, &mut Compared::default()) {
        Ok(Verdict::Same) => println!("the same"),
        Ok(Verdict::Intended(name)) => println!("the same but for {name}"),
        Ok(Verdict::Different(mismatch)) => {
            println!("{}", mismatch.describe(pair));
            return ExitCode::FAILURE;
        }
        Err(stuck) => {
            println!("{stuck}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
