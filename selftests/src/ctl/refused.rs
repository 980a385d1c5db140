// SPDX-License-Identifier: GPL-2.0
//! `rfutexctl` where it cannot do what it is asked for: one sentence, exit status 1.

use super::terminal::Terminal;
use super::{PROGRAM, Said, Shm, command};
use crate::harness::UnloadedModule;
use nix::unistd::{pipe, setgid, setgroups, setuid};
use rfutex::raw::uapi;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

trials![
    without_the_module,
    without_permission,
    older_module,
    broken_pipe
];

/// The user and the group of those who may nothing.
const NOBODY: u32 = 65534;

/// Commands that ask the device.
fn asking(shm: &Shm) -> Vec<Vec<String>> {
    let place = shm.place(0);
    let lines = [
        "status".to_owned(),
        "list".to_owned(),
        "list --json".to_owned(),
        "doctor".to_owned(),
        "trace".to_owned(),
        format!("key {place}"),
        format!("wait {place} 0"),
        format!("wake {place}"),
        format!("store {place} 1 --wake"),
    ];
    let words = |line: &String| line.split(' ').map(str::to_owned).collect();
    lines.iter().map(words).collect()
}

#[track_caller]
fn refused(mut command: Command, why: &str) {
    let said = Said::from(command.output().expect(PROGRAM));
    assert_eq!(
        (said.status, said.out.as_str()),
        (Some(1), ""),
        "{command:?}: {said:?}"
    );
    assert_eq!(said.err.lines().count(), 1, "{command:?}: {said:?}");
    assert!(said.err.contains(why), "{command:?}: {said:?}");
}

/// `top` says why in one sentence, on a terminal that is as it was.
#[track_caller]
fn refused_on_terminal(mut top: Terminal, why: &str) {
    assert_eq!(top.end(), 1);
    let lines = top.lines();
    let said = lines.join(" ");
    assert!(said.starts_with(&format!("rfutexctl: {why}")), "{lines:?}");
    // It may be longer than a line.
    assert_eq!(lines[2..], [""; 22]);
    assert!(top.is_as_before());
}

fn command_of(arguments: &[String]) -> Command {
    command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn without_the_module() {
    let shm = Shm::new("without-the-module");
    let unloaded = UnloadedModule::new();
    for arguments in asking(&shm) {
        refused(command_of(&arguments), "the module rfutex is not loaded");
    }
    let top = Terminal::start(&["top"], 24, 80);
    refused_on_terminal(top, "the module rfutex is not loaded");
    drop(unloaded);
}

fn without_permission() {
    let shm = Shm::new("without-permission");
    for arguments in asking(&shm) {
        let mut command = command_of(&arguments);
        command.uid(NOBODY).gid(NOBODY);
        refused(command, "permission to open /dev/rfutex is missing");
    }
    let become_nobody = || {
        setgroups(&[]).expect("setgroups");
        setgid(NOBODY.into()).expect("setgid");
        setuid(NOBODY.into()).expect("setuid");
    };
    let top = Terminal::start_after(become_nobody, &["top"], 24, 80);
    refused_on_terminal(top, "permission to open /dev/rfutex is missing");
}

/// What makes the module one that does not know the command `number`: the filter answers for it.
#[track_caller]
fn without_command(number: u32) -> BpfProgram {
    let arch = std::env::consts::ARCH.try_into().expect("a known machine");
    let (dword, eq) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
    let request = SeccompCondition::new(1, dword, eq, number.into()).expect("a condition");
    let rule = SeccompRule::new(vec![request]).expect("a rule");
    let rules = [(libc::SYS_ioctl, vec![rule])].into();
    let unknown = SeccompAction::Errno(libc::ENOTTY as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, arch);
    filter.expect("a filter").try_into().expect("a program")
}

/// A module that does not know a command which is needed.
fn older_module() {
    let shm = Shm::new("older-module");
    for (name, number, commands) in [
        ("RFUTEX_LIST", uapi::RFUTEX_LIST, &["list", "doctor"][..]),
        ("RFUTEX_KEY_INFO", uapi::RFUTEX_KEY_INFO, &["key"]),
        ("RFUTEX_WAIT", uapi::RFUTEX_WAIT, &["wait"]),
        ("RFUTEX_WAKE", uapi::RFUTEX_WAKE, &["wake", "store"]),
    ] {
        let filter = without_command(number);
        let why = format!("the module that is loaded does not know {name}: it is too old");
        let asks = |words: &Vec<String>| commands.contains(&&*words[0]);
        for arguments in asking(&shm).into_iter().filter(asks) {
            let (mut command, filter) = (command_of(&arguments), filter.clone());
            // SAFETY: It makes one system call, with memory that was allocated before.
            unsafe {
                command.pre_exec(move || apply_filter(&filter).map_err(std::io::Error::other));
            }
            refused(command, &why);
        }
    }
    let filter = without_command(uapi::RFUTEX_LIST);
    let prepare = || apply_filter(&filter).expect("seccomp");
    let top = Terminal::start_after(prepare, &["top"], 24, 80);
    refused_on_terminal(top, "the module that is loaded does not know RFUTEX_LIST");
}

/// Nobody reads what it writes: that is no failure, and nothing to complain of.
fn broken_pipe() {
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["status"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let mut command = command(arguments);
        command.stdout(Stdio::from(writer));
        let said = Said::from(command.output().expect(PROGRAM));
        assert_eq!(
            (said.status, said.err.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}
