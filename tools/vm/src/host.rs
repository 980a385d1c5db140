// SPDX-License-Identifier: GPL-2.0
//! The tests that need no VM: those of the programs and of the set-up.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rfutex_guest::event::{Outcome, Verdict};
use rfutex_guest::trial;

use crate::report::Report;
use crate::root::find_program;

/// Our programs that a user of the VM may want at hand.
pub const PROGRAMS: &[&str] = &["rfutex-selftests", "rfutex-demo"];

/// The target that programs for the VM are built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds all test programs of the workspace and returns where they are.
fn build(tools: &Path) -> Result<Vec<PathBuf>> {
    let built = Command::new("cargo")
        .args([
            "test",
            "--workspace",
            "--locked",
            "--no-run",
            "--target",
            TARGET,
        ])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(tools)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo cannot be run")?;
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

/// Runs all of them, a line each.
pub fn run(top: &Path, limit: Duration, report: &mut Report) -> Result<()> {
    for program in build(&top.join("tools"))? {
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
            self::test(&mut command, name, limit, report, |output| {
                trial::parse_result(output) == Some((1, 0))
            })?;
        }
    }
    Ok(())
}

/// Runs one test. It passes if `command` ends well within `limit`, and its
/// output is as it should be.
pub fn test(
    command: &mut Command,
    name: String,
    limit: Duration,
    report: &mut Report,
    as_it_should: impl FnOnce(&str) -> bool,
) -> Result<()> {
    report.started(name.clone());
    let ended = trial::run(command, limit, None)?;
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
    let why: Vec<_> = ["description", "license", "author", "parm"]
        .iter()
        .filter(|field| !tells(field))
        .map(|field| format!("modinfo shows no {field}"))
        .collect();
    let verdict = if why.is_empty() {
        Verdict::Passed
    } else {
        Verdict::Failed
    };
    let name = "host/modinfo".to_owned();
    Ok(report.ended(Outcome {
        name,
        verdict,
        seconds: 0.0,
        why,
        splats: Vec::new(),
        log: text,
    })?)
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
