// SPDX-License-Identifier: GPL-2.0
//! What runs as a program of its own: a longer storm, and a program that a member becomes.

use super::{DIED, WAITERS, load, storm};
use clap::{Parser, Subcommand};
use rfutex::sync::Member;
use rfutex::{Arena, Table};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;

/// Robust words.
#[derive(Parser)]
#[command(name = "rfutex-selftests robust")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Kills processes that use a lock
    Kill {
        /// How many
        #[arg(long, default_value_t = 10_000)]
        kills: u32,
    },
    /// Joins, and checks that the words of an earlier program are marked by then
    Join {
        /// The descriptor of the table
        fd: i32,
    },
}

/// Runs what the arguments say.
pub fn command(args: impl Iterator<Item = String>) -> ExitCode {
    match Cli::parse_from(args).command {
        Command::Kill { kills } => storm::kill(kills),
        Command::Join { fd } => {
            // SAFETY: Whoever has started this program has left the descriptor to it.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            let arena = Arena::map(Table::try_from(fd).expect("a table")).expect("it is mapped");
            Member::join(&arena).expect("it joins");
            let words = [0, 1].map(|nr| load(&arena, nr));
            assert_eq!(words, [DIED, WAITERS | DIED]);
        }
    }
    ExitCode::SUCCESS
}
