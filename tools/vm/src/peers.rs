// SPDX-License-Identifier: GPL-2.0
//! `make check-peers`: test programs of others, on futex(2) and with the
//! preloaded library on rfutex, side by side.

mod nptl;
mod output;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use rfutex_guest::plan::{Place, Plan, Stage};

use crate::Options;
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::root::Root;
use crate::session::{Places, guest_module, programs};
use crate::vng::Limits;

use nptl::Nptl;
pub use table::Table;

/// What the programs are run on: the kernel's futex, and ours.
const SIDES: [&str; 2] = ["futex(2)", "rfutex"];

/// Where the programs are in the guest.
const DIRECTORY: &str = "/peers";

/// Arguments of the selftests that need any: this one works for ten seconds.
const ARGUMENTS: &[(&str, &[&str])] = &[("futex_numa", &["-s", "1"])];

/// The build of the module that they run on.
const MODULE: &str = "module";

/// perf's benchmarks: their arguments, and whether they go by what they see
/// and not by a time after which the threads should be asleep.
const BENCHES: &[(&str, bool)] = &[
    ("hash -r 1 -t 2", true),
    ("hash -r 1 -t 2 -S", true),
    ("wake -t 64", true),
    ("wake -t 64 -w 64 -S", true),
    ("wake-parallel -t 64 -w 8", false),
    ("wake-parallel -t 64 -w 8 -S", false),
    ("requeue -t 64", true),
    ("requeue -t 64 -B -S", true),
];

/// What was built to be run.
#[derive(Args, Clone, Debug)]
pub struct Built {
    /// The directory of the kernel's futex selftests
    #[arg(long, value_name = "DIR")]
    selftests: PathBuf,
    /// perf
    #[arg(long, value_name = "FILE")]
    perf: PathBuf,
    /// The directory of glibc's tests of threads
    #[arg(long, value_name = "DIR")]
    nptl: PathBuf,
    /// librfutex_preload.so
    #[arg(long, value_name = "FILE")]
    preload: PathBuf,
    /// librfutex_preload_tracer.so
    #[arg(long, value_name = "FILE")]
    preload_tracer: PathBuf,
    /// rfutex-preload-check
    #[arg(long, value_name = "FILE")]
    preload_check: PathBuf,
    /// The directory of the programs that it starts
    #[arg(long, value_name = "DIR")]
    preload_programs: PathBuf,
}

/// A machine to run them in.
struct Boot {
    /// The first part of the names of its tests.
    name: &'static str,
    clock: Clock,
    /// Whether it runs glibc's tests, and nothing else.
    nptl: bool,
}

/// How time goes by in a machine.
enum Clock {
    /// As it does, on so many processors.
    Real(u32),
    /// By the instructions of its only processor, each of which takes as many nanoseconds as two
    /// to this power: whoever else uses the host, a program that sleeps "long enough" has slept
    /// long enough.
    Instructions(u32),
}

impl Boot {
    fn counts(&self) -> bool {
        matches!(self.clock, Clock::Instructions(_))
    }

    /// How long one program may take, in seconds. If these are instructions, many
    /// go by while the host is asked for something, however little that is.
    fn limit(&self) -> u64 {
        if self.counts() { 3600 } else { 300 }
    }
}

const BOOTS: [Boot; 3] = [
    Boot {
        name: "1 cpu",
        clock: Clock::Instructions(0),
        nptl: false,
    },
    // Some of these go on for twenty seconds.
    Boot {
        name: "slow cpu",
        clock: Clock::Instructions(3),
        nptl: true,
    },
    Boot {
        name: "2 cpus",
        clock: Clock::Real(2),
        nptl: false,
    },
];

/// The kernel's selftests, by their names.
fn selftests(built: &Built) -> Result<Vec<PathBuf>> {
    let mut programs = programs(&built.selftests)?;
    programs.retain(|program| program.extension().is_none());
    Ok(programs)
}

/// What was built of others.
struct Peers {
    selftests: Vec<PathBuf>,
    nptl: Nptl,
}

