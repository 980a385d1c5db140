// SPDX-License-Identifier: GPL-2.0
//! The rows of the tables: waiters counted by word and by process.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::record::{Kind, Record, WordKey};

/// How often each word was woken, by the object that its key is made of and the position in it.
pub type Wakes = HashMap<(u64, u64), f64>;

/// A word on which somebody waits.
#[derive(Clone, Debug, PartialEq)]
pub struct WordRow {
    /// What identifies it.
    pub key: WordKey,
    /// What it is called.
    pub name: String,
    /// How many wait there.
    pub waiters: usize,
    /// For how long the oldest has waited.
    pub oldest: Duration,
    /// Wakes a second.
    pub wakes: f64,
}

/// A process that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessRow {
    /// Its number.
    pub process: Option<u32>,
    /// The name of its thread that has waited longest.
    pub comm: String,
    /// How many of it wait.
    pub waiters: usize,
    /// On how many words.
    pub words: usize,
    /// For how long the oldest has waited.
    pub oldest: Duration,
}

/// In which order rows stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By the number of waiters, the most first.
    #[default]
    Waiters,
    /// By age, the oldest first.
    Oldest,
    /// By wakes a second, the most first.
    Wakes,
    /// By name.
    Name,
}

impl Order {
    /// The next one.
    pub fn next(self) -> Self {
        match self {
            Self::Waiters => Self::Oldest,
            Self::Oldest => Self::Wakes,
            Self::Wakes => Self::Name,
            Self::Name => Self::Waiters,
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiters => "waiters",
            Self::Oldest => "oldest",
            Self::Wakes => "wakes",
            Self::Name => "name",
        }
    }
}

/// The words of `records`, which are sorted by age.
pub fn words(records: &[&Record], wakes: &Wakes, order: Order) -> Vec<WordRow> {
    let mut rows: BTreeMap<WordKey, WordRow> = BTreeMap::new();
    for record in records {
        let key = record.key();
        let woken = key.position.and_then(|at| wakes.get(&(key.object, at)));
        let row = rows.entry(key.clone()).or_insert_with(|| WordRow {
            key,
            name: name(record),
            waiters: 0,
            oldest: record.age,
            wakes: woken.copied().unwrap_or(0.0),
        });
        row.waiters += 1;
        row.oldest = row.oldest.max(record.age);
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    match order {
        Order::Waiters => rows.sort_by_key(|row| Reverse(row.waiters)),
        Order::Oldest => rows.sort_by_key(|row| Reverse(row.oldest)),
        Order::Wakes => rows.sort_by(|a, b| b.wakes.total_cmp(&a.wakes)),
        Order::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
    }
    rows
}

/// The word, with the process if it is one of its own memory.
pub fn name(record: &Record) -> String {
    match (record.kind, record.process) {
        (Kind::Private | Kind::Mm, Some(process)) => format!("{} of {process}", record.word()),
        _ => record.word(),
    }
}

/// The processes of `records`, which are sorted by age.
pub fn processes(records: &[&Record], order: Order) -> Vec<ProcessRow> {
    let mut rows: BTreeMap<Option<u32>, (ProcessRow, Vec<WordKey>)> = BTreeMap::new();
    for record in records {
        let (row, words) = rows.entry(record.process).or_insert_with(|| {
            let row = ProcessRow {
                process: record.process,
                comm: record.comm.clone(),
                waiters: 0,
                words: 0,
                oldest: record.age,
            };
            (row, Vec::new())
        });
        row.waiters += 1;
        words.push(record.key());
    }
    let count = |(mut row, mut words): (ProcessRow, Vec<WordKey>)| {
        words.sort();
        words.dedup();
        row.words = words.len();
        row
    };
    let mut rows: Vec<_> = rows.into_values().map(count).collect();
    match order {
        Order::Waiters | Order::Wakes => rows.sort_by_key(|row| Reverse(row.waiters)),
        Order::Oldest => rows.sort_by_key(|row| Reverse(row.oldest)),
        Order::Name => rows.sort_by(|a, b| a.comm.cmp(&b.comm)),
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{in_memory, record};

    fn aged(seconds: u64, record: Record) -> Record {
        Record {
            age: Duration::from_secs(seconds),
            ..record
        }
    }

    #[test]
    fn waiters_are_counted_by_word() {
        let records = [aged(9, in_memory()), aged(5, record()), aged(2, record())];
        let records: Vec<_> = records.iter().collect();
        let wakes = Wakes::from([((8, 0x7f00_0000_0010), 2.5)]);
        let rows = words(&records, &wakes, Order::Waiters);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].name.as_str(), rows[0].waiters),
            ("/dev/shm/word:0x10", 2)
        );
        assert_eq!(
            (rows[0].oldest, rows[0].wakes),
            (Duration::from_secs(5), 0.0)
        );
        assert_eq!(rows[1].name, "0x7f0000000010 of 100");
        let first = |order| words(&records, &wakes, order).remove(0).key.kind;
        assert_eq!(first(Order::Oldest), Kind::Mm);
        assert_eq!(first(Order::Wakes), Kind::Mm);
        assert_eq!(first(Order::Name), Kind::Inode);
    }

    #[test]
    fn waiters_are_counted_by_process() {
        let other = Record {
            process: Some(50),
            comm: "another".to_owned(),
            ..record()
        };
        let records = [aged(9, other), aged(5, record()), aged(2, in_memory())];
        let records: Vec<_> = records.iter().collect();
        let rows = processes(&records, Order::Waiters);
        assert_eq!(
            (rows[0].process, rows[0].waiters, rows[0].words),
            (Some(100), 2, 2)
        );
        assert_eq!(
            (rows[1].process, rows[1].waiters, rows[1].words),
            (Some(50), 1, 1)
        );
        for order in [Order::Oldest, Order::Name] {
            assert_eq!(processes(&records, order)[0].process, Some(50), "{order:?}");
        }
    }

    #[test]
    fn all_orders_are_reached() {
        let mut order = Order::default();
        let names: Vec<_> = std::iter::from_fn(|| {
            order = order.next();
            Some(order.name())
        })
        .take(4)
        .collect();
        assert_eq!(names, ["oldest", "wakes", "name", "waiters"]);
    }
}
