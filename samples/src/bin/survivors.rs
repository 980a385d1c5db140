// SPDX-License-Identifier: GPL-2.0
//! A map of keys and values that survives `kill -9` of any process that uses it, at any moment.
//!
//! The map lies in an arena, with a robust mutex. Whoever has the mutex first writes into a
//! journal what it is going to do. If it is killed, the next one that takes the mutex is told so,
//! and does what the journal says once more: to do it twice is the same as to do it once.
//!
//! The parent kills its children again and again. In the end, a process that has never seen the map
//! finds all of it as it should be.

use anyhow::{Context, Result, bail, ensure};
use rfutex::sync::{Member, RobustGuard, RobustMutex};
use rfutex::{Arena, Rfutex, Table, TableOptions};
use std::io::stdin;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::Release};
use std::thread::sleep;
use std::time::Duration;

const CHILDREN: usize = 3;
const KILLS: usize = 40;
/// The mutex is the only word that is robust. What it protects lies behind it.
const ROBUST: u64 = 8;
const JOURNAL: usize = 64;
const SLOTS: usize = 256;
/// How many keys the map has room for.
const KEYS: usize = 100;

/// What is going to be done, if `pending` is not zero. All of it is zero in the beginning.
struct Journal<'a> {
    pending: &'a AtomicU64,
    key: &'a AtomicU64,
    value: &'a AtomicU64,
}

struct Map<'a> {
    mutex: RobustMutex<'a>,
    member: &'a Member<'a>,
    journal: Journal<'a>,
    /// For each key its value, twice: they differ only while somebody changes them.
    slots: &'a [[AtomicU64; 2]; KEYS],
}

impl<'a> Map<'a> {
    fn new(member: &'a Member<'a>) -> Result<Self> {
        let arena = member.arena();
        let field = |nr: usize| {
            arena
                .get(JOURNAL + 8 * nr)
                .context("the arena is too small")
        };
        Ok(Self {
            mutex: RobustMutex::at(arena, 0).context("the mutex is not robust")?,
            member,
            journal: Journal {
                pending: field(0)?,
                key: field(1)?,
                value: field(2)?,
            },
            slots: arena.get(SLOTS).context("the arena is too small")?,
        })
    }

    /// Takes the mutex, and puts right what a dead one has left behind.
    fn lock(&self) -> Result<RobustGuard<'_>> {
        let mut guard = self.mutex.lock(self.member)?;
        if guard.owner_died() {
            self.carry_out();
            guard.mark_consistent();
        }
        Ok(guard)
    }

    /// Does what the journal says.
    fn carry_out(&self) {
        if self.journal.pending.load(Relaxed) == 0 {
            return;
        }
        let [first, second] = &self.slots[self.journal.key.load(Relaxed) as usize % KEYS];
        let value = self.journal.value.load(Relaxed);
        first.store(value, Release);
        second.store(value, Release);
        self.journal.pending.store(0, Release);
    }

    /// Adds one to a value.
    fn increment(&self, key: usize) -> Result<()> {
        let _guard = self.lock()?;
        let value = self.slots[key][0].load(Relaxed) + 1;
        self.journal.key.store(key as u64, Relaxed);
        self.journal.value.store(value, Relaxed);
        // What was written before this is there whenever this is.
        self.journal.pending.store(1, Release);
        self.carry_out();
        Ok(())
    }

    /// The sum of all values, each of which has to be there twice.
    fn sum(&self) -> Result<u64> {
        let _guard = self.lock()?;
        let mut sum = 0;
        for [first, second] in self.slots {
            let (first, second) = (first.load(Relaxed), second.load(Relaxed));
            ensure!(first == second, "half of a value: {first}, {second}");
            sum += first;
        }
        Ok(sum)
    }
}

/// A child, whose standard input is the table.
fn child(what: &str, table: &Table) -> Result<Child> {
    let table = table.as_fd().try_clone_to_owned()?;
    let mut command = Command::new("/proc/self/exe");
    Ok(command.arg(what).stdin(Stdio::from(table)).spawn()?)
}

/// What a child does: it changes values until it is killed, or looks at all of them.
fn use_map(what: &str) -> Result<()> {
    let table: OwnedFd = stdin().as_fd().try_clone_to_owned()?;
    let arena = Arena::map(Table::try_from(table)?)?;
    let member = Member::join(&arena)?;
    let map = Map::new(&member)?;
    match what {
        "check" => println!("the values add up to {}", map.sum()?),
        "change" => {
            for key in (0..KEYS).cycle() {
                map.increment(key)?;
            }
        }
        other => bail!("what is {other}?"),
    }
    Ok(())
}

fn main() -> Result<()> {
    if let Some(what) = std::env::args().nth(1) {
        return use_map(&what);
    }
    let options = TableOptions::new().arena(1 << 16).robust(ROBUST);
    let table = Table::create(&Rfutex::open()?, options)?;
    let mut children = (0..CHILDREN)
        .map(|_| child("change", &table))
        .collect::<Result<Vec<_>>>()?;
    for kill in 0..KILLS {
        sleep(Duration::from_millis(kill as u64 % 7));
        let killed = &mut children[kill % CHILDREN];
        killed.kill()?;
        killed.wait()?;
        *killed = child("change", &table)?;
    }
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    let status = child("check", &table)?.wait()?;
    ensure!(status.success(), "the map: {status}");
    println!("it has survived {KILLS} processes");
    Ok(())
}
