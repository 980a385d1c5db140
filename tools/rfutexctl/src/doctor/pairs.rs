// SPDX-License-Identifier: GPL-2.0
//! Two waiters on words that look the same and have different keys, so that no wake finds both.

use std::collections::{BTreeMap, HashSet};

use super::{Finding, Trouble};
use crate::facts::{Facts, Mapping};
use crate::record::{FileId, Kind, Record};

/// What makes two words look the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spot {
    /// The position in a file.
    File(FileId, u64),
    /// The address in a process.
    Process(u32, u64),
    /// The address in any process.
    Address(u64),
}

/// A waiter, and what its process has mapped at the word.
#[derive(Clone, Debug)]
struct Seen<'a> {
    record: &'a Record,
    mapping: Option<Mapping>,
}

impl Seen<'_> {
    /// Whether others could see what the process writes to the word.
    fn is_shared(&self) -> bool {
        self.record.kind == Kind::Inode || self.mapping.as_ref().is_some_and(|map| map.shared)
    }

    fn spots(&self) -> Vec<Spot> {
        let record = self.record;
        let mut spots = Vec::new();
        if let (Some(file), Some(at)) = (record.file, record.position) {
            spots.push(Spot::File(file, at));
        }
        if let Some(addr) = record.addr {
            if let Some(map) = self.mapping.as_ref().filter(|_| record.file.is_none()) {
                let file = map.file.map(|file| Spot::File(file, map.position(addr)));
                spots.extend(file);
            }
            spots.extend(record.process.map(|process| Spot::Process(process, addr)));
            spots.push(Spot::Address(addr));
        }
        spots
    }
}

/// Finds such pairs. Of several waiters that have the same two keys, one pair is reported.
pub fn find(records: &[Record], facts: &impl Facts) -> Vec<Finding> {
    let seen: Vec<_> = records
        .iter()
        .filter(|record| record.kind != Kind::Arena)
        .map(|record| Seen {
            record,
            mapping: record
                .process
                .zip(record.addr)
                .and_then(|(process, addr)| facts.mapping(process, addr)),
        })
        .collect();
    let mut spots: BTreeMap<Spot, Vec<&Seen<'_>>> = BTreeMap::new();
    for one in &seen {
        for spot in one.spots() {
            spots.entry(spot).or_default().push(one);
        }
    }
    let mut reported = HashSet::new();
    let mut findings = Vec::new();
    for (spot, seen) in spots {
        // One waiter of each key.
        let mut keys = HashSet::new();
        let distinct: Vec<_> = seen
            .into_iter()
            .filter(|one| keys.insert(one.record.key()))
            .collect();
        for (i, a) in distinct.iter().enumerate() {
            for b in &distinct[i + 1..] {
                let Some(why) = why(spot, a, b, facts) else {
                    continue;
                };
                let mut pair = [a.record.key(), b.record.key()];
                pair.sort();
                if reported.insert(pair) {
                    findings.push(finding(a.record, b.record, &why));
                }
            }
        }
    }
    findings
}

fn finding(a: &Record, b: &Record, why: &str) -> Finding {
    let (first, second) = (a.who(), b.who());
    let word =
        match (a.word(), b.word()) {
            (one, other) if one == other => one,
            (one, other) if a.kind == Kind::Inode || b.kind == Kind::Inode => {
                if a.kind == Kind::Inode { one } else { other }
            }
            (one, other) => format!("{one} and {other}"),
        };
    Finding {
        trouble: Trouble::DoNotMeet,
        text: format!("{first} and {second} wait on {word} and do not meet: {why}."),
    }
}

/// Why the two have different keys, if it looks as if they should not.
fn why(spot: Spot, a: &Seen<'_>, b: &Seen<'_>, facts: &impl Facts) -> Option<String> {
    use Kind::{Inode, Mm, Private};

    // The address in another process says something only of what was copied by a fork.
    if let Spot::Address(_) = spot {
        return copied(a, b, facts);
    }
    let same_process = a.record.process == b.record.process;
    let (a, b) = if a.record.kind <= b.record.kind {
        (a, b)
    } else {
        (b, a)
    };
    match (a.record.kind, b.record.kind) {
        // The rest looks at the position in a file; these two are in one process.
        (Private, Mm) if same_process => Some(private(a, "the other is not")),
        (Private, Inode) => Some(private(a, "the other is shared")),
        (Private, Private) if !same_process && a.is_shared() && b.is_shared() => Some(
            "both are private (RFUTEX_WORD_PRIVATE), so that each can be found by threads of its \
             own process only"
                .to_owned(),
        ),
        (Mm, Inode) => Some(format!(
            "{} has the file mapped privately (MAP_PRIVATE), and the word lies in a copy that only \
             it has",
            a.record.who()
        )),
        (Inode, Inode) if a.record.table != b.record.table => Some(format!(
            "the one is in the table {}, the other in the table {}",
            a.record.table, b.record.table
        )),
        (Inode, Inode) => Some(
            "the two have different files mapped that look the same, with one device and one \
             inode number; overlayfs shows a file so before and after it was copied up, which \
             happens when somebody opens it for writing"
                .to_owned(),
        ),
        _ => None,
    }
}

fn private(one: &Seen<'_>, other: &str) -> String {
    format!(
        "the word of {} is private (RFUTEX_WORD_PRIVATE), {other}",
        one.record.who()
    )
}

