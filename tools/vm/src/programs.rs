// SPDX-License-Identifier: GPL-2.0
//! `make check-programs`: programs that many people use, on futex(2) and redirected to
//! rfutex, side by side.

mod judge;
mod kept;
mod list;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use rfutex_guest::event::Verdict;
use rfutex_guest::plan::{HOST, HostRoot, Place, Plan, Stage};

use crate::Options;
use crate::bench::TimeKernel;
use crate::interrupt::Interrupt;
use crate::own;
use crate::report::Report;
use crate::root::Root;
use crate::session::{Places, guest_module};
use crate::vng::{Limits, Share};

use judge::Run;
use kept::Kept;
use list::Program;
pub use table::Table;

/// What was built to be run, and what is to be run.
#[derive(Args, Clone, Debug)]
pub struct Choice {
    /// The directory of what was built for the programs
    #[arg(long, value_name = "DIR")]
    built: PathBuf,
    #[command(flatten)]
    time: TimeKernel,
    /// Count instructions only
    #[arg(long)]
    quick: bool,
    /// Run nothing, but judge again what they came to when they ran last
    #[arg(long)]
    again: bool,
    /// Run only programs that have this in their name (may be given more than once)
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
}

/// The build of the module that they run on.
const MODULE: &str = "module";

/// Where the scripts and what they need are in the guest, for every user to read: in a
/// directory that is there in the host's root as well.
const DIRECTORY: &str = "/tmp/programs";

/// Where the same is in the guest's own root.
const KEPT: &str = "/programs";

/// Where the library keeps what it finds out: for every user to read.
const CACHE: &str = "/tmp/programs-cache";

/// MiB: the programs write to memory, where the root directory is the host's.
const MEMORY: u32 = 4096;

/// On what a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// By page, for the guest to have read all files, and for the library to have found out
    /// what there is to redirect; what comes of it is judged, but what it costs is not.
    WarmUp,
    Futex,
    Page,
    Vma,
}

impl Side {
    const ALL: [Self; 4] = [Self::WarmUp, Self::Futex, Self::Page, Self::Vma];

    /// Its name in those of tests.
    fn name(self) -> &'static str {
        match self {
            Self::WarmUp => "warm-up",
            Self::Futex => "futex(2)",
            Self::Page => "page",
            Self::Vma => "vma",
        }
    }

    fn is_redirected(self) -> bool {
        self != Self::Futex
    }
}

/// How the module is loaded, and what runs then.
const LOADS: [(&str, &[Side]); 2] = [
    ("resolver=1", &[Side::WarmUp, Side::Futex, Side::Page]),
    ("resolver=2", &[Side::Vma]),
];

/// A machine to run them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Boot {
    /// A processor that counts time in instructions.
    Instructions,
    /// Two processors; time goes by as it does.
    Time,
}

impl Boot {
    const ALL: [Self; 2] = [Self::Instructions, Self::Time];

    fn name(self) -> &'static str {
        match self {
            Self::Instructions => "1 cpu",
            Self::Time => "2 cpus",
        }
    }

    /// What is compared.
    fn unit(self) -> &'static str {
        match self {
            Self::Instructions => "Instructions on futex(2), in 10^9",
            Self::Time => "Seconds on futex(2)",
        }
    }

    /// How often each program runs. Seconds vary with what else the host does: the fewest say
    /// the most.
    fn runs(self) -> usize {
        match self {
            Self::Instructions => 1,
            Self::Time => 3,
        }
    }

    /// How long one program may take, in seconds. If these are instructions, many go by
    /// while the host is asked for something: the host's limits hold.
    fn limit(self) -> u64 {
        match self {
            Self::Instructions => 24 * 60 * 60,
            Self::Time => 900,
        }
    }
}

/// The name of a test.
fn test(boot: Boot, side: Side, program: &str) -> String {
    format!("{}/{}/{program}", boot.name(), side.name())
}

/// What comes before the number of a run in a name.
const RUN: &str = ", run ";

/// The name of the same in a later run; `run` counts from zero.
fn in_run(run: usize, name: &str) -> String {
    match run {
        0 => name.to_owned(),
        _ => format!("{name}{RUN}{}", run + 1),
    }
}

