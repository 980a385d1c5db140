// SPDX-License-Identifier: GPL-2.0
//! Events are switched on and off, one by one, and filtered.

use super::{EVENTS, Instance, Memory, TRACEFS};
use crate::harness::{Child, PAGE, Task, fx, object_of, past};
use crate::memory::{Region, memfd};
use crate::resolvers::Via;
use crate::watch::{add, set};
use rfutex::{Error, Owner, Resolver, WaitOptions};
use std::collections::BTreeSet;

trials![all_are_there, one_by_one, by_thread, by_field];

/// The events are those that are documented, and no others.
fn all_are_there() {
    let entries = std::fs::read_dir(format!("{TRACEFS}/events/rfutex")).expect("the events");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names: BTreeSet<_> = names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("rfutex_"))
        .collect();
    assert_eq!(names, EVENTS.map(str::to_owned).into());
}

/// Makes each event happen.
#[track_caller]
fn everything() {
    let memory = Memory::new();
    let [word, other] = [memory.words()[2], memory.others()[2]];
    assert_eq!(fx().wait_with(word, 0, past()), Err(Error::TimedOut));
    assert_eq!(fx().wake_all(word), Ok(0));
    assert_eq!(fx().requeue(word, other, 1, 1), Ok(0));
    add(&set(), word, 0);
    let new = Region::shared(memfd(PAGE), 0, PAGE);
    let via = Via::new(Resolver::Vma);
    assert_eq!(via.fx.wake_all(new.word(0)), Ok(0));
    let child = Child::run(|| ());
    let owner = Owner::process(child.pid().as_raw() as u32);
    child.join();
    let options = WaitOptions::default().owner(owner);
    assert_eq!(fx().wait_with(word, 0, options), Err(Error::OwnerEnded));
}

/// The names of the events that were recorded.
#[track_caller]
fn recorded(instance: &Instance) -> BTreeSet<String> {
    let records = instance.records();
    records.iter().map(|r| r.event().to_owned()).collect()
}

fn one_by_one() {
    let instance = Instance::off();
    for event in EVENTS {
        everything();
        assert_eq!(recorded(&instance), [].into());
        instance.switch(event, true);
        everything();
        assert_eq!(recorded(&instance), [event.to_owned()].into());
        instance.switch(event, false);
        instance.clear();
    }
}

fn by_thread() {
    let memory = Memory::new();
    let word = memory.words()[1];
    let instance = Instance::on();
    instance.write("set_event_pid", nix::unistd::gettid());
    assert_eq!(fx().wake_all(word), Ok(0));
    let other = Task::spawn(move || fx().wake_all(word));
    assert_eq!(other.join(), Ok(0));
    let records = instance.records();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0].tid, nix::unistd::gettid().as_raw());
}

fn by_field() {
    let memory = Memory::new();
    let [mine, other] = [memory.words()[2], memory.words()[0]];
    let instance = Instance::on();
    let filter = format!("object == {:#x} && woken == 0", object_of(mine));
    instance.write("events/rfutex/rfutex_wake/filter", filter);
    for word in [other, mine, other] {
        assert_eq!(fx().wake_all(word), Ok(0));
    }
    let records = instance.records();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0].get("kind"), "inode");
}
