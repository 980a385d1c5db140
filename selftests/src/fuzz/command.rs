// SPDX-License-Identifier: GPL-2.0
//! `rfutex-selftests fuzz`.

use super::corpus::Corpus;
use super::flags::Flags;
use super::input::Input;
use super::mutate::{fresh, mutated};
use super::player::{Player, Wrong};
use super::shrink::shrink;
use crate::oracle::{Conductor, PAIR, on_processors};
use clap::Parser;
use fastrand::Rng;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often it says how far it is.
const OFTEN: Duration = Duration::from_secs(10);

/// How long an input that fails may be made smaller.
const SHRINKING: Duration = Duration::from_secs(180);

/// Look for inputs that reach what nothing has reached, in the instrumented module
#[derive(Parser)]
#[command(bin_name = "rfutex-selftests fuzz")]
struct Options {
    /// For how long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the corpus is
    #[arg(long, value_name = "DIR", required_unless_present = "replay")]
    dir: Option<PathBuf>,
    /// What inputs are drawn from
    #[arg(long)]
    seed: Option<u64>,
    /// Play the input in this file, and nothing else
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
}

/// Does what the arguments say, which follow the word `fuzz`.
pub fn command(arguments: impl Iterator<Item = String>) -> ExitCode {
    let options = Options::parse_from(arguments);
    // It runs in a process that has one processor for itself, and that panics if it fails.
    on_processors(1, |_, conductor| {
        let result = match (&options.replay, &options.dir) {
            (Some(file), _) => replay(conductor, file),
            (None, Some(dir)) => {
                let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
                println!("seed {seed}");
                let until = Instant::now() + Duration::from_secs(options.seconds);
                fuzz(conductor, dir, seed, until)
            }
            (None, None) => unreachable!("clap wants one of them"),
        };
        if let Err(error) = result {
            panic!("{error}");
        }
    });
    ExitCode::SUCCESS
}

fn replay(conductor: &mut Conductor, file: &Path) -> io::Result<()> {
    let input = Input::parse(&fs::read_to_string(file)?).map_err(io::Error::other)?;
    let mut player = Player::new(conductor, PAIR)?;
    player
        .play(&input)
        .map_err(|wrong| io::Error::other(wrong.to_string()))?;
    println!("nothing is wrong");
    Ok(())
}

/// Plays inputs for so long.
fn fuzz(conductor: &mut Conductor, dir: &Path, seed: u64, until: Instant) -> io::Result<()> {
    let mut flags = Flags::open()
        .map_err(|error| io::Error::other(format!("no instrumented module: {error}")))?;
    let (mut corpus, kept) = Corpus::open(dir)?;
    let mut player = Player::new(conductor, PAIR)?;
    let mut progress = Progress::new();
    for (path, input) in kept {
        if !attempt(&mut player, &mut flags, &corpus, &input)? {
            // The others reach as much.
            fs::remove_file(path)?;
            continue;
        }
        corpus.add(input);
        progress.tell(&corpus, &flags);
    }
    println!("the corpus has {} inputs", corpus.inputs().len());
    let mut rng = Rng::with_seed(seed);
    while Instant::now() < until {
        let inputs = corpus.inputs();
        let input = if inputs.is_empty() || rng.u8(..8) == 0 {
            fresh(&mut rng)
        } else {
            // What was found last has been tried the least.
            let recent = inputs.len().saturating_sub(rng.usize(1..=inputs.len()));
            let from = rng.usize(recent..inputs.len());
            let other = rng.usize(..inputs.len());
            mutated(&mut rng, &inputs[from], &inputs[other])
        };
        if attempt(&mut player, &mut flags, &corpus, &input)? {
            corpus.keep(input)?;
        }
        progress.inputs += 1;
        progress.tell(&corpus, &flags);
    }
    progress.say(&corpus, &flags);
    if corpus.inputs().is_empty() {
        return Err(io::Error::other("no input has reached anything"));
    }
    corpus.close()
}

/// Plays an input. Whether it reached something new.
///
/// # Errors
///
/// It failed. It is kept, small.
fn attempt(
    player: &mut Player<'_>,
    flags: &mut Flags,
    corpus: &Corpus,
    input: &Input,
) -> io::Result<bool> {
    corpus.runs(input)?;
    let Err(first) = player.play(input) else {
        return Ok(flags.look()? > 0);
    };
    // The machine may not live long enough to make it small.
    corpus.found(input, &first.to_string())?;
    println!("{first}\n{}", input.text());
    let (small, last) = made_small(player, input, first);
    corpus.found(&small, &last.to_string())?;
    Err(io::Error::other(format!(
        "made small:\n{}\n{last}",
        small.text()
    )))
}

/// The smallest input that fails as this one did, and how.
fn made_small(player: &mut Player<'_>, input: &Input, first: Wrong) -> (Input, Wrong) {
    if matches!(first, Wrong::Hangs(_)) {
        // Its threads are lost.
        return (input.clone(), first);
    }
    let (start, mut last, mut stuck) = (Instant::now(), first, false);
    let small = shrink(input, |input| {
        if stuck || start.elapsed() > SHRINKING {
            return false;
        }
        match player.play(input) {
            Err(Wrong::Hangs(_)) => {
                stuck = true;
                false
            }
            Err(wrong) if wrong.is_like(&last) => {
                last = wrong;
                true
            }
            _ => false,
        }
    });
    (small, last)
}

/// How far it is.
struct Progress {
    start: Instant,
    told: Instant,
    inputs: u64,
}

impl Progress {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            told: now,
            inputs: 0,
        }
    }

    fn tell(&mut self, corpus: &Corpus, flags: &Flags) {
        if self.told.elapsed() >= OFTEN {
            self.told = Instant::now();
            self.say(corpus, flags);
        }
    }

    fn say(&self, corpus: &Corpus, flags: &Flags) {
        println!(
            "{} s, {} inputs, {} kept, {} of {} blocks reached",
            self.start.elapsed().as_secs(),
            self.inputs,
            corpus.inputs().len(),
            flags.seen(),
            flags.all()
        );
    }
}
