// SPDX-License-Identifier: GPL-2.0
//! All operations at once, with all events on.

use super::{Instance, Memory, Record};
use crate::harness::storm::{again, wait_and_count};
use crate::harness::{Task, effort, fx, past};
use crate::memory::RegionWord;
use crate::watch::set;
use rfutex::{Error, WaitEntry, WakeEntry, WatchOptions, Word};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

trials![all_events_on];

/// How long it lasts.
const TIME: Duration = Duration::from_secs(5);

/// Threads that use `words` in every way until `stop`.
fn threads(stop: &Arc<AtomicBool>, [one, other]: [Word<'static>; 2]) -> Vec<Task<()>> {
    let watches = set();
    vec![
        again(stop, move || {
            fx().wake_one(one).expect("a wake");
            fx().wake_all(other).expect("a wake");
        }),
        again(stop, move || {
            fx().requeue(one, other, 1, 2).expect("a requeue");
            fx().requeue(other, one, 0, 2).expect("a requeue");
        }),
        again(stop, move || {
            let entries = [one, other].map(|word| WaitEntry::new(word, 0));
            match fx().wait_any(&entries, past().deadline) {
                Ok(_) | Err(Error::TimedOut | Error::Again) => {}
                Err(error) => panic!("{error}"),
            }
        }),
        again(stop, move || {
            let entries = [one, other].map(|word| WakeEntry::new(word, 1));
            fx().wake_each(&entries, &mut [0; 2]).expect("a wake");
        }),
        again(stop, move || {
            let options = WatchOptions::default().repeat();
            match watches.add(one, 0, 0, options) {
                Ok(id) => drop(watches.remove(id).expect("it goes")),
                Err(error) => assert_eq!(error, Error::Again),
            }
        }),
    ]
}

/// Nobody is lost, and the kernel finds nothing wrong.
fn all_events_on() {
    // To switch an event, the kernel patches code, which QEMU may get wrong while another processor
    // runs that code (see development.rst). So they are switched before and after the storm.
    let instance = Instance::on();
    instance.write("buffer_size_kb", 64);
    let memory = Memory::new();
    let stop = Arc::new(AtomicBool::new(false));
    let words = [memory.words()[2], memory.others()[2]];
    let within = Some(Duration::from_millis(20));
    let waiters = words.map(|word| wait_and_count(word, within));
    let tasks = threads(&stop, words);
    let begun = Instant::now();
    let mut seen = BTreeMap::new();
    while begun.elapsed() < effort(TIME) {
        std::thread::sleep(Duration::from_millis(200));
        // Whoever reads what is written all the time comes to no end.
        instance.write("tracing_on", 0);
        let trace = std::fs::read_to_string(instance.0.join("trace")).expect("the trace");
        for line in trace.lines().filter(|line| line.contains(": rfutex_")) {
            let record = Record::parse(line);
            assert!(!record.fields().is_empty());
            *seen.entry(record.event().to_owned()).or_insert(0) += 1;
        }
        instance.clear();
        instance.write("tracing_on", 1);
    }
    stop.store(true, Ordering::SeqCst);
    tasks.into_iter().for_each(Task::join);
    for word in words {
        word.store(1);
        fx().wake_all(word).expect("a wake");
    }
    let woken: u32 = waiters.map(Task::join).iter().sum();
    println!("{seen:?}, {woken} wakes");
    assert!(woken > 0);
    for event in ["wait", "woken", "wake", "requeue", "watch"] {
        assert!(seen.contains_key(&format!("rfutex_{event}")), "{event}");
    }
}
