// SPDX-License-Identifier: GPL-2.0
//! The tests that need no VM: those of the programs and of the set-up.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rfutex_guest::event::{Outcome, Verdict};
use rfutex_guest::trial;

use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::root::find_program;

/// Our programs that a user of the VM may want at hand.
pub const PROGRAMS: &[&str] = &["rfutex-selftests", "rfutex-demo", "rfutexctl"];

/// The target that programs for the VM are built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A command of cargo that is about the tests of the workspace in `tools`.
fn cargo_test(tools: &Path) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["test", "--workspace", "--locked", "--target", TARGET])
        .current_dir(tools);
    command
}

/// Builds all test programs of the workspace and returns where they are.
fn build(tools: &Path, interrupt: &Interrupt) -> Result<Vec<PathBuf>> {
    let mut cargo = cargo_test(tools);
    cargo
        .args(["--no-run", "--message-format=json-render-diagnostics"])
        .stdin(Stdio::null());
    let built = interrupt.output(&mut cargo, true)?;
    ensure!(built.status.success(), "the tests of tools/ do not build");
    let messages = String::from_utf8_lossy(&built.stdout).into_owned();
    let programs = test_programs(&messages);
    ensure!(!programs.is_empty(), "cargo names no test program");
    Ok(programs)
}

/// The test programs among what cargo says that it has built, a line of JSON each.
fn test_programs(messages: &str) -> Vec<PathBuf> {
    let program = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_test = message["profile"]["test"].as_bool()?;
        let file = message["executable"].as_str().filter(|_| is_test)?;
        Some(PathBuf::from(file))
    };
    messages.lines().filter_map(program).collect()
}

/// Runs all of them, a line each, and the examples in the crates' documentation.
pub fn run(top: &Path, limit: Duration, interrupt: &Interrupt, report: &mut Report) -> Result<()> {
    let tools = top.join("tools");
    for program in build(&tools, interrupt)? {
        let list = trial::run(Command::new(&program).arg("--list"), limit, None)?;
        ensure!(
            list.well(),
            "{} --list failed:\n{}",
            program.display(),
            list.output
        );
        for test in trial::parse_list(&list.output) {
            let name = format!("host/{}/{}", stem(&program), test.name);
            let mut command = Command::new(&program);
            command.args(["--exact", &test.name]).env("RFUTEX_TOP", top);
            self::test(&mut command, name, limit, interrupt, report, |output| {
                trial::parse_result(output) == Some((1, 0))
            })?;
        }
    }
    examples(&tools, limit, interrupt, report)
}

/// Builds the examples in the crates' documentation, and runs those that need no device.
fn examples(
    tools: &Path,
    limit: Duration,
    interrupt: &Interrupt,
    report: &mut Report,
) -> Result<()> {
    let mut command = cargo_test(tools);
    command.arg("--doc");
    test(
        &mut command,
        "host/examples".to_owned(),
        limit,
        interrupt,
        report,
        |output| {
            let results: Vec<_> = output.lines().filter_map(trial::parse_result).collect();
            results.iter().any(|(passed, _)| *passed > 0)
                && results.iter().all(|(_, ignored)| *ignored == 0)
        },
    )
}

/// Runs one test. It passes if `command` ends well within `limit`, and its
/// output is as it should be.
pub fn test(
    command: &mut Command,
    name: String,
    limit: Duration,
    interrupt: &Interrupt,
    report: &mut Report,
    as_it_should: impl FnOnce(&str) -> bool,
) -> Result<()> {
    report.started(name.clone());
    let ended = trial::run_unless(command, limit, None, Some(&|| interrupt.came()))?;
    interrupt.check()?;
    let good = ended.well() && as_it_should(&ended.output);
    Ok(report.ended(Outcome {
        name,
        verdict: if good {
            Verdict::Passed
        } else {
            Verdict::Failed
        },
        seconds: ended.took.as_secs_f64(),
        why: ended.wrong,
        splats: Vec::new(),
        log: if good { String::new() } else { ended.output },
    })?)
}

/// Looks whether a module tells a user what it is.
pub fn modinfo(module: &Path, report: &mut Report) -> Result<()> {
    let mut command = Command::new(find_program("modinfo")?);
    let output = command
        .arg(module)
        .output()
        .context("modinfo cannot be run")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tells = |field: &str| {
        text.lines().any(|line| {
            line.split_once(':')
                .is_some_and(|(name, value)| name == field && !value.trim().is_empty())
        })
    };
    let wrong: Vec<_> = ["description", "license", "author", "parm"]
        .iter()
        .filter(|field| !tells(field))
        .map(|field| format!("modinfo shows no {field}"))
        .collect();
    Ok(report.judged("host/modinfo".to_owned(), 0.0, wrong, text)?)
}

/// A test program's name without the hash that cargo puts behind it.
fn stem(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('-')
        .map_or(&*name, |(stem, _)| stem)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_are_run() {
        let line = |test: bool| {
            format!(r#"{{"profile":{{"test":{test}}},"executable":"/x/deps/a-{test}"}}"#)
        };
        let messages = format!("{}\n{}\nnonsense\n{{}}\n", line(true), line(false));
        assert_eq!(test_programs(&messages), [Path::new("/x/deps/a-true")]);
    }

    #[test]
    fn the_hash_goes() {
        assert_eq!(stem(Path::new("/x/deps/rfutex_vm-0123abcd")), "rfutex_vm");
    }
}
