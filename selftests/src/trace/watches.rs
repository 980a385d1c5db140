// SPDX-License-Identifier: GPL-2.0
//! The events of watches.

use super::{Instance, Memory, Record, key};
use crate::harness::fx;
use crate::watch::{add, events, set};
use rfutex::{WatchId, WatchOptions};

trials![armed_and_fired, repeated, moved, removed, closed, sets];

/// What is to be seen of a watch: the event, the number, and the key.
#[track_caller]
fn lines(instance: &Instance) -> Vec<(String, u64, String)> {
    let mut records = instance.records();
    records.retain(|record| record.event() == "rfutex_watch");
    let line = |record: &Record| {
        let (_, key) = record.text.split_once(" kind=").expect("a key");
        let id = record.get("id").parse().expect("a number");
        (record.get("what").to_owned(), id, format!("kind={key}"))
    };
    records.iter().map(line).collect()
}

fn line(what: &str, id: WatchId, key: &str) -> (String, u64, String) {
    (what.to_owned(), id.0, key.to_owned())
}

/// To read the event of a watch that fires once is no event.
fn armed_and_fired() {
    let memory = Memory::new();
    for word in memory.words() {
        let instance = Instance::on();
        let set = set();
        let id = add(&set, word, 1);
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(events(&set).len(), 1);
        drop(set);
        let key = key(word);
        assert_eq!(
            lines(&instance),
            [line("armed", id, &key), line("fired", id, &key)]
        );
    }
}

fn repeated() {
    let memory = Memory::new();
    let word = memory.words()[2];
    let instance = Instance::on();
    let set = set();
    let options = WatchOptions::default().repeat();
    let id = set.add(word, 0, 7, options).expect("a watch");
    for _ in 0..3 {
        assert_eq!(fx().wake_one(word), Ok(1));
    }
    let (key, lines) = (key(word), lines(&instance));
    assert_eq!(lines[0], line("armed", id, &key));
    assert_eq!(lines[1..], [(); 3].map(|()| line("fired", id, &key)));
}

/// A watch that repeats stays where it is. Another one is moved, and fires on the other word.
fn moved() {
    let memory = Memory::new();
    let [from, to] = [memory.words()[2], memory.others()[2]];
    let instance = Instance::on();
    let set = set();
    let options = WatchOptions::default().repeat();
    let stays = set.add(from, 0, 1, options).expect("a watch");
    let goes = add(&set, from, 2);
    assert_eq!(fx().requeue(from, to, 0, 2), Ok(2));
    assert_eq!(fx().wake_one(to), Ok(1));
    let (from, to) = (key(from), key(to));
    assert_eq!(
        lines(&instance),
        [
            line("armed", stays, &from),
            line("armed", goes, &from),
            line("moved", stays, &from),
            line("fired", goes, &to),
        ]
    );
}

fn removed() {
    let memory = Memory::new();
    let word = memory.words()[1];
    let set = set();
    let [waits, fired] = [0, 1].map(|cookie| add(&set, word, cookie));
    let instance = Instance::on();
    assert_eq!(set.remove(waits), Ok(Some(0)));
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(set.remove(fired), Ok(Some(1)));
    assert_eq!(set.remove(fired), Ok(None));
    let key = key(word);
    assert_eq!(
        lines(&instance),
        [
            line("removed", waits, &key),
            line("fired", fired, &key),
            line("removed", fired, &key),
        ]
    );
}

fn closed() {
    let memory = Memory::new();
    let words = memory.words();
    let set = set();
    let ids = words.map(|word| add(&set, word, 0));
    let instance = Instance::on();
    drop(set);
    let expected: Vec<_> = (ids.into_iter().zip(words))
        .map(|(id, word)| line("removed", id, &key(word)))
        .collect();
    assert_eq!(lines(&instance), expected);
}

/// Sets are told apart, and each is known by the same number all the time.
fn sets() {
    let memory = Memory::new();
    let word = memory.words()[2];
    let instance = Instance::on();
    let [one, other] = [set(), set()];
    for set in [&one, &other, &one] {
        add(set, word, 0);
    }
    let records = instance.records();
    let sets: Vec<_> = records.iter().map(|record| record.get("set")).collect();
    assert_eq!(sets.len(), 3);
    assert_eq!(sets[0], sets[2]);
    assert_ne!(sets[0], sets[1]);
    assert!(sets.iter().all(|set| set.len() == 16));
}