/// Why two words at one address in two processes are not the same: one of the processes was
/// forked from the other, or both from a third, and each has a copy.
fn copied(a: &Seen<'_>, b: &Seen<'_>, facts: &impl Facts) -> Option<String> {
    let (one, other) = (a.record, b.record);
    let of_memory = one.kind == Kind::Mm && other.kind == Kind::Mm;
    if !of_memory || one.table != other.table || one.size != other.size {
        return None;
    }
    let (p, q) = (one.process?, other.process?);
    let how = if facts.parent(q) == Some(p) {
        format!("process {q} is a child of process {p}")
    } else if facts.parent(p) == Some(q) {
        format!("process {p} is a child of process {q}")
    } else {
        let parent = facts.parent(p).filter(|&parent| parent != 1)?;
        (facts.parent(q) == Some(parent)).then_some(())?;
        format!("both are children of process {parent}")
    };
    let same_memory = match (&a.mapping, &b.mapping) {
        (Some(a), Some(b)) => a.start == b.start && a.file == b.file,
        _ => true,
    };
    (p != q && same_memory).then(|| {
        format!(
            "{how}, and the word lies in memory that is not shared (MAP_PRIVATE), of which each \
             has had a copy of its own since the fork"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::MadeUp;
    use crate::record::tests::{in_memory, record};

    const ADDR: u64 = 0x7f00_0000_0010;

    fn mapping(shared: bool) -> Mapping {
        Mapping {
            start: ADDR - 16,
            end: ADDR + 4080,
            offset: 0,
            file: record().file,
            shared,
            path: record().path,
        }
    }

    /// The same waiter in the process 200, which has the address space 9.
    fn other(kind: Kind) -> Record {
        Record {
            process: Some(200),
            thread: Some(200),
            comm: "other".to_owned(),
            kind,
            object: 9,
            ..if kind == Kind::Inode {
                record()
            } else {
                in_memory()
            }
        }
    }

    fn texts(records: &[Record], facts: &MadeUp) -> Vec<String> {
        let findings = find(records, facts);
        findings.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn those_who_meet_are_no_finding() {
        let second = Record {
            process: Some(200),
            addr: Some(0x1010),
            ..record()
        };
        assert!(find(&[record(), second], &MadeUp::default()).is_empty());
    }

    #[test]
    fn private_and_shared_in_one_process() {
        let private = Record {
            kind: Kind::Private,
            ..in_memory()
        };
        let found = texts(&[private, in_memory()], &MadeUp::default());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("RFUTEX_WORD_PRIVATE"), "{found:?}");
    }

    #[test]
    fn private_and_shared_in_two_processes() {
        let facts = MadeUp {
            mappings: vec![(200, mapping(true))],
            ..MadeUp::default()
        };
        let found = texts(&[record(), other(Kind::Private)], &facts);
        assert_eq!(
            found,
            [
                "thread 101 of process 100 (worker) and process 200 (other) wait on \
                 /dev/shm/word:0x10 and do not meet: the word of process 200 (other) is private \
                 (RFUTEX_WORD_PRIVATE), the other is shared."
            ]
        );
    }

    #[test]
    fn private_in_both_processes_is_a_finding_where_the_memory_is_shared() {
        let mine = Record {
            kind: Kind::Private,
            ..in_memory()
        };
        for shared in [true, false] {
            let facts = MadeUp {
                mappings: vec![(100, mapping(shared)), (200, mapping(shared))],
                ..MadeUp::default()
            };
            let found = texts(&[mine.clone(), other(Kind::Private)], &facts);
            assert_eq!(found.len(), usize::from(shared), "{found:?}");
        }
    }

    #[test]
    fn a_private_mapping_of_the_file() {
        let facts = MadeUp {
            mappings: vec![(200, mapping(false))],
            ..MadeUp::default()
        };
        let found = texts(&[other(Kind::Mm), record()], &facts);
        assert!(found[0].contains("MAP_PRIVATE"), "{found:?}");
    }

    #[test]
    fn before_and_after_a_copy_up() {
        let found = texts(&[record(), other(Kind::Inode)], &MadeUp::default());
        assert!(found[0].contains("overlayfs"), "{found:?}");
    }

    #[test]
    fn two_tables() {
        let second = Record {
            table: "own-1".to_owned(),
            object: record().object,
            ..other(Kind::Inode)
        };
        let found = texts(&[record(), second], &MadeUp::default());
        assert!(found[0].contains("the table own-1"), "{found:?}");
    }

    #[test]
    fn copies_after_a_fork() {
        let records = [in_memory(), other(Kind::Mm)];
        let related = |parents: &[(u32, u32)]| MadeUp {
            parents: parents.iter().copied().collect(),
            ..MadeUp::default()
        };
        let found = texts(&records, &related(&[(200, 100)]));
        assert!(found[0].contains("process 200 is a child of process 100"));
        let found = texts(&records, &related(&[(100, 200)]));
        assert!(found[0].contains("process 100 is a child of process 200"));
        let found = texts(&records, &related(&[(100, 50), (200, 50)]));
        assert!(found[0].contains("both are children of process 50"));
        for parents in [&[][..], &[(100, 1), (200, 1)], &[(100, 2), (200, 3)]] {
            assert_eq!(texts(&records, &related(parents)), [""; 0]);
        }
    }

    #[test]
    fn programs_that_are_run_twice_are_no_copies() {
        // Data of the same program, at the same address, in two that a shell has started.
        let facts = MadeUp {
            mappings: vec![(100, mapping(false)), (200, mapping(false))],
            parents: [(100, 50), (200, 60)].into(),
            ..MadeUp::default()
        };
        assert!(find(&[in_memory(), other(Kind::Mm)], &facts).is_empty());
    }

    #[test]
    fn many_waiters_are_one_finding() {
        let mut records = vec![record(); 5];
        records.extend(vec![other(Kind::Inode); 5]);
        assert_eq!(find(&records, &MadeUp::default()).len(), 1);
    }
}
