// SPDX-License-Identifier: GPL-2.0
//! Breaks a copy of the module in one place at a time, and sees which test
//! notices. A change that none notices is a test that is missing.

mod boot;
mod build;
mod list;
mod results;
mod tree;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use build::Builder;
use list::{List, Mutant};
use results::Results;
use tree::Tree;
use verdict::{Status, Verdict};

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
    let mut tree = Tree::copy(&cli.top, &work.join("tree"))?;
    // All of them before the first is built: a stale one is found at once.
    for mutant in list.mutants() {
        tree.changed(mutant).with_context(|| mutant.id.clone())?;
    }
    if cli.check {
        println!("{} mutants, each can be made", list.mutants().len());
        return Ok(true);
    }
    let path = build.join("mutants.json");
    let mut results = Results::read(&path, cli.fresh)?;
    let mut builder = Builder::new(cli, &work)?;
    control(&tree, &mut builder, &list::tests(&chosen), &mut results)?;

    let mut left = Vec::new();
    for &mutant in &chosen {
        match results.get(&mutant.id, &tree.key(mutant)?) {
            Some(verdict) => println!("{}", line(mutant, verdict)),
            None => left.push(mutant),
        }
    }
    while !left.is_empty() {
        let batch = next_batch(&mut left, cli.batch);
        let verdicts = builder.attempt(&mut tree, &batch)?;
        let mut known = BTreeSet::new();
        for (place, verdict) in verdicts {
            let mutant = batch[place];
            println!("{}", line(mutant, &verdict));
            results.set(&mutant.id, tree.key(mutant)?, verdict)?;
            known.insert(place);
        }
        let unknown = batch
            .into_iter()
            .enumerate()
            .filter(|(place, _)| !known.contains(place));
        left.splice(0..0, unknown.map(|(_, mutant)| mutant));
    }
    Ok(close(&chosen, &results))
}

/// Takes out of `left` the next mutants that can share a machine: at least one.
fn next_batch<'m>(left: &mut Vec<&'m Mutant>, size: usize) -> Vec<&'m Mutant> {
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
    builder: &mut Builder,
    tests: &[String],
    results: &mut Results,
) -> Result<()> {
    let key = tree.key_of_all()?;
    let name = |test: &String| format!("unchanged {test}");
    let new = |test: &&String| results.get(&name(test), &key).is_none();
    let tests: Vec<_> = tests.iter().filter(new).cloned().collect();
    if tests.is_empty() && results.get("unchanged", &key).is_some() {
        return Ok(());
    }
    println!("        the module unchanged: KUnit {}", tests.join(" "));
    let verdict = builder.unchanged(&tests)?;
    ensure!(
        verdict.status == Status::Survived,
        "the module fails without any change: {}; see {}",
        verdict.by.join(", "),
        builder.log("unchanged").display()
    );
    for test in &tests {
        results.set(&name(test), key.clone(), verdict.clone())?;
    }
    results.set("unchanged", key, verdict)
}

/// What became of one mutant.
fn line(mutant: &Mutant, verdict: &Verdict) -> String {
    let word = match verdict.judge(mutant) {
        Ok(word) | Err(word) => word,
    };
    let mut text = format!("{word:9} {:30} {}", mutant.id, mutant.what);
    if !verdict.by.is_empty() {
        text += &format!("\n{:10}by {}", "", verdict.by.join(", "));
    }
    if let Some(reason) = &mutant.survives {
        text += &format!("\n{:10}because {reason}", "");
    }
    text
}

/// Prints what is left to explain, and the totals.
fn close(chosen: &[&Mutant], results: &Results) -> bool {
    let mut counts = BTreeMap::new();
    let mut bad = Vec::new();
    for mutant in chosen {
        let Some(verdict) = results.last(&mutant.id) else {
            continue;
        };
        let word = match verdict.judge(mutant) {
            Ok(word) => word,
            Err(word) => {
                bad.push(format!("{word}: {}", mutant.id));
                word
            }
        };
        *counts.entry(word).or_insert(0) += 1;
    }
    for line in &bad {
        println!("{line}");
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    println!("{}", counts.join(", "));
    bad.is_empty()
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
