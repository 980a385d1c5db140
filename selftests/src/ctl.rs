// SPDX-License-Identifier: GPL-2.0
//! `rfutexctl`, as a user has it: a program that is run and says something.

mod doctor;
mod examples;
mod list;
mod meet;
mod refused;
#[cfg(target_arch = "x86_64")]
mod run;
mod terminal;
mod top;
mod trace;

use crate::harness::{nr_waiters, until};
use crate::memory::{Region, file_in};
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The tests.
pub fn trials() -> Vec<libtest_mimic::Trial> {
    let parts = [
        meet::trials(),
        list::trials(),
        doctor::trials(),
        top::trials(),
        trace::trials(),
        refused::trials(),
        #[cfg(target_arch = "x86_64")]
        run::trials(),
        examples::trials(),
    ];
    parts.into_iter().flatten().collect()
}

/// The program.
const PROGRAM: &str = "/bin/rfutexctl";

/// What a program has said, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            status: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Said {
    /// What it has said, if it has succeeded and has not complained.
    #[track_caller]
    fn well(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (Some(0), ""), "{self:?}");
        self.out
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it with these arguments.
#[track_caller]
fn run(arguments: &[&str]) -> Said {
    let output = command(arguments).output();
    output
        .unwrap_or_else(|error| panic!("{PROGRAM}: {error}"))
        .into()
}

/// Starts it with these arguments. What it says can be had at the end.
#[track_caller]
fn start(arguments: &[&str]) -> Child {
    let mut command = command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect(PROGRAM)
}

/// Runs a shell script.
#[track_caller]
fn script(text: &str) -> Said {
    let output = Command::new("sh").args(["-c", text]).output();
    output.expect("sh").into()
}

/// What a program has said, which is JSON.
#[track_caller]
fn parse<T: DeserializeOwned>(text: &str) -> T {
    // Strings are unescaped there.
    let mut buffer = vec![0; text.len()];
    let parsed = serde_json_core::from_str_escaped(text, &mut buffer);
    let (value, _) = parsed.unwrap_or_else(|error| panic!("{error}: {text}"));
    value
}

/// A file in /dev/shm with a page of words that are zero. It is removed on drop.
#[derive(Debug)]
struct Shm {
    path: PathBuf,
    region: Region,
}

impl Shm {
    #[track_caller]
    fn new(name: &str) -> Self {
        let directory = Path::new("/dev/shm");
        let path = directory.join(name);
        let file = file_in(directory, name, crate::harness::PAGE);
        Self {
            region: Region::shared(file, 0, crate::harness::PAGE),
            path,
        }
    }

    /// How the command line names the word at `offset`.
    fn place(&self, offset: usize) -> String {
        format!("{}:{offset}", self.path.display())
    }

    /// Returns when `nr` wait on the word at `offset`.
    #[track_caller]
    fn until_queued(&self, offset: usize, nr: u32) {
        let word = self.region.word(offset);
        until("rfutexctl waits", || nr_waiters(word) == nr);
    }
}

impl Drop for Shm {
    fn drop(&mut self) {
        fs::remove_file(&self.path).expect("the file of the test");
    }
}
