// SPDX-License-Identifier: GPL-2.0
//! Processes that share a queue of jobs. The parent puts numbers into it, and each of three
//! workers takes one after the other, and adds up what it took.
//!
//! The queue is in the arena of a table, which all have mapped, wherever the kernel put it. It has
//! a mutex and two condition variables of `rfutex::sync`, which need no set-up: they are free when
//! they are zero, as the memory is in the beginning. Nobody who has not got the table can meet the
//! processes there.

use anyhow::{Context, Result, bail, ensure};
use rfutex::sync::{Condvar, Mutex};
use rfutex::{Arena, InArena, Rfutex, Table, TableOptions};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

const WORKERS: u32 = 3;
const JOBS: u64 = 3000;
/// How many jobs the queue has room for.
const ROOM: usize = 8;

/// What all processes have mapped. They are of one program, so a `Mutex` has the same layout in
/// all of them.
#[repr(C)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is a job, or there will be no more.
    more: Condvar,
    /// There is room for a job.
    room: Condvar,
}

// SAFETY: Zeroes are valid, there are no pointers, and only this program has the table. It has
// nothing else in the arena, and keeps to the mutex.
unsafe impl InArena for Shared {}

/// All of it is zero in the beginning.
#[repr(C)]
struct Queue {
    jobs: [u64; ROOM],
    len: usize,
    closed: u8,
    /// What all workers have added up.
    sum: u64,
}

impl Shared {
    fn put(&self, job: u64) {
        let mut queue = self.queue.lock();
        self.room.wait_while(&mut queue, |queue| queue.len == ROOM);
        let len = queue.len;
        queue.jobs[len] = job;
        queue.len = len + 1;
        drop(queue);
        self.more.notify_one();
    }

    /// No more jobs will come.
    fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = 1;
        // The workers wake up one after the other, as each unlocks the mutex.
        self.more.notify_all_with(&queue);
    }

    fn take(&self) -> Option<u64> {
        let mut queue = self.queue.lock();
        self.more
            .wait_while(&mut queue, |queue| queue.len == 0 && queue.closed == 0);
        let last = queue.len.checked_sub(1)?;
        queue.len = last;
        let job = queue.jobs[last];
        drop(queue);
        self.room.notify_one();
        Some(job)
    }
}

/// The queue at the beginning of the arena.
fn queue(arena: &Arena) -> Result<&Shared> {
    arena.get(0).context("the arena is too small")
}

/// A worker, whose standard input is the table.
fn work() -> Result<()> {
    let table = Table::try_from(std::io::stdin().as_fd().try_clone_to_owned()?)?;
    let arena = Arena::map(table)?;
    let shared = queue(&arena)?;
    let mut sum = 0;
    while let Some(job) = shared.take() {
        sum += job;
    }
    shared.queue.lock().sum += sum;
    Ok(())
}

/// The parent.
fn give_work() -> Result<()> {
    let options = TableOptions::new().arena(4096);
    let arena = Arena::map(Table::create(&Rfutex::open()?, options)?)?;
    let shared = queue(&arena)?;
    let workers = (0..WORKERS)
        .map(|_| {
            Command::new("/proc/self/exe")
                .arg("work")
                .stdin(Stdio::from(arena.table().as_fd().try_clone_to_owned()?))
                .spawn()
        })
        .collect::<std::io::Result<Vec<_>>>()?;
    (1..=JOBS).for_each(|job| shared.put(job));
    shared.close();
    for mut worker in workers {
        let status = worker.wait()?;
        ensure!(status.success(), "a worker: {status}");
    }
    let sum = shared.queue.lock().sum;
    ensure!(sum == JOBS * (JOBS + 1) / 2, "the sum is {sum}");
    println!("{WORKERS} processes took {JOBS} jobs");
    Ok(())
}

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("work") => work(),
        Some(other) => bail!("what is {other}?"),
        None => give_work(),
    }
}