/// What is called `name` in some run, as the first has it.
fn in_any_run(name: &str) -> &str {
    name.split_once(RUN).map_or(name, |(name, _)| name)
}

/// Runs the chosen programs, and returns their tables. If, with what all others came to when they
/// ran last, the table of all in a machine is good, it is kept in Documentation.
pub fn run(
    options: &Options,
    places: &Places,
    interrupt: &Interrupt,
    choice: &Choice,
) -> Result<Table> {
    let top = std::path::absolute(&options.top)?;
    let scripts = top.join("tools/programs");
    let all = list::read(&scripts)?;
    let wanted = |name: &str| choice.only.iter().any(|part| name.contains(part.as_str()));
    let chosen: Vec<_> = all
        .iter()
        .filter(|program| choice.only.is_empty() || wanted(&program.name))
        .cloned()
        .collect();
    let boots: &[Boot] = match choice.quick {
        true => &[Boot::Instructions],
        false => &Boot::ALL,
    };
    let time = choice.time.places(places)?;
    let places = |boot| match boot {
        Boot::Instructions => places,
        Boot::Time => time.as_ref().unwrap_or(places),
    };
    let mut files = BTreeMap::new();
    for program in &all {
        for boot in Boot::ALL {
            let sum = kept::sum(&parts(places(boot), &scripts, &choice.built, program))?;
            files.extend(table::tests(&[boot], program).map(|test| (test, sum)));
        }
    }
    let mut kept = Kept::load(places(Boot::Time).build.join("programs.json"), files)?;
    let mut wrong = Vec::new();
    for &boot in boots.iter().filter(|_| !choice.again) {
        let root = root(places(boot), &scripts, &choice.built)?;
        let report = in_vm(options, places(boot), interrupt, &root, boot, &chosen)?;
        let (mut runs, mut others) = (BTreeMap::<_, Vec<Run>>::new(), Vec::new());
        for outcome in report.outcomes() {
            let test = in_any_run(&outcome.name);
            if kept.knows(test) {
                runs.entry(test).or_default().push(Run::new(outcome));
            } else if outcome.verdict == Verdict::Failed {
                others.push(format!("{}: {}", outcome.name, outcome.why.join("; ")));
            }
        }
        for (test, runs) in runs {
            kept.add(test, Run::of_several(runs));
        }
        // What ran in a machine that was not well says nothing later.
        if others.is_empty() {
            kept.write()?;
        }
        wrong.extend(others);
    }
    for &boot in boots.iter().filter(|_| wrong.is_empty()) {
        let whole = Table::new(&all, &[boot], |test| kept.run(test));
        if whole.good() {
            whole.keep(&top.join("Documentation/programs.rst"))?;
        }
    }
    Ok(Table::new(&chosen, boots, |test| kept.run(test)).with(wrong))
}

/// What the run of a program depends on, besides the programs of the system.
fn parts(places: &Places, scripts: &Path, built: &Path, program: &Program) -> Vec<PathBuf> {
    let mut parts = vec![
        places.kdir.join(".config"),
        places.modules.join(MODULE).join("rfutex.ko"),
        places.preload_library(),
        built.to_owned(),
        scripts.join("lib.sh"),
        scripts.join(format!("{}.sh", program.name)),
    ];
    let source = scripts.join("src").join(&program.name);
    parts.extend(Some(source).filter(|source| source.exists()));
    parts
}

/// Runs these programs in a machine, on all sides.
fn in_vm(
    options: &Options,
    places: &Places,
    interrupt: &Interrupt,
    root: &Root,
    boot: Boot,
    list: &[Program],
) -> Result<Report> {
    let limits = Limits {
        silence: Duration::from_secs(30 * 60),
        total: Duration::from_secs(4 * 60 * 60),
    };
    let mut session = options.session(places, interrupt, limits)?;
    match boot {
        Boot::Instructions => session.count_instructions(),
        Boot::Time => session.choose_accelerator(root)?,
    }
    // An emulated clock is reliable, but seems not to be when the host is slow.
    session.machine.append.push("tsc=reliable".to_owned());
    session.machine.memory = session.machine.memory.max(MEMORY);
    session.machine.shares.push(Share {
        host: PathBuf::from("/"),
        guest: HOST,
        writable: false,
    });
    let plan = Plan {
        limit: boot.limit(),
        stages: stages(boot, list, &places.programs)?,
        ..Plan::default()
    };
    let mut report = Report::default();
    let name = format!("programs-{}", boot.name().replace(' ', ""));
    session.run(root, &plan, &name, &mut report)?;
    Ok(report)
}