/// Runs everything and prints the table.
pub fn run(
    options: &Options,
    places: &Places,
    interrupt: &Interrupt,
    built: &Built,
    only: &[String],
) -> Result<Table> {
    let top = std::path::absolute(&options.top)?;
    let peers = Peers {
        selftests: selftests(built)?,
        nptl: Nptl::read(&built.nptl)?,
    };
    let mut table = Table::new(&top.join("Documentation/preload.rst"), &peers.nptl.left_out)?;
    let (root, directories) = root(places, built, &peers)?;
    let limits = Limits {
        // Some tests of glibc's go on for minutes of the guest's time, and say nothing.
        silence: Duration::from_secs(30 * 60),
        total: Duration::from_secs(4 * 60 * 60),
    };
    let boots = BOOTS.iter().map(|boot| (boot, tests(boot, &peers, only)));
    let boots: Vec<_> = boots.filter(|(_, tests)| !tests.is_empty()).collect();
    ensure!(
        !boots.is_empty(),
        "no test has a name with {}",
        only.join(", ")
    );
    for (boot, tests) in boots {
        let mut session = options.session(places, interrupt, limits)?;
        match boot.clock {
            Clock::Instructions(shift) => session.use_clock_of_instructions(shift),
            Clock::Real(cpus) => {
                session.machine.cpus = cpus;
                session.choose_accelerator(&root)?;
            }
        }
        let mut report = Report::default();
        let plan = Plan {
            limit: boot.limit(),
            stages: stages(boot, &directories, tests),
            ..Plan::default()
        };
        session.run(&root, &plan, "peers", &mut report)?;
        table.add(boot.name, report.outcomes());
    }
    Ok(table)
}

/// Where in the guest's root is what runs.
struct Directories {
    /// What glibc's tests need besides.
    of_nptl: BTreeSet<PathBuf>,
    /// What all machines need.
    of_all: BTreeSet<PathBuf>,
}

/// The guest's root with all programs, and the libraries that they need; and
/// the directories in which these are.
fn root(places: &Places, built: &Built, peers: &Peers) -> Result<(Root, Directories)> {
    let root = places.root(&[])?;
    let rfutexctl = places.programs.join("rfutexctl");
    root.add_file(&rfutexctl, &format!("{DIRECTORY}/rfutexctl"))?;
    let module = PathBuf::from(guest_module(MODULE));
    let mut directories = BTreeSet::from([PathBuf::from(DIRECTORY)]);
    directories.extend(module.parent().map(Path::to_owned));
    let theirs = programs(&built.preload_programs)?;
    let programs = peers.selftests.iter().chain(&theirs).chain([
        &built.perf,
        &built.preload,
        &built.preload_tracer,
        &built.preload_check,
    ]);
    for program in programs {
        let libraries = root.add_dynamic(program, DIRECTORY)?;
        directories.extend(
            libraries
                .iter()
                .filter_map(|library| Some(library.parent()?.to_owned())),
        );
    }
    let of_nptl = peers.nptl.add(&root, &built.nptl)?;
    for (side, preload) in [("futex(2)", ""), ("rfutex", PRELOADED)] {
        let script = format!("#!/bin/sh\n{preload}exec {DIRECTORY}/rfutex-preload-check \"$@\"\n");
        root.add_script(&format!("peers/check-{side}"), &script)?;
    }
    let of_all = directories;
    Ok((root, Directories { of_nptl, of_all }))
}

/// Makes a shell put the library before programs.
const PRELOADED: &str = "export LD_PRELOAD=/peers/librfutex_preload.so RFUTEX_PRELOAD=require\n";

/// What was chosen of the tests that this machine runs.
fn tests(boot: &Boot, peers: &Peers, only: &[String]) -> Vec<Stage> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part));
    if boot.nptl {
        return peers.nptl.stages(boot, wanted);
    }
    let mut tests = programs_of(boot, peers, wanted);
    tests.extend(trials_of(boot, only, wanted("rfutex-preload-check")));
    tests
}

