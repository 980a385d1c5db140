// SPDX-License-Identifier: GPL-2.0
//! Measures rfutex and futex(2), inside the VM. Each figure goes to the host
//! as it is there.

mod calibrate;
mod call;
mod cgroup;
mod experiments;
mod measure;
mod memory;
mod rows;
mod scheduling;
mod side;
mod uring;

use clap::{Parser, Subcommand};
use experiments::Scope;
use measure::Rounds;
use rfutex::Clock;
use rfutex_figures::record::{Record, Row as RowRecord, Unit};
use rows::Row;
use side::Side;

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    command: Do,
}

/// Which operations, and of whom.
#[derive(clap::Args)]
struct Choice {
    /// Only operations that have one of these in their names
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Only these resolvers; none is that of words in an arena
    #[arg(long, value_name = "NAME")]
    resolver: Vec<String>,
    /// Only words of files: others cost the same whatever a waiter holds
    #[arg(long)]
    files_only: bool,
}

#[derive(Subcommand)]
enum Do {
    /// Count instructions; the processor's clock has to do so
    Instructions(Choice),
    /// Take the time
    Time(Choice),
    /// Carry out experiments, of all sides
    Experiments {
        /// threads, hash, lines, crowd, watches, page-lock, fault, reclaim, thp
        names: Vec<String>,
        /// Only these resolvers
        #[arg(long, value_name = "NAME")]
        resolver: Vec<String>,
        /// Only words of files: others cost the same whatever a waiter holds
        #[arg(long)]
        files_only: bool,
    },
    /// Repeat one operation, for somebody who looks at the processor
    Repeat {
        /// Its name
        name: String,
        /// The memory of its words
        memory: String,
        /// A resolver, or none in an arena; or contender, which is futex(2) in most cases
        side: String,
        /// For how many seconds
        #[arg(long, default_value_t = 2)]
        seconds: u64,
    },
}

impl Choice {
    fn rows(&self) -> Vec<Row> {
        let wanted = |row: &Row| {
            let name = format!("{} {}", row.name, row.memory.name());
            let named = self.only.iter().any(|part| name.contains(part.as_str()));
            (self.only.is_empty() || named) && (row.memory.is_of_file() || !self.files_only)
        };
        rows::all().into_iter().filter(wanted).collect()
    }

    /// Measures them.
    fn measure(&self, unit: Unit, rounds: Rounds) {
        let can_be = |row: &Row| row.timed || unit == Unit::Instructions;
        for row in self.rows().into_iter().filter(can_be) {
            let sides = Side::ours_in(row.memory).into_iter();
            for side in sides.filter(|side| side.is_wanted(&self.resolver)) {
                experiments::alone(|| measure(&row, side, unit, rounds));
            }
        }
    }
}

fn measure(row: &Row, side: Side, unit: Unit, rounds: Rounds) {
    let [mut native, mut ours] = [Side::Native, side].map(|side| row.make(side));
    let spreads = measure::compare([&mut native, &mut ours], row.batch, rounds);
    let [native, ours, ratio] = spreads;
    let record = RowRecord {
        name: row.name.to_owned(),
        memory: row.memory.name().to_owned(),
        contender: row.contender.to_owned(),
        resolver: side.name().to_owned(),
        hold: side::hold(),
        unit,
        native: native.divided(row.divide.into()),
        ours: ours.divided(row.divide.into()),
        ratio,
    };
    Record::Row(record).emit().expect("standard output");
}

/// rfutex with each resolver that there is and that is wanted.
fn ours(wanted: &[String]) -> Vec<Side> {
    let sides = Side::ours().into_iter();
    sides.filter(|side| side.is_wanted(wanted)).collect()
}

/// Carries out the experiments `names`.
fn experiment(names: &[String], resolvers: &[String], files_only: bool) {
    let mut sides = vec![Side::Native];
    sides.extend(ours(resolvers));
    let scope = Scope {
        sides,
        arena: resolvers.is_empty() || resolvers.iter().any(|name| name == "none"),
        files_only,
    };
    for name in names {
        let run: fn(&Scope) = match name.as_str() {
            "threads" => experiments::threads::run,
            "hash" => experiments::hash::run,
            "lines" => experiments::lines::run,
            "crowd" => experiments::crowd::run,
            "watches" => experiments::watches::run,
            "page-lock" => experiments::lock::run,
            "fault" => experiments::fault::run,
            "reclaim" => experiments::reclaim::run,
            "thp" => experiments::thp::run,
            other => panic!("there is no experiment {other}"),
        };
        run(&scope);
    }
}

/// Does it once, tells, and goes on for so many nanoseconds.
fn repeat(name: &str, memory: &str, side: &str, ns: u64) {
    let row = rows::all()
        .into_iter()
        .find(|row| row.name == name && row.memory.name() == memory)
        .unwrap_or_else(|| panic!("there is no operation {name} on {memory} memory"));
    let native = side == "contender" || side == Side::Native.name();
    let ours = || {
        let mut sides = Side::ours_in(row.memory).into_iter();
        sides.find(|ours| ours.name() == side)
    };
    let side = native
        .then_some(Side::Native)
        .or_else(ours)
        .unwrap_or_else(|| panic!("there is no resolver {side} for {memory} memory"));
    let mut batch = row.make(side);
    batch(row.batch);
    let symbols = symbols().expect("/proc/kallsyms");
    Record::Symbols(symbols).emit().expect("standard output");
    let name = format!("{name} {memory} {}", side.name());
    Record::Repeating { name }.emit().expect("standard output");
    let end = Clock::Monotonic.now() as u64 + ns;
    while (Clock::Monotonic.now() as u64) < end {
        batch(row.batch);
    }
}

/// The module's functions.
fn symbols() -> std::io::Result<Vec<(u64, String)>> {
    let text = std::fs::read_to_string("/proc/kallsyms")?;
    let lines = text.lines().filter(|line| line.ends_with("[rfutex]"));
    let symbol = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = u64::from_str_radix(fields.next()?, 16).ok()?;
        Some((address, fields.nth(1)?.to_owned()))
    };
    Ok(lines.filter_map(symbol).collect())
}

fn main() {
    // Once, before all the processes that tell it.
    side::hold();
    match Cli::parse().command {
        Do::Instructions(choice) => {
            scheduling::sleep_at_once();
            calibrate::tell();
            let rounds = Rounds {
                warm_up: 2,
                counted: 21,
            };
            choice.measure(Unit::Instructions, rounds);
        }
        Do::Time(choice) => {
            let rounds = Rounds {
                warm_up: 3,
                counted: 101,
            };
            choice.measure(Unit::Nanoseconds, rounds);
        }
        Do::Experiments {
            names,
            resolver,
            files_only,
        } => experiment(&names, &resolver, files_only),
        Do::Repeat {
            name,
            memory,
            side,
            seconds,
        } => repeat(&name, &memory, &side, seconds * 1_000_000_000),
    }
}
