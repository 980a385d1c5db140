// SPDX-License-Identifier: GPL-2.0
//! Robust words, and the locks that are made of them.

mod bad;
mod command;
mod end;
mod forgotten;
mod storm;

pub use command::command;

use crate::harness::{Child, PAGE, Task, fx, until};
use rfutex::sync::Member;
use rfutex::{Arena, Error, Rfutex, Table, TableOptions, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The tests of robust words.
pub fn trials() -> Vec<libtest_mimic::Trial> {
    let all = [
        end::trials(),
        forgotten::trials(),
        bad::trials(),
        storm::trials(),
    ];
    all.into_iter().flatten().collect()
}

/// What a word says if somebody waits.
const WAITERS: u64 = 1;
/// What a word says if its owner has died.
const DIED: u64 = 2;

/// An arena of two pages, of which the first one is robust.
fn arena() -> Arc<Arena> {
    arena_of(fx())
}

/// The same, by another open file.
fn arena_of(device: &Rfutex) -> Arc<Arena> {
    let options = TableOptions::new()
        .arena(2 * PAGE as u64)
        .robust(PAGE as u64);
    let table = Table::create(device, options).expect("a table");
    Arc::new(Arena::map(table).expect("it is mapped"))
}

/// The word with this number.
fn word(arena: &Arena, nr: usize) -> &AtomicU64 {
    arena.get(8 * nr).expect("it is in the arena")
}

fn load(arena: &Arena, nr: usize) -> u64 {
    word(arena, nr).load(Ordering::Acquire)
}

/// A word for the test itself, in the part that is not robust.
fn flag(arena: &Arena, nr: usize) -> &AtomicU32 {
    arena.get(PAGE + 4 * nr).expect("it is in the arena")
}

fn set(arena: &Arena, nr: usize) {
    flag(arena, nr).store(1, Ordering::Release);
}

#[track_caller]
fn until_set(arena: &Arena, nr: usize) {
    until("the other side goes on", || {
        flag(arena, nr).load(Ordering::Acquire) == 1
    });
}

/// What the calling thread writes into the words that it has. It joins.
fn joined(arena: &Arena) -> u64 {
    Member::join(arena).expect("it joins");
    own(arena)
}

/// What the calling thread would write, if it had joined.
fn own(arena: &Arena) -> u64 {
    let identity = arena.table().identity().expect("an identity");
    identity.thread.id().expect("an id").get() << 2
}

fn nr_waiters(arena: &Arena, nr: usize) -> u32 {
    let word = Word::in_arena(8 * nr as u64, 8);
    arena.table().key_info(word).expect("a key").nr_waiters
}

/// A thread that waits on a word while it has the value `val`. Returns when it is queued.
#[track_caller]
fn waiter(arena: &Arc<Arena>, nr: usize, val: u64) -> Task<Result<(), Error>> {
    let before = nr_waiters(arena, nr);
    let theirs = arena.clone();
    let task = Task::spawn(move || {
        let word = Word::in_arena(8 * nr as u64, 8);
        theirs.table().wait(word, val)
    });
    until("a waiter is queued, or has failed", || {
        task.is_finished() || nr_waiters(arena, nr) == before + 1
    });
    task
}

/// A child that joins, takes words 0 and 1, the second one with somebody who waits, and says so by
/// flag 0. Then it does `f`.
#[track_caller]
fn owner_of_two(arena: &Arena, f: impl FnOnce()) -> Child {
    let child = Child::run(|| {
        let own = joined(arena);
        word(arena, 0).store(own, Ordering::Relaxed);
        word(arena, 1).store(own | WAITERS, Ordering::Relaxed);
        set(arena, 0);
        f();
    });
    until_set(arena, 0);
    flag(arena, 0).store(0, Ordering::Relaxed);
    child
}

/// Checks that the words of [`owner_of_two`] are marked, soon.
#[track_caller]
fn marked(arena: &Arena) {
    until("the words are marked", || {
        load(arena, 0) == DIED && load(arena, 1) == (WAITERS | DIED)
    });
}