/// What the guest does in one boot.
fn stages(boot: &Boot, directories: &Directories, tests: Vec<Stage>) -> Vec<Stage> {
    let build = boot.name.to_owned();
    let mut copied = directories.of_all.clone();
    if boot.nptl {
        copied.extend(directories.of_nptl.iter().cloned());
    }
    let mut stages = vec![
        Stage::Boot,
        to_memory(boot, &copied),
        Stage::Load {
            build: build.clone(),
            module: guest_module(MODULE),
            installed: false,
            parameters: Vec::new(),
            suites: Vec::new(),
            without_suites: false,
        },
    ];
    stages.extend(tests);
    stages.push(Stage::Unload { build });
    stages
}

/// The kernel's selftests and perf, each on both sides.
fn programs_of(boot: &Boot, peers: &Peers, wanted: impl Fn(&str) -> bool) -> Vec<Stage> {
    let mut programs: Vec<(String, Vec<String>)> = Vec::new();
    if boot.counts() {
        for program in &peers.selftests {
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            let mut argv = vec![format!("{DIRECTORY}/{name}")];
            let given = ARGUMENTS.iter().filter(|(program, _)| *program == name);
            argv.extend(given.flat_map(|(_, arguments)| arguments.iter().map(|&a| a.to_owned())));
            programs.push((name.into_owned(), argv));
        }
    }
    for (bench, robust) in BENCHES {
        if boot.counts() || *robust {
            let arguments = ["bench", "futex"].into_iter().chain(bench.split(' '));
            let argv = [format!("{DIRECTORY}/perf")]
                .into_iter()
                .chain(arguments.map(str::to_owned));
            programs.push((format!("perf bench futex {bench}"), argv.collect()));
        }
    }
    let mut stages = Vec::new();
    for (program, argv) in programs.into_iter().filter(|(program, _)| wanted(program)) {
        for side in SIDES {
            stages.push(Stage::Peer {
                name: format!("{}/{side}/{program}", boot.name),
                argv: argv.clone(),
                place: Place {
                    env: environment(side),
                    ..Place::default()
                },
                limit: boot.limit(),
            });
        }
    }
    stages
}

/// The preloaded library's own tests, on both sides: `all` of them, or those in `only`, whose
/// names have two colons.
fn trials_of(boot: &Boot, only: &[String], all: bool) -> Vec<Stage> {
    let tests: Vec<_> = only.iter().filter(|part| part.contains("::")).collect();
    if !all && tests.is_empty() {
        return Vec::new();
    }
    let counted: &[&str] = if boot.counts() { &[] } else { &["counted"] };
    let without = [&["preload", "counted"], counted];
    let without = without.map(|kinds| kinds.iter().map(|&kind| kind.to_owned()).collect());
    let sides = SIDES.iter().zip(without);
    let stage = |(side, without)| Stage::Trials {
        build: format!("{}/{side}", boot.name),
        program: format!("{DIRECTORY}/check-{side}"),
        without,
        only: tests
            .iter()
            .filter(|_| !all)
            .map(|&part| part.clone())
            .collect(),
        or_none: false,
    };
    sides.map(stage).collect()
}

/// Copies directories of the guest's root to its memory. A processor that counts
/// time in instructions lets it run while a file is read from the host: for a
/// program's thread that is a long time.
fn to_memory(boot: &Boot, directories: &BTreeSet<PathBuf>) -> Stage {
    let mut script = "set -e\n".to_owned();
    for directory in directories {
        let directory = directory.display();
        script += &format!(
            "mkdir -p /run/memory{directory}\n\
             cp {directory}/* /run/memory{directory}\n\
             mount --bind /run/memory{directory} {directory}\n"
        );
    }
    Stage::Peer {
        name: format!("{}/copy", boot.name),
        argv: ["/bin/sh", "-c", &script].map(str::to_owned).to_vec(),
        place: Place::default(),
        limit: boot.limit(),
    }
}

/// The environment of a program on one of the sides.
fn environment(side: &str) -> Vec<(String, String)> {
    let library = format!("{DIRECTORY}/librfutex_preload.so");
    let pairs = [
        ("LD_PRELOAD", library.as_str()),
        ("RFUTEX_PRELOAD", "require"),
        ("RFUTEX_PRELOAD_STATS", "1"),
    ];
    if side == SIDES[0] {
        return Vec::new();
    }
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}
