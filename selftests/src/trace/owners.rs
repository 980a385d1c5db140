// SPDX-License-Identifier: GPL-2.0
//! The events of the death of owners.

use super::{Instance, Memory};
use crate::harness::{Child, PAGE, Task, fx, until, until_queued};
use nix::sys::signal::Signal;
use rfutex::sync::Member;
use rfutex::{Arena, Error, Owner, Table, TableOptions, WaitEnd, WaitEntry, WaitOptions, Word};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

trials![wait, waitv, ended_before, robust_words];

/// What the events say that tell of a death.
#[track_caller]
fn deaths(instance: &Instance) -> Vec<String> {
    instance.texts_of("rfutex_owner_dead")
}

fn wait() {
    let memory = Memory::new();
    let word = memory.words()[1];
    let instance = Instance::on();
    let (tell, told) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let owner = Task::spawn(move || {
        let identity = fx().identity().expect("an identity");
        tell.send(identity.thread).expect("somebody listens");
        let _ = ended.recv();
    });
    let name: Owner = told.recv().expect("an identity");
    let options = WaitOptions::default().owner(name);
    let task = Task::spawn(move || fx().wait_with(word, 0, options));
    until_queued(word, 1);
    drop(end);
    owner.join();
    assert_eq!(task.join(), Err(Error::OwnerEnded));
    let id = name.id().expect("an id");
    let pid = name.number();
    assert_eq!(
        deaths(&instance),
        [format!(
            "rfutex_owner_dead: what=wait owner=thread pid={pid} id={id} marked=0"
        )]
    );
    let texts = instance.texts();
    assert!(
        texts
            .iter()
            .any(|text| text.ends_with(" result=owner_dead")),
        "{texts:?}"
    );
}

fn waitv() {
    let memory = Memory::new();
    let words = memory.words();
    let instance = Instance::on();
    let child = Child::sleeping();
    let pid = child.pid().as_raw() as u32;
    let task = Task::spawn(move || {
        let [a, b, _] = words.map(|word| WaitEntry::new(word, 0));
        fx().wait_any_or_end(&[a, b.owner(Owner::process(pid))], None)
    });
    until_queued(words[1], 1);
    child.kill(Signal::SIGKILL);
    assert_eq!(task.join(), Ok(WaitEnd::OwnerEnded(1)));
    child.status();
    let deaths = deaths(&instance);
    assert_eq!(deaths.len(), 1, "{deaths:?}");
    let text = format!("rfutex_owner_dead: what=wait owner=process pid={pid} id=");
    assert!(deaths[0].starts_with(&text), "{deaths:?}");
}

/// Of somebody who had been reaped before the wait, nothing is known any more.
fn ended_before() {
    let memory = Memory::new();
    let child = Child::run(|| ());
    let pid = child.pid().as_raw() as u32;
    child.join();
    let instance = Instance::on();
    let options = WaitOptions::default().owner(Owner::process(pid));
    assert_eq!(
        fx().wait_with(memory.words()[0], 0, options),
        Err(Error::OwnerEnded)
    );
    assert_eq!(
        deaths(&instance),
        ["rfutex_owner_dead: what=wait owner=process pid=0 id=0 marked=0"]
    );
}

/// Each member says how many of its own words were marked.
fn robust_words() {
    let options = TableOptions::new().arena(PAGE as u64).robust(PAGE as u64);
    let table = Table::create(fx(), options).expect("a table");
    let arena = Arc::new(Arena::map(table).expect("it is mapped"));
    let instance = Instance::on();
    let mut expected = Vec::new();
    for nr in [0, 1, 5] {
        let theirs = arena.clone();
        let text = Task::spawn(move || {
            Member::join(&theirs).expect("it joins");
            let identity = theirs.table().identity().expect("an identity");
            let id = identity.thread.id().expect("an id").get();
            for index in 0..nr {
                let word: &AtomicU64 = theirs.get(8 * index).expect("it is in the arena");
                word.store(id << 2 | 1, Ordering::Release);
            }
            let pid = nix::unistd::gettid();
            format!("rfutex_owner_dead: what=robust owner=thread pid={pid} id={id} marked={nr}")
        })
        .join();
        expected.push(text);
        until("it is buried", || deaths(&instance).len() == expected.len());
    }
    assert_eq!(deaths(&instance), expected);
    // The words are marked, so that those who wait there are woken.
    let wakes = instance.texts_of("rfutex_wake");
    let of_words = |text: &&String| text.starts_with("rfutex_wake: op=wake kind=arena");
    assert_eq!(wakes.iter().filter(of_words).count(), 6);
    let marked: &AtomicU64 = arena.get(0).expect("it is in the arena");
    assert_eq!(marked.load(Ordering::Acquire), 3);
    let word = Word::in_arena(0, 8);
    assert_eq!(arena.table().wake_all(word), Ok(0));
}
