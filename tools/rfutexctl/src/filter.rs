// SPDX-License-Identifier: GPL-2.0
//! Which waiters are shown, and in which order.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::facts::file_id;
use crate::place::{self, Place};
use crate::record::{FileId, Kind, Record};

/// Which process: its number, or its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessIs {
    /// The number of the process, or of one of its threads.
    Number(u32),
    /// The name of the thread that waits.
    Name(String),
}

impl ProcessIs {
    /// Parses a number or a name.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(text
            .parse()
            .map_or_else(|_| Self::Name(text.to_owned()), Self::Number))
    }

    fn holds(&self, record: &Record) -> bool {
        match self {
            Self::Number(number) => {
                record.process == Some(*number) || record.thread == Some(*number)
            }
            Self::Name(name) => record.comm == *name,
        }
    }
}

/// Which word: a place in a file, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WordIs {
    /// A place in a file.
    Place(Place),
    /// An address in any process, or an offset in any arena.
    Address(u64),
}

impl WordIs {
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            return Place::parse(text).map(Self::Place);
        }
        place::address(text).map(Self::Address)
    }
}

/// The options that choose waiters.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Only waiters of this process or thread, or of threads with this name
    #[arg(long, short, value_name = "PID|NAME", value_parser = ProcessIs::parse)]
    pub process: Option<ProcessIs>,
    /// Only waiters on words of this file
    #[arg(long, short, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Only waiters on this word: a place in a file, or a hexadecimal address (or offset in an
    /// arena)
    #[arg(long, short, value_name = "FILE:OFFSET|ADDR", value_parser = WordIs::parse)]
    pub word: Option<WordIs>,
    /// Only waiters in this table
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Only waiters that have waited this long: seconds, or with a unit such as 100ms or 2h
    #[arg(long, value_name = "TIME", value_parser = place::time)]
    pub older_than: Option<Duration>,
}

/// A filter: the options, with the files looked up.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    options: Options,
    file: Option<Named>,
    word: Option<(Named, u64)>,
}

/// A file that the user has named.
#[derive(Clone, Debug)]
struct Named {
    path: PathBuf,
    id: FileId,
}

impl Named {
    fn new(path: &Path) -> anyhow::Result<Self> {
        use anyhow::Context;
        let found = file_id(path).and_then(|id| {
            let path = path.canonicalize()?;
            Ok(Self { path, id })
        });
        found.with_context(|| path.display().to_string())
    }

    /// Whether the word of `record` is in this file. Some file systems show another device in
    /// stat(2) than in /proc/PID/maps, so that the name counts as well.
    fn holds(&self, record: &Record) -> bool {
        record.kind == Kind::Inode
            && (record.file == Some(self.id) || record.path.as_ref() == Some(&self.path))
    }
}

impl Filter {
    /// Looks the files up.
    ///
    /// # Errors
    ///
    /// A file that the options name is not there.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        let word = match &options.word {
            Some(WordIs::Place(place)) => Some((Named::new(&place.file)?, place.offset)),
            _ => None,
        };
        Ok(Self {
            file: options.file.as_deref().map(Named::new).transpose()?,
            word,
            options: options.clone(),
        })
    }

    /// Whether `record` is to be shown.
    pub fn wants(&self, record: &Record) -> bool {
        let Options {
            process,
            word,
            table,
            older_than,
            file: _,
        } = &self.options;
        process.as_ref().is_none_or(|process| process.holds(record))
            && self.file.as_ref().is_none_or(|file| file.holds(record))
            && table.as_ref().is_none_or(|table| *table == record.table)
            && older_than.is_none_or(|limit| record.age >= limit)
            && match (word, &self.word) {
                (Some(WordIs::Address(addr)), _) => {
                    record.addr == Some(*addr)
                        || record.kind == Kind::Arena && record.position == Some(*addr)
                }
                (_, Some((file, at))) => file.holds(record) && record.position == Some(*at),
                _ => true,
            }
    }
}

/// Sorts by age, the oldest first. Those of equal age keep an order that does not change from
/// one listing to the next.
pub fn sort_by_age(records: &mut [Record]) {
    records.sort_by(|a, b| {
        let by = |r: &Record| (r.process, r.thread, r.position, r.cookie);
        b.age.cmp(&a.age).then_with(|| by(a).cmp(&by(b)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{in_memory, record};

    fn filter(options: Options) -> Filter {
        Filter::new(&options).unwrap()
    }

    #[test]
    fn processes_are_chosen_by_number_and_by_name() {
        for (text, wanted) in [
            ("100", true),
            ("101", true),
            ("102", false),
            ("worker", true),
            ("other", false),
        ] {
            let process = Some(ProcessIs::parse(text).unwrap());
            let filter = filter(Options {
                process,
                ..Options::default()
            });
            assert_eq!(filter.wants(&record()), wanted, "{text}");
        }
    }

    #[test]
    fn words_are_chosen_by_address() {
        for (text, wanted) in [("7f0000000010", true), ("0x10", false)] {
            let word = Some(WordIs::parse(text).unwrap());
            let filter = filter(Options {
                word,
                ..Options::default()
            });
            assert_eq!(filter.wants(&in_memory()), wanted, "{text}");
            let arena = Record {
                kind: Kind::Arena,
                addr: None,
                position: Some(16),
                ..in_memory()
            };
            assert_eq!(filter.wants(&arena), !wanted, "{text} in an arena");
        }
    }

    #[test]
    fn files_and_words_are_chosen_by_what_identifies_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a:b");
        std::fs::write(&path, "").unwrap();
        let found = Record {
            file: Some(file_id(&path).unwrap()),
            path: None,
            ..record()
        };
        let by_name = Record {
            path: Some(path.canonicalize().unwrap()),
            ..record()
        };
        let by_file = filter(Options {
            file: Some(path.clone()),
            ..Options::default()
        });
        let at = |offset: u64| {
            let word = WordIs::parse(&format!("{}:{offset}", path.display()));
            filter(Options {
                word: Some(word.unwrap()),
                ..Options::default()
            })
        };
        for record in [&found, &by_name] {
            assert!(by_file.wants(record) && at(16).wants(record));
            assert!(!at(20).wants(record));
        }
        assert!(!by_file.wants(&record()) && !at(16).wants(&record()));
        let missing = Options {
            file: Some(dir.path().join("missing")),
            ..Options::default()
        };
        let error = Filter::new(&missing).unwrap_err();
        assert!(error.to_string().ends_with("missing"), "{error}");
    }

    #[test]
    fn tables_and_ages_are_chosen() {
        let older = |seconds| Options {
            older_than: Some(Duration::from_secs(seconds)),
            ..Options::default()
        };
        assert!(filter(older(1)).wants(&record()) && !filter(older(2)).wants(&record()));
        let table = |name: &str| Options {
            table: Some(name.to_owned()),
            ..Options::default()
        };
        assert!(filter(table("default")).wants(&record()));
        assert!(!filter(table("own-1")).wants(&record()));
        assert!(filter(Options::default()).wants(&record()));
    }

    #[test]
    fn the_oldest_come_first() {
        let aged = |thread: u32, seconds: u64| Record {
            thread: Some(thread),
            age: Duration::from_secs(seconds),
            ..record()
        };
        let mut records = [aged(3, 1), aged(1, 5), aged(2, 1)];
        sort_by_age(&mut records);
        let threads = records.each_ref().map(|record| record.thread);
        assert_eq!(threads, [1, 2, 3].map(Some));
    }
}
