// SPDX-License-Identifier: GPL-2.0
//! Breaks a copy of the module in one place at a time, and sees which test
//! notices. A change that none notices is a test that is missing.

mod build;
mod list;
mod results;
mod tree;
mod verdict;

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
    let builder = Builder::new(cli, &work)?;

    let key = tree.key_of_all(&list::tests(&chosen))?;
    if results.get("unchanged", &key).is_none() {
        let verdict = control(&builder, &chosen)?;
        results.set("unchanged", key, verdict)?;
    }
    for (number, &mutant) in chosen.iter().enumerate() {
        let key = tree.key(mutant)?;
        let verdict = match results.get(&mutant.id, &key) {
            Some(verdict) => verdict.clone(),
            None => {
                let verdict = tree.with(mutant, || builder.attempt(mutant))?;
                results.set(&mutant.id, key, verdict.clone())?;
                verdict
            }
        };
        println!(
            "{:3}/{} {}",
            number + 1,
            chosen.len(),
            line(mutant, &verdict)
        );
    }
    Ok(close(&chosen, &results))
}

/// The module as it is must pass every test that is to notice something.
fn control(builder: &Builder, chosen: &[&Mutant]) -> Result<Verdict> {
    let tests = list::tests(chosen);
    println!(
        "        the module unchanged, with all {} tests or groups of them",
        tests.len()
    );
    let verdict = builder.unchanged(&tests)?;
    ensure!(
        verdict.status == Status::Survived,
        "the module fails without any change: {}; see {}",
        verdict.by.join(", "),
        builder.log("unchanged").display()
    );
    Ok(verdict)
}

/// What became of one mutant.
fn line(mutant: &Mutant, verdict: &Verdict) -> String {
    let word = match verdict.judge(mutant) {
        Ok(word) | Err(word) => word,
    };
    let mut text = format!("{word:9} {:30} {}", mutant.id, mutant.what);
    if !verdict.by.is_empty() {
        text += &format!("\n{:20}by {}", "", verdict.by.join(", "));
    }
    if let Some(reason) = &mutant.survives {
        text += &format!("\n{:20}because {reason}", "");
    }
    text
}

/// Prints what is left to explain, and the totals.
fn close(chosen: &[&Mutant], results: &Results) -> bool {
    let mut counts = std::collections::BTreeMap::new();
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
