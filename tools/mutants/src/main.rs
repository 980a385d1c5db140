// SPDX-License-Identifier: GPL-2.0
//! Breaks a copy of the module in one place at a time, and sees which test
//! notices. A change that none notices is a test that is missing.

mod boot;
mod build;
mod list;
mod litmus;
mod machine;
mod results;
mod table;
mod tree;
mod verdict;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use nix::fcntl::{Flock, FlockArg};

use build::{Batch, Builder};
use list::{List, Mutant};
use machine::Machine;
use results::Results;
use table::Table;
use tree::Tree;
use verdict::{Status, Verdict};

/// The name of the module as it is.
const UNCHANGED: &str = "unchanged";

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    /// The kernel's build directory
    #[arg(long, value_name = "DIR")]
    kdir: PathBuf,
    /// The checkout
    #[arg(long, value_name = "DIR")]
    top: PathBuf,
    /// The directory with our programs
    #[arg(long, value_name = "DIR")]
    programs: PathBuf,
    /// The directory that outlives the checkout
    #[arg(long, value_name = "DIR")]
    cache: PathBuf,
    /// Run only this mutant (may be given more than once)
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Forget the results of earlier runs
    #[arg(long)]
    fresh: bool,
    /// Run all tests of a mutant, not only until one fails
    #[arg(long)]
    all: bool,
    /// How many may share a machine
    #[arg(long, value_name = "N", default_value_t = 8)]
    batch: usize,
    /// Only see whether each change can still be made
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rfutex-mutants: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs all that is asked for. False if something is left to explain.
fn run(cli: &Cli) -> Result<bool> {
    let list = List::read(&cli.top.join("tools/mutants/list"))?;
    let chosen = list.chosen(&cli.only)?;
    let build = std::path::absolute(cli.top.join("build"))?;
    let work = build.join("mutants");
    let _lock = lock(&work)?;
    let mut tree = Tree::copy(&cli.top, &work.join("tree"))?;
    // All of them before the first is built: a stale one is found at once.
    let stale: Vec<_> = list
        .mutants()
        .iter()
        .filter_map(|mutant| Some(format!("{}: {:#}", mutant.id, tree.changed(mutant).err()?)))
        .collect();
    ensure!(
        stale.is_empty(),
        "the module is not what these are changes of\n{}",
        stale.join("\n")
    );
    if cli.check {
        println!("{} mutants, each can be made", list.mutants().len());
        return Ok(true);
    }
    let mut results = Results::read(&build.join("mutants.json"), cli.fresh)?;
    let builder = Builder::new(cli, &work)?;
    let machine = Machine::new(cli, &work);
    control(
        &tree,
        &builder,
        &machine,
        &list::tests(&chosen),
        &mut results,
    )?;

    let mut table = Table::new(&build.join("mutants.txt"), list.mutants().len());
    let mut left = Vec::new();
    for &mutant in &chosen {
        let known = results.get(&mutant.id, &key(cli, &tree, mutant)?);
        // A bad one may be different since: there may be another test.
        match known.filter(|verdict| verdict.judge(mutant).is_ok()) {
            Some(verdict) => table.add(mutant, verdict)?,
            None => left.push(mutant),
        }
    }
    for test in list::litmus_tests(&left) {
        ensure!(
            builder.litmus(test, UNCHANGED)?,
            "the litmus test {test} fails without any change, see {}",
            build::log(&work, UNCHANGED).display()
        );
    }
    // While the machine has some, the next are built.
    thread::scope(|scope| {
        let mut running = None;
        while running.is_some() || !left.is_empty() {
            let next = match next_batch(&mut left, cli.batch) {
                batch if batch.is_empty() => None,
                batch => Some(builder.prepare(&mut tree, batch)?),
            };
            if let Some(running) = running.take() {
                let running: thread::ScopedJoinHandle<'_, Result<Tried<'_>>> = running;
                let (batch, verdicts) = running.join().map_err(|_| anyhow!("a panic"))??;
                let mut known = BTreeSet::new();
                for (place, verdict) in verdicts {
                    let mutant = batch.mutants[place];
                    table.add(mutant, &verdict)?;
                    results.set(&mutant.id, key(cli, &tree, mutant)?, verdict)?;
                    known.insert(place);
                }
                let unknown = batch.mutants.into_iter().enumerate();
                let unknown = unknown.filter(|(place, _)| !known.contains(place));
                left.splice(0..0, unknown.map(|(_, mutant)| mutant));
            }
            running = next.map(|mut batch| {
                let machine = &machine;
                scope.spawn(move || {
                    let verdicts = machine.attempt(&mut batch)?;
                    Ok((batch, verdicts))
                })
            });
        }
        Ok(table.close())
    })
}