/// The guest's root.
fn root(places: &Places, scripts: &Path, built: &Path) -> Result<Root> {
    let root = places.root(&["rfutexctl"])?;
    places.add_preload(&root)?;
    add_all(&root, scripts, KEPT)?;
    add_all(&root, built, &format!("{KEPT}/built"))?;
    Ok(root)
}

/// Adds all files in a directory, and below it, to `to` in the guest.
fn add_all(root: &Root, dir: &Path, to: &str) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let to = format!("{to}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            add_all(root, &entry.path(), &to)?;
        } else {
            root.add_file(&entry.path(), &to)?;
        }
    }
    Ok(())
}

/// What the guest does in one boot.
fn stages(boot: Boot, list: &[Program], ours: &Path) -> Result<Vec<Stage>> {
    // What it leaves behind is there for the programs.
    let script = |name: &str, script: String| Stage::Peer {
        name: format!("{}/{name}", boot.name()),
        argv: ["/bin/sh", "-c", &script].map(str::to_owned).to_vec(),
        place: Place::default(),
        limit: boot.limit(),
    };
    let copy = format!(
        "set -e; cp -r {KEPT} {DIRECTORY}; cp /bin/rfutexctl /bin/librfutex_preload.so {DIRECTORY}; \
         chmod -R a+rX {DIRECTORY}; mkdir -m 755 {CACHE}"
    );
    let mut stages = vec![Stage::Boot, script("copy", copy)];
    for run in 0..boot.runs() {
        for (parameter, sides) in LOADS {
            let build = in_run(run, &format!("{}/{parameter}", boot.name()));
            stages.push(Stage::Load {
                build: build.clone(),
                module: guest_module(MODULE),
                installed: false,
                parameters: vec![parameter.to_owned()],
                suites: Vec::new(),
                without_suites: false,
            });
            // As everybody may call futex(2).
            let name = in_run(run, &format!("{parameter}/everybody"));
            stages.push(script(&name, "chmod 666 /dev/rfutex".to_owned()));
            // What is warm is warm in later runs.
            let warm = |side| run > 0 && side == Side::WarmUp;
            for program in list {
                for &side in sides.iter().filter(|&&side| !warm(side)) {
                    stages.push(Stage::Peer {
                        name: in_run(run, &test(boot, side, &program.name)),
                        argv: argv(side, &program.name),
                        place: place(side, ours)?,
                        limit: boot.limit(),
                    });
                }
            }
            stages.push(Stage::Unload { build });
        }
    }
    Ok(stages)
}

/// The command that runs a program, with all that its script runs.
fn argv(side: Side, program: &str) -> Vec<String> {
    let mut argv = Vec::new();
    if side.is_redirected() {
        argv.extend([
            format!("{DIRECTORY}/rfutexctl"),
            "run".to_owned(),
            "--require".to_owned(),
            "--".to_owned(),
        ]);
    }
    argv.extend(["/bin/bash".to_owned(), format!("{DIRECTORY}/{program}.sh")]);
    argv
}

/// What it finds around itself.
fn place(side: Side, ours: &Path) -> Result<Place> {
    let mut env = own::environment(ours)?;
    if side.is_redirected() {
        env.push(("RFUTEX_PRELOAD_STATS".to_owned(), "1".to_owned()));
        env.push(("RFUTEX_PRELOAD_CACHE".to_owned(), CACHE.to_owned()));
    }
    Ok(Place {
        host_root: Some(HostRoot::Overlay),
        env,
        ..Place::default()
    })
}
