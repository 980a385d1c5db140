// SPDX-License-Identifier: GPL-2.0
//! Shows the main job of rfutex: which threads meet on a word, and which do not.
//!
//! Every line marked ok was checked. The exit status is zero if all checks passed.

mod meeting;
mod memory;
mod scenes;
mod screen;
mod waiter;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use rfutex::{Rfutex, Word};
use screen::Screen;
use std::fs;
use std::process::ExitCode;
use std::sync::atomic::AtomicU32;

/// Shows what rfutex does, on this machine, and checks what it shows.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Option<Cmd>,
}

#[derive(Subcommand)]
enum Cmd {
    /// The other process of the first scene.
    #[command(hide = true)]
    WaitInProcess(scenes::ProcessArgs),
}

/// Fails where the module will not tell everything that the scenes show.
fn check_rights(rfutex: &Rfutex) -> Result<()> {
    let memory = AtomicU32::new(0);
    let info = rfutex.key_info(Word::new(&memory)).context("KEY_INFO")?;
    info.folio.map(drop).context(
        "the module does not tell on what page a word lies: \
         run this as root, and load the module with its default resolver",
    )
}

/// Says where this runs.
fn introduce(screen: &Screen, rfutex: &Rfutex) -> Result<()> {
    let query = rfutex.query().context("QUERY")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let cpu = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, name)| name);
    screen.title(&format!("rfutex on Linux {}", kernel.trim()));
    screen.say(&format!(
        "/dev/rfutex, interface version {}, {} buckets.\nProcessor: {cpu}.",
        query.version, query.nr_buckets
    ));
    if cpu.contains("TCG") {
        screen.say("It is emulated: everything takes many times as long as on a real one.");
    }
    screen.say(
        "\nA thread sleeps while a word of its memory has a value. Another changes the\n\
         word and wakes it. They meet if the module finds the same key for their\n\
         addresses. In each scene one thread sleeps and one wakes it. The table shows\n\
         what each of them sees.",
    );
    Ok(())
}

fn run() -> Result<ExitCode> {
    if let Some(Cmd::WaitInProcess(args)) = Args::parse().command {
        scenes::wait_in_process(&args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rfutex = Rfutex::open().context("/dev/rfutex (is the module loaded?)")?;
    check_rights(&rfutex)?;
    let mut screen = Screen::default();
    introduce(&screen, &rfutex)?;
    for scene in [scenes::processes, scenes::private, scenes::huge] {
        if let Err(error) = scene(&mut screen, &rfutex) {
            screen.check(false, &format!("the scene ended early: {error:#}"));
        }
    }
    Ok(screen.finish())
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("rfutex-demo: {error:#}");
        ExitCode::FAILURE
    })
}
