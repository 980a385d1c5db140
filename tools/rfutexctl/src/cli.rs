// SPDX-License-Identifier: GPL-2.0
//! The command line. The man pages and the completions are made from it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::examples;
use crate::filter;
use crate::place::{self, Place};

/// What the exit status says, in every man page.
pub const STATUS: &str = "\
0: it was done (wait: woken).
1: it failed, and standard error has the reason in one sentence.
2: the command line is wrong.
3: wait, store --if: the word has another value. doctor: something looks wrong.
4: wait: the time is over.
run has the exit status of the program; and, as env has it, 127: there is no such program,
126: it cannot be run on rfutex, 125: rfutex or its library cannot be used.";

/// See who waits in rfutex, and wait and wake from shell scripts
#[derive(Clone, Debug, Parser)]
#[command(
    name = "rfutexctl",
    version,
    max_term_width = 100,
    subcommand_required = true,
    after_help = format!("Exit status:\n{STATUS}")
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show what the loaded module is, its parameters, its tables and how many wait
    #[command(after_help = examples::STATUS)]
    Status,
    /// Show who waits, the longest first
    ///
    /// KIND tells with whom a waiter meets: on a private or mm word with threads of its process only,
    /// on an inode word with all who map the file, on an arena word with all who have the table.
    #[command(after_help = examples::LIST)]
    List(List),
    /// Watch who waits
    #[command(after_help = examples::TOP)]
    Top(Top),
    /// Find what looks wrong, and say why
    #[command(after_help = examples::DOCTOR)]
    Doctor(Doctor),
    /// Show what identifies a word
    #[command(after_help = examples::KEY)]
    Key(Key),
    /// Show waits and wakes as they happen
    #[command(after_help = examples::TRACE)]
    Trace(Trace),
    /// Run a program whose locks and waits go to rfutex instead of futex(2)
    ///
    /// The program must be linked dynamically with glibc on x86-64. Its own calls of futex and those
    /// of its libraries, the C library's locks among them, are redirected; so are those of programs
    /// that it starts. Documentation/preload.rst says what waits where.
    #[command(after_help = examples::RUN)]
    Run(Run),
    /// Wait while a word of a file has a value
    #[command(after_help = examples::WAIT)]
    Wait(Wait),
    /// Wake those who wait on a word of a file, and print how many
    #[command(after_help = examples::WAKE)]
    Wake(Wake),
    /// Change a word of a file
    #[command(after_help = examples::STORE)]
    Store(Store),
    /// Print the value of a word of a file
    #[command(after_help = examples::LOAD)]
    Load(SizedWord),
    /// Print what a shell needs to complete these commands
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the man pages into a directory
    #[command(hide = true)]
    Man {
        /// The directory
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

/// Options of `list`.
#[derive(Args, Clone, Debug, Default)]
pub struct List {
    #[command(flatten)]
    pub filter: filter::Options,
    /// Print JSON: an array with an object for each waiter
    #[arg(long)]
    pub json: bool,
}

/// Options of `top`.
#[derive(Args, Clone, Debug)]
pub struct Top {
    #[command(flatten)]
    pub filter: filter::Options,
    /// How often to look, in seconds
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = place::time)]
    pub interval: Duration,
}

/// Options of `doctor`.
#[derive(Args, Clone, Debug, Default)]
pub struct Doctor {
    /// Compare the words of those who have waited this long with what they waited for
    #[arg(long, value_name = "TIME", default_value = "10", value_parser = place::time)]
    pub older_than: Duration,
    /// Print JSON: an array with an object for each finding
    #[arg(long)]
    pub json: bool,
}

/// Options of `key`.
#[derive(Args, Clone, Debug)]
pub struct Key {
    /// The word: a place in a file, or with --pid a hexadecimal address
    #[arg(value_name = "FILE:OFFSET|ADDR")]
    pub word: String,
    /// The process in which the address is
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
}

/// Options of `trace`.
#[derive(Args, Clone, Debug, Default)]
pub struct Trace {
    /// Only what this process or thread does, or threads with this name
    #[arg(long, short, value_name = "PID|NAME", value_parser = filter::ProcessIs::parse)]
    pub process: Option<filter::ProcessIs>,
    /// Only this event, such as rfutex_wake (may be given more than once)
    #[arg(long, short, value_name = "EVENT")]
    pub event: Vec<String>,
    /// End after so many events
    #[arg(long, short = 'n', value_name = "N")]
    pub count: Option<u64>,
}

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// Say on standard error what is redirected and what is not, and at the end what was called
    #[arg(long)]
    pub report: bool,
    /// End the program, or one that it starts, rather than have it wait elsewhere
    ///
    /// Without it, a program that cannot be redirected, or that loses the device before it has used
    /// it, goes on with futex(2).
    #[arg(long)]
    pub require: bool,
    /// The library that redirects, if it is not where it is installed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub library: Option<PathBuf>,
    /// The program and its arguments
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true,
          value_hint = ValueHint::CommandWithArguments)]
    pub program: Vec<OsString>,
}

