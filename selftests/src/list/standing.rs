// SPDX-License-Identifier: GPL-2.0
//! Listings that stand still in the middle of a bucket, and such as several threads read, while
//! waiters of all kinds come, go and are moved around their marks.

use super::{ENTRY, listing, nr_waiters, on};
use crate::harness::storm::again;
use crate::harness::{Mapping, PAGE, Task, effort, fx, set_priority};
use io_uring::{IoUring, opcode, types};
use rfutex::raw::uapi;
use rfutex::{Deadline, Error, Table, TableOptions, WaitOptions, WatchOptions, Watches, Word};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

trials![among_all_kinds];

/// How long a storm lasts.
const STORM: Duration = Duration::from_secs(5);

/// So many waiters that a listing needs more than one step in their bucket.
const CROWD: u64 = 150;

/// Fails the test if a wait ended with what it must not.
#[track_caller]
fn ended(result: Result<(), Error>) {
    assert!(
        [Ok(()), Err(Error::TimedOut), Err(Error::Interrupted)].contains(&result),
        "{result:?}"
    );
}

/// Submits waits on `word`, and cancels them, or has them woken.
fn requests(table: &Table, word: Word<'_>) {
    let mut ring = IoUring::new(32).expect("io_uring");
    let wait = uapi::rfutex_wait {
        word: word.into(),
        mask: uapi::RFUTEX_MASK_ANY,
        ..Default::default()
    };
    let entry = |op: u32, arg: u64, user_data| {
        let mut command = [0; 16];
        command[..8].copy_from_slice(&arg.to_ne_bytes());
        opcode::UringCmd16::new(types::Fd(table.as_fd().as_raw_fd()), op)
            .cmd(command)
            .build()
            .user_data(user_data)
    };
    for nr in 0..8 {
        let entry = entry(uapi::RFUTEX_WAIT, &raw const wait as u64, nr);
        // SAFETY: The request is read when it is submitted.
        unsafe { ring.submission().push(&entry) }.expect("there is room");
    }
    ring.submit().expect("submitted");
    for nr in 0..4 {
        let entry = entry(uapi::RFUTEX_URING_CANCEL, nr, 100);
        // SAFETY: The entry has no pointers.
        unsafe { ring.submission().push(&entry) }.expect("there is room");
    }
    ring.submit().expect("submitted");
    // The rest is cancelled when the ring is closed.
}

fn among_all_kinds() {
    let options = TableOptions::new().buckets(1).arena(PAGE as u64);
    let table = Arc::new(Table::create(fx(), options).expect("a table"));
    let map = Mapping::shared(PAGE);
    let words = [map.word(0), Word::in_arena(0, 4), Word::in_arena(64, 8)];
    let crowd = Watches::nonblocking(&table).expect("a watch set");
    for nr in 0..CROWD {
        let options = WatchOptions::default().mask(1 << 40);
        let options = if nr % 2 == 0 {
            options.repeat()
        } else {
            options
        };
        crowd
            .add(words[nr as usize % 3], 0, nr, options)
            .expect("a watch");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    let soon = || WaitOptions::default().within(Duration::from_micros(200));
    // Several threads read, and start again, with the same file.
    let shared = Arc::new(listing(&table, ENTRY).expect("a listing"));
    for nr in 0..2 {
        let file = Arc::clone(&shared);
        let mut round = nr;
        tasks.push(again(&stop, move || {
            let mut bytes = vec![0; ENTRY * (1 + round * 7 % 90)];
            let read = (&*file).read(&mut bytes).expect("read");
            assert_eq!(read % ENTRY, 0);
            if round % 5 == 0 {
                (&*file).rewind().expect("it starts again");
            }
            round += 1;
        }));
    }
    {
        let table = Arc::clone(&table);
        let mut standing: VecDeque<File> = VecDeque::new();
        let mut round = 0;
        tasks.push(again(&stop, move || {
            let mut file = listing(&table, ENTRY).expect("a listing");
            for _ in 0..1 + round * 13 % 100 {
                let _ = file.read(&mut [0; ENTRY]).expect("read");
            }
            standing.push_back(file);
            if standing.len() > 40 {
                drop(standing.remove(round * 7 % 40));
            }
            round += 1;
        }));
    }
    for priority in [0, 1, 2] {
        let table = Arc::clone(&table);
        let mut round = priority as usize;
        tasks.push(again(&stop, move || {
            if round == priority as usize {
                set_priority(priority);
            }
            ended(table.wait_with(words[round % 3], 0, soon()));
            round += 1;
            let deadline: Option<Deadline> = soon().deadline;
            let entries = words.map(|word| rfutex::WaitEntry::new(word, 0));
            ended(table.wait_any(&entries, deadline).map(drop));
        }));
    }
    {
        let table = Arc::clone(&table);
        let mut round = 0;
        tasks.push(again(&stop, move || {
            table
                .wake(words[round % 3], 1 + round as u32 % 3, 1)
                .expect("wake");
            table.wake(words[round % 3], 2, 1 << 40).expect("wake");
            let (from, to) = (words[1 + round % 2], words[2 - round % 2]);
            table.requeue(from, to, 1, 3).expect("requeue");
            ended(table.swap_with(words[round % 3], 0, words[(round + 1) % 3], soon()));
            round += 1;
        }));
    }
    {
        let table = Arc::clone(&table);
        let mut round = 0;
        tasks.push(again(&stop, move || {
            requests(&table, words[round % 3]);
            round += 1;
        }));
    }
    std::thread::sleep(effort(STORM));
    stop.store(true, Ordering::SeqCst);
    tasks.into_iter().for_each(Task::join);
    drop(crowd);
    for word in words {
        table.wake_all(word).expect("wake");
        crate::harness::until("the requests are gone", || nr_waiters(&table, word) == 0);
        assert_eq!(on(&table, word), []);
    }
    drop(shared);
}
