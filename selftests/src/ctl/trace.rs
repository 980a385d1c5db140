// SPDX-License-Identifier: GPL-2.0
//! `rfutexctl trace` shows events as they come.

use super::{Shm, run, start};
use crate::harness::{UnloadedModule, Waiter, fx, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Child;

trials![waits_and_wakes, terminated, module_gone, unknown_event];

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a number"))
}

fn instance(child: &Child) -> PathBuf {
    format!(
        "/sys/kernel/tracing/instances/rfutexctl-trace-{}",
        child.id()
    )
    .into()
}

/// Starts it; returns when it has made `event` come.
#[track_caller]
fn tracing(options: &[&str], event: &str) -> Child {
    let own = std::process::id().to_string();
    let child = start(&[&["trace", "--process", &own], options].concat());
    let switch = instance(&child)
        .join("events/rfutex")
        .join(event)
        .join("enable");
    until("the event is on", || {
        fs::read_to_string(&switch).is_ok_and(|on| on.starts_with('1'))
    });
    child
}

/// A wait and the wake that ends it are in words, with the name of the file.
fn waits_and_wakes() {
    let shm = Shm::new("waits-and-wakes");
    let word = shm.region.word(16);
    let child = tracing(&["-n", "3"], "rfutex_wake");
    let place = instance(&child);
    let waiter = Waiter::start(word, 0);
    assert_eq!(fx().wake_all(word), Ok(1));
    waiter.woken();
    let output = child.wait_with_output().expect("trace");
    let text = super::Said::from(output).well();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let name = "/dev/shm/waits-and-wakes:0x10";
    for part in [
        format!("waits on {name} while it is 0x0"),
        format!("wakes 1 (of all asked for) on {name}"),
        format!("was woken, on {name}"),
    ] {
        assert!(
            lines.iter().any(|line| line.ends_with(&part)),
            "{part}: {text}"
        );
    }
    assert!(!place.exists());
}

/// What was seen is there, and the instance is not, after a signal.
fn terminated() {
    let shm = Shm::new("trace-terminated");
    let word = shm.region.word(0);
    let mut child = tracing(&["--event", "rfutex_wake"], "rfutex_wake");
    assert_eq!(fx().wake_all(word), Ok(0));
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert!(line.contains("wakes 0 (of all asked for)"), "{line}");
    kill(pid(&child), Signal::SIGINT).expect("kill");
    let place = instance(&child);
    assert_eq!(child.wait().expect("trace").code(), Some(0));
    assert!(!place.exists());
}

fn module_gone() {
    let mut child = start(&["trace"]);
    let switch = instance(&child).join("events/rfutex/enable");
    until("the events are on", || {
        fs::read_to_string(&switch).is_ok_and(|on| on.starts_with('1'))
    });
    let unloaded = UnloadedModule::when_unused();
    let place = instance(&child);
    child.wait().expect("trace");
    let said = super::Said::from(child.wait_with_output().expect("trace"));
    assert_eq!(said.status, Some(1), "{said:?}");
    assert_eq!(said.err, "rfutexctl: the module rfutex was unloaded\n");
    assert!(!place.exists());
    drop(unloaded);
}

fn unknown_event() {
    let said = run(&["trace", "--event", "rfutex_nothing"]);
    assert_eq!((said.status, said.out.as_str()), (Some(1), ""));
    assert!(said.err.contains("there are rfutex_"), "{said:?}");
    assert_eq!(said.err.lines().count(), 1, "{said:?}");
}