/// A word, and the options of `load`.
#[derive(Args, Clone, Debug)]
pub struct SizedWord {
    /// The word
    #[arg(value_name = "FILE:OFFSET", value_parser = Place::parse)]
    pub place: Place,
    /// The size of the word in bytes: 1, 2, 4 or 8
    #[arg(long, short, default_value = "4", value_parser = place::size)]
    pub size: u32,
}

/// Options of `wait`.
#[derive(Args, Clone, Debug)]
pub struct Wait {
    #[command(flatten)]
    pub word: SizedWord,
    /// Wait while the word has this value
    #[arg(value_parser = place::number)]
    pub value: u64,
    /// Give up after this time: seconds, or with a unit such as 100ms or 2h
    #[arg(long, short, value_name = "TIME", value_parser = place::time)]
    pub timeout: Option<Duration>,
    /// Only wakes whose mask shares a bit with this one
    #[arg(long, short, default_value = "0xffffffffffffffff", value_parser = place::number)]
    pub mask: u64,
    /// Wait as threads do that meet in one process only (RFUTEX_WORD_PRIVATE). Nobody else can
    /// wake this waiter: it is there to see what `list` and `doctor` say of that mistake
    #[arg(long)]
    pub private: bool,
}

/// Options of `wake`.
#[derive(Args, Clone, Debug)]
pub struct Wake {
    /// The word
    #[arg(value_name = "FILE:OFFSET", value_parser = Place::parse)]
    pub place: Place,
    /// How many to wake at most: a number, or "all"
    #[arg(value_name = "N", default_value = "all", value_parser = count)]
    pub nr: u32,
    /// Only waiters whose mask shares a bit with this one
    #[arg(long, short, default_value = "0xffffffffffffffff", value_parser = place::number)]
    pub mask: u64,
}

/// Options of `store`.
#[derive(Args, Clone, Debug)]
pub struct Store {
    #[command(flatten)]
    pub word: SizedWord,
    /// The new value
    #[arg(value_parser = place::number)]
    pub value: u64,
    /// Only if the word has this value: one atomic step
    #[arg(long = "if", value_name = "VALUE", value_parser = place::number)]
    pub current: Option<u64>,
    /// Make the file, or make it longer, if the word is not there
    #[arg(long)]
    pub create: bool,
    /// Wake those who wait there, and print how many; with =N so many at most
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true,
          default_missing_value = "all", value_parser = count)]
    pub wake: Option<u32>,
}

/// Parses how many are woken: a number, or `all`.
fn count(text: &str) -> Result<u32, String> {
    match text {
        "all" => Ok(u32::MAX),
        _ => u32::try_from(place::number(text)?).map_err(|_| "it is too many".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = ["rfutexctl"].into_iter().chain(line.split(' '));
        Cli::try_parse_from(words).map(|cli| cli.command)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn waits_have_defaults_and_options() {
        let Ok(Command::Wait(wait)) = parse("wait /dev/shm/a:4 0x10") else {
            panic!()
        };
        assert_eq!((wait.value, wait.word.size, wait.mask), (16, 4, u64::MAX));
        assert_eq!((wait.timeout, wait.private), (None, false));
        let Ok(Command::Wait(wait)) = parse("wait a:8 1 --size 8 --timeout 100ms --mask 2") else {
            panic!()
        };
        assert_eq!((wait.word.size, wait.mask), (8, 2));
        assert_eq!(wait.timeout, Some(Duration::from_millis(100)));
    }

    #[test]
    fn wakes_are_of_all_or_of_some() {
        for (line, nr) in [
            ("wake a:0", u32::MAX),
            ("wake a:0 3", 3),
            ("wake a:0 all", u32::MAX),
        ] {
            let Ok(Command::Wake(wake)) = parse(line) else {
                panic!("{line}")
            };
            assert_eq!(wake.nr, nr, "{line}");
        }
        for (line, nr) in [
            ("store a:0 1", None),
            ("store a:0 1 --wake", Some(u32::MAX)),
            ("store --wake=2 a:0 1", Some(2)),
            ("store --wake a:0 1", Some(u32::MAX)),
        ] {
            let Ok(Command::Store(store)) = parse(line) else {
                panic!("{line}")
            };
            assert_eq!(store.wake, nr, "{line}");
        }
    }

    #[test]
    fn programs_keep_their_options() {
        for line in ["run --report -- ls -l --all", "run --report ls -l --all"] {
            let Ok(Command::Run(run)) = parse(line) else {
                panic!("{line}")
            };
            assert_eq!((run.report, run.require), (true, false), "{line}");
            assert_eq!(run.program, ["ls", "-l", "--all"], "{line}");
        }
    }

    #[test]
    fn what_is_wrong_has_exit_status_2() {
        for line in [
            "wait",
            "wait a:0",
            "wait a 0",
            "wait a:0 0 --size 3",
            "wake a:0 4294967296",
            "list --older-than soon",
            "nonsense",
            "run",
            "run --report",
            "run --nonsense ls",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
