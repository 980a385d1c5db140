// SPDX-License-Identifier: GPL-2.0
//! Tables of one's own, and their arenas.

mod arena;
mod bad;
mod isolation;
mod limits;
mod mapping;

use crate::harness::{PAGE, Task, fx, until};
use rfutex::{Arena, Error, Rfutex, Table, TableOptions, Word};
use std::sync::Arc;

/// The tests of tables.
pub fn trials() -> Vec<libtest_mimic::Trial> {
    let all = [
        isolation::trials(),
        bad::trials(),
        arena::trials(),
        mapping::trials(),
        limits::trials(),
    ];
    all.into_iter().flatten().collect()
}

/// A table without an arena.
fn table() -> Arc<Table> {
    Arc::new(Table::create(fx(), TableOptions::new()).expect("a table"))
}

/// A table with an arena of `pages` pages, which nobody has mapped.
fn with_arena(pages: usize) -> Arc<Table> {
    let options = TableOptions::new().arena((pages * PAGE) as u64);
    Arc::new(Table::create(fx(), options).expect("a table"))
}

/// A mapped arena of `pages` pages.
fn arena(pages: usize) -> Arena {
    Arena::map(with_arena(pages)).expect("it is mapped")
}

/// The word of four bytes at `offset` in an arena.
fn word(offset: u64) -> Word<'static> {
    Word::in_arena(offset, 4)
}

/// How many wait on `word` in the table of `device`.
#[track_caller]
fn nr_waiters(device: &Rfutex, word: Word<'_>) -> u32 {
    device.key_info(word).expect("a key").nr_waiters
}

/// A thread that waits on `word` in the table while that is 0. Returns when it is queued.
#[track_caller]
fn waiter(table: &Arc<Table>, word: Word<'static>) -> Task<Result<(), Error>> {
    let before = nr_waiters(table, word);
    let theirs = table.clone();
    let task = Task::spawn(move || theirs.wait(word, 0));
    until("a waiter is queued, or has failed", || {
        task.is_finished() || nr_waiters(table, word) == before + 1
    });
    task
}