/// Keeps other runs from the tree, the objects and the results in this checkout,
/// until it is dropped.
fn lock(work: &Path) -> Result<Flock<File>> {
    fs::create_dir_all(work)?;
    let file = File::create(work.join("lock"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .or_else(|(file, _)| {
            eprintln!("waiting for another run in this checkout");
            Flock::lock(file, FlockArg::LockExclusive)
        })
        .map_err(|(_, error)| error)
        .context("locking build/mutants/")
}

/// Mutants that were tried, and what became of them by their places.
type Tried<'m> = (Batch<'m>, Vec<(usize, Verdict)>);

/// What a result is a result of.
fn key(cli: &Cli, tree: &Tree, mutant: &Mutant) -> Result<String> {
    let which = if cli.all { "all" } else { "first" };
    Ok(format!("{which}-{}", tree.key(mutant)?))
}

/// Takes out of `left` the next mutants that can share a machine: at least one,
/// if there is one.
fn next_batch<'m>(left: &mut Vec<&'m Mutant>, size: usize) -> Vec<&'m Mutant> {
    if left.is_empty() {
        return Vec::new();
    }
    let mut batch = vec![left.remove(0)];
    let mut place = 0;
    while batch[0].can_share() && batch.len() < size && place < left.len() {
        if left[place].can_share() {
            batch.push(left.remove(place));
        } else {
            place += 1;
        }
    }
    batch
}

/// The module as it is must pass every test that is to notice something.
fn control(
    tree: &Tree,
    builder: &Builder,
    machine: &Machine,
    tests: &[String],
    results: &mut Results,
) -> Result<()> {
    let key = tree.key_of_all()?;
    let name = |test: &String| format!("{UNCHANGED} {test}");
    let new = |test: &&String| results.get(&name(test), &key).is_none();
    let tests: Vec<_> = tests.iter().filter(new).cloned().collect();
    if tests.is_empty() && results.get(UNCHANGED, &key).is_some() {
        return Ok(());
    }
    println!("the module unchanged: KUnit and {} selftests", tests.len());
    builder.unchanged(tree, UNCHANGED)?;
    let verdict = machine.unchanged(UNCHANGED, &tests)?;
    ensure!(
        verdict.status == Status::Survived,
        "the module fails without any change: {}",
        verdict.by.join(", ")
    );
    for test in &tests {
        results.set(&name(test), key.clone(), verdict.clone())?;
    }
    results.set(UNCHANGED, key, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_crash_is_alone() {
        let mutant = |id: &str, fatal| Mutant {
            id: id.to_owned(),
            row: String::new(),
            what: String::new(),
            edits: vec![],
            tests: vec![],
            litmus: None,
            fatal,
            alone: false,
            survives: None,
        };
        let all = [
            mutant("a", false),
            mutant("b", true),
            mutant("c", false),
            mutant("d", false),
        ];
        let mut left: Vec<_> = all.iter().collect();
        let mut ids = || {
            next_batch(&mut left, 2)
                .iter()
                .map(|m| m.id.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(), ["a", "c"]);
        assert_eq!(ids(), ["b"]);
        assert_eq!(ids(), ["d"]);
    }
}
