// SPDX-License-Identifier: GPL-2.0
//! Listings at the same time as everything else. The kernel watches; what is shown must make sense.

use super::Shared;
use crate::harness::storm::again;
use crate::harness::{Child, Mapping, PAGE, Task, effort, fx};
use rfutex::{
    Deadline, Error, Rfutex, Table, TableOptions, WaitEntry, WaitOptions, WatchOptions, Watches,
    What, Word,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

trials![in_the_shared_table, in_a_table_of_ones_own, among_processes];

/// How long a storm lasts.
const STORM: Duration = Duration::from_secs(4);

/// So many waiters that a listing needs more than one step in their bucket.
const CROWD: usize = 100;

fn soon() -> WaitOptions {
    WaitOptions::default().within(Duration::from_micros(300))
}

fn deadline() -> Option<Deadline> {
    soon().deadline
}

/// Fails the test if a wait ended with what it must not.
#[track_caller]
fn ended(result: Result<(), Error>) {
    assert!(
        [Ok(()), Err(Error::TimedOut), Err(Error::Interrupted)].contains(&result),
        "{result:?}"
    );
}

/// Reads a listing, or a part of it, and looks at what it shows.
fn list(device: &Rfutex, round: usize, objects: &[u64]) {
    let mut waiters = device.waiters().expect("a listing");
    let most = match round % 4 {
        0 => 1,
        1 => 70,
        _ => usize::MAX,
    };
    for waiter in waiters.by_ref().take(most) {
        let waiter = waiter.expect("it is read");
        assert!([1, 2, 4, 8].contains(&waiter.size), "{waiter:?}");
        assert_ne!(waiter.mask, 0);
        assert!(objects.contains(&waiter.object), "{waiter:?}");
        assert!(waiter.age < Duration::from_secs(600), "{waiter:?}");
        let is_thread = waiter.what == What::Thread;
        assert_eq!(waiter.cookie.is_none(), is_thread, "{waiter:?}");
    }
    if round.is_multiple_of(3) {
        waiters.rewind().expect("it starts again");
        assert!(waiters.next().is_some(), "the crowd waits");
    }
}

/// What a thread does again and again, with the number of the round.
type Round = Box<dyn FnMut(&Rfutex, usize) + Send>;

/// All operations, on a few words of one table.
fn storm<D>(device: &Arc<D>, words: [Word<'static>; 3])
where
    D: std::ops::Deref<Target = Rfutex> + Send + Sync + 'static,
{
    let stop = Arc::new(AtomicBool::new(false));
    let objects = words.map(|word| device.key_info(word).expect("a key").object);
    let crowd = Watches::nonblocking(device).expect("a watch set");
    for _ in 0..CROWD {
        let options = WatchOptions::default().mask(2).repeat();
        crowd.add(words[0], 0, 1, options).expect("a watch");
    }
    let mut tasks = Vec::new();
    let mut run = |mut f: Round| {
        let device = Arc::clone(device);
        let mut round = 0;
        tasks.push(again(&stop, move || {
            f(&device, round);
            round += 1;
        }));
    };
    for _ in 0..2 {
        run(Box::new(move |device, round| list(device, round, &objects)));
    }
    run(Box::new(move |device, round| {
        ended(device.wait_with(words[round % 3], 0, soon()));
    }));
    run(Box::new(move |device, round| {
        let owner = device.identity().expect("an identity").process;
        let other = rfutex::Owner::process(1);
        assert_ne!(owner, other);
        let entries = words.map(|word| WaitEntry::new(word, 0));
        let entries = entries.map(|entry| {
            if round % 2 == 0 {
                entry.owner(other)
            } else {
                entry
            }
        });
        ended(device.wait_any(&entries, deadline()).map(drop));
    }));
    run(Box::new(move |device, round| {
        ended(device.swap_with(words[round % 3], 0, words[(round + 1) % 3], soon()));
    }));
    run(Box::new(move |device, round| {
        device
            .wake(words[round % 3], round as u32 % 4, 1)
            .expect("wake");
        device.wake(words[0], 3, 2).expect("wake");
    }));
    run(Box::new(move |device, round| {
        let (from, to) = (words[1 + round % 2], words[2 - round % 2]);
        device.requeue(from, to, 1, 2).expect("requeue");
    }));
    run(Box::new(move |device, round| {
        let set = Watches::nonblocking(device).expect("a watch set");
        for nr in 0..8 {
            let options = WatchOptions {
                repeat: nr % 2 != 0,
                ..WatchOptions::default()
            };
            let id = set.add(words[round % 3], 0, nr, options).expect("a watch");
            if nr % 3 == 0 {
                set.remove(id).expect("it is removed");
            }
        }
    }));
    std::thread::sleep(effort(STORM));
    stop.store(true, Ordering::SeqCst);
    tasks.into_iter().for_each(Task::join);
    for word in words {
        device.wake_all(word).expect("wake");
    }
    drop(crowd);
    for word in words {
        assert_eq!(super::on(device, word), []);
        assert_eq!(super::nr_waiters(device, word), 0);
    }
}

fn in_the_shared_table() {
    let map = Mapping::shared(PAGE);
    let words = [map.word(0), map.word(64).private(), map.word(128).private()];
    storm(&Arc::new(Shared), words);
}

/// All words are in one bucket.
fn in_a_table_of_ones_own() {
    let options = TableOptions::new().buckets(1).arena(PAGE as u64);
    let table = Arc::new(Table::create(fx(), options).expect("a table"));
    let map = Mapping::shared(PAGE);
    let words = [map.word(0), Word::in_arena(0, 4), Word::in_arena(64, 8)];
    storm(&table, words);
}

/// Processes begin, wait, list and are killed.
fn among_processes() {
    let map = Mapping::shared(PAGE);
    let (word, stop) = (map.word(0), map.atomic::<AtomicU32>(64));
    let listers = [(); 2].map(|()| {
        Child::run(|| {
            while stop.load(Ordering::SeqCst) == 0 {
                for waiter in fx().waiters().expect("a listing") {
                    let waiter = waiter.expect("it is read");
                    assert!(waiter.process.is_some() || waiter.what != What::Thread);
                }
            }
        })
    });
    let begun = std::time::Instant::now();
    let mut rounds = 0;
    while begun.elapsed() < effort(STORM) || rounds < 20 {
        let child = Child::run(|| {
            let set = Watches::nonblocking(fx()).expect("a watch set");
            set.add(word, 0, 1, WatchOptions::default())
                .expect("a watch");
            for _ in 0..4 {
                std::thread::spawn(move || fx().wait(word, 0));
            }
            let mut waiters = fx().waiters().expect("a listing");
            waiters.next();
            let _ = fx().wait(word, 0);
        });
        crate::harness::until("it waits", || crate::harness::nr_waiters(word) >= 4);
        drop(child);
        rounds += 1;
    }
    stop.store(1, Ordering::SeqCst);
    listers.into_iter().for_each(Child::join);
    assert_eq!(fx().wake_all(word), Ok(0));
}
