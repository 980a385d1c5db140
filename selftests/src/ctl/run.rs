// SPDX-License-Identifier: GPL-2.0
//! `rfutexctl run`: programs on rfutex, and those that cannot be.

use super::{PROGRAM, Said, command};
use crate::harness::UnloadedModule;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

trials![
    locks_are_on_the_device,
    arguments_and_status_are_the_programs,
    missing_programs,
    programs_that_cannot_be_run,
    without_the_module,
    without_permission,
    libraries
];

/// A program that is linked dynamically, and waits by way of the C library.
const THREADS: &str = "/programs/pthreads";

/// Runs `rfutexctl run` with these arguments.
#[track_caller]
fn run(arguments: &[&str]) -> Said {
    said(command(&[&["run"], arguments].concat()))
}

#[track_caller]
fn said(mut command: Command) -> Said {
    Said::from(command.output().expect(PROGRAM))
}

/// It did not run: one sentence says why, and the exit status.
#[track_caller]
fn refused(said: &Said, status: i32, why: &str) {
    assert_eq!(
        (said.status, said.out.as_str()),
        (Some(status), ""),
        "{said:?}"
    );
    assert_eq!(said.err.lines().count(), 1, "{said:?}");
    assert!(said.err.starts_with("rfutexctl: "), "{said:?}");
    assert!(said.err.contains(why), "{said:?}");
}

/// The number behind `word` in what the library has counted.
#[track_caller]
fn counted(said: &Said, word: &str) -> u64 {
    let line = said.err.lines().find(|line| line.contains(": process "));
    let line = line.unwrap_or_else(|| panic!("{said:?}"));
    let words: Vec<_> = line.split(' ').collect();
    let at = words.iter().position(|&other| other == word);
    words[at.expect(word) + 1].parse().expect("a number")
}

fn locks_are_on_the_device() {
    let report = run(&["--report", "--require", "--", THREADS, "mutex"]);
    assert_eq!(
        (report.status, report.out.as_str()),
        (Some(0), ""),
        "{report:?}"
    );
    assert!(counted(&report, "wait") >= 1, "{report:?}");
    assert!(counted(&report, "wake") >= 1, "{report:?}");
    for library in ["libc.so.6: ", "ld-linux-x86-64.so.2: "] {
        let said = report
            .err
            .lines()
            .any(|line| line.contains(library) && line.contains(" system calls are redirected"));
        assert!(said, "{library}: {report:?}");
    }
    // Who does not ask is not told.
    assert_eq!(run(&[THREADS, "mutex"]).well(), "");
}

fn arguments_and_status_are_the_programs() {
    let said = run(&["--", THREADS, "--report"]);
    assert_eq!((said.status, said.out.as_str()), (Some(2), ""), "{said:?}");
    assert_eq!(said.err, "there is no part --report\n");
}

fn missing_programs() {
    refused(
        &run(&["no-such-program"]),
        127,
        "there is no program no-such-program",
    );
    refused(
        &run(&["/no/such/program"]),
        127,
        "there is no /no/such/program",
    );
}

/// A file with this content, that may be executed.
#[track_caller]
fn file(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    path
}

fn programs_that_cannot_be_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    let program = fs::read(THREADS).expect(THREADS);
    let mut other = program.clone();
    // The machine, of which 183 is arm64.
    other[18] = 183;
    let shown = |path: &Path| path.display().to_string();
    let refuse = |file: &Path, why| refused(&run(&[&shown(file)]), 126, why);
    refuse(Path::new("/bin/busybox"), "it is static");
    refuse(&file(path, "other", &other), "another architecture");
    refuse(&file(path, "text", b"words"), "no program");
    refuse(
        &file(path, "script", b"#!/bin/sh\nexit 0\n"),
        "it is static",
    );
    refuse(path, "it is not a file");
    let closed = file(path, "closed", &program);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o644)).expect("chmod");
    refuse(&closed, "it may not be executed");
    let missing = file(path, "missing", b"#!/no/such/interpreter\n");
    refused(
        &run(&[&shown(&missing)]),
        127,
        "there is no /no/such/interpreter",
    );
    // For who is not root, which it is made to be.
    let raised = file(path, "raised", &program);
    fs::set_permissions(&raised, fs::Permissions::from_mode(0o4755)).expect("chmod");
    let mut command = command(&["run", &shown(&raised)]);
    command.uid(NOBODY).gid(NOBODY);
    refused(&said(command), 126, "more privileges");
}

/// The user and the group of those who may nothing.
const NOBODY: u32 = 65534;

fn without_the_module() {
    let unloaded = UnloadedModule::new();
    refused(
        &run(&[THREADS, "mutex"]),
        125,
        "the module rfutex is not loaded",
    );
    drop(unloaded);
}

fn without_permission() {
    let mut command = command(&["run", THREADS, "mutex"]);
    command.uid(NOBODY).gid(NOBODY);
    refused(
        &said(command),
        125,
        "permission to open /dev/rfutex is missing",
    );
}

fn libraries() {
    let missing = run(&["--library", "/no/such/library.so", THREADS, "mutex"]);
    refused(&missing, 125, "/no/such/library.so cannot be used");
    let directory = tempfile::tempdir().expect("a directory");
    let library = directory.path().join("library.so");
    fs::copy("/bin/librfutex_preload.so", &library).expect("the library");
    let named = library.display().to_string();
    let report = run(&["--report", "--library", &named, THREADS, "mutex"]);
    assert_eq!(report.status, Some(0), "{report:?}");
    assert!(counted(&report, "wait") >= 1, "{report:?}");
    // A program of its own directory, which has no library beside it.
    let own = directory.path().join("rfutexctl");
    fs::copy(PROGRAM, &own).expect("the program");
    let mut alone = Command::new(&own);
    alone.args(["run", THREADS, "mutex"]);
    refused(&said(alone), 125, "name it with --library");
}
