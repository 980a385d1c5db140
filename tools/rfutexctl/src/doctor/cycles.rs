// SPDX-License-Identifier: GPL-2.0
//! Waiters that name owners in a circle: each waits for what the next one has.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Finding, Trouble};
use crate::facts::Facts;
use crate::record::{Owner, Record, What};

/// Finds the circles.
///
/// A process that is named as an owner is taken to be stuck when all of its threads wait for
/// owners. If others of its threads run, they may give up what it has: no circle.
pub fn find(records: &[Record], facts: &impl Facts) -> Vec<Finding> {
    let mut waits: BTreeMap<u32, Vec<&Record>> = BTreeMap::new();
    let mut threads: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for record in records {
        let (Some(thread), Some(process), What::Thread) =
            (record.thread, record.process, record.what)
        else {
            continue;
        };
        if record.owner.is_some_and(|owner| owner.number.is_some()) {
            waits.entry(thread).or_default().push(record);
            threads.entry(process).or_default().insert(thread);
        }
    }
    let stuck = |process: u32| {
        let waiting = threads.get(&process)?;
        let all = facts
            .nr_threads(process)
            .is_none_or(|nr| nr <= waiting.len());
        all.then_some(waiting)
    };
    // The waits of those whom a wait needs to go on.
    let next = |record: &Record| -> Vec<&Record> {
        let Some(Owner {
            thread,
            number: Some(number),
        }) = record.owner
        else {
            return Vec::new();
        };
        let of = |thread: &u32| waits.get(thread).into_iter().flatten().copied();
        if thread {
            of(&number).collect()
        } else {
            stuck(number).into_iter().flatten().flat_map(of).collect()
        }
    };
    let mut findings = Vec::new();
    let mut done = HashSet::new();
    for &start in waits.values().flatten() {
        let mut path = Vec::new();
        walk(start, &next, &mut path, &mut done, &mut findings);
    }
    findings
}

/// What tells one wait of a thread from another.
type Wait = (Option<u32>, Option<Owner>, String);

fn wait(record: &Record) -> Wait {
    (record.thread, record.owner, record.word())
}

/// Follows the owners of `record`, and reports the circle if it comes back to one on the `path`.
/// Those that are `done` have been followed.
fn walk<'a>(
    record: &'a Record,
    next: &impl Fn(&Record) -> Vec<&'a Record>,
    path: &mut Vec<&'a Record>,
    done: &mut HashSet<Wait>,
    findings: &mut Vec<Finding>,
) {
    if let Some(at) = path.iter().position(|one| wait(one) == wait(record)) {
        findings.push(finding(&path[at..]));
        return;
    }
    if !done.insert(wait(record)) {
        return;
    }
    path.push(record);
    for following in next(record) {
        walk(following, next, path, done, findings);
    }
    path.pop();
}

fn finding(circle: &[&Record]) -> Finding {
    let each = circle.iter().map(|record| {
        let owner = record.owner.map(|owner| owner.to_string());
        format!(
            "{} waits on {} for {}",
            record.who(),
            record.word(),
            owner.unwrap_or_default()
        )
    });
    let each: Vec<_> = each.collect();
    Finding {
        trouble: Trouble::Cycle,
        text: format!(
            "Those who wait have each other for owners, and none of them can go on: {}.",
            each.join("; ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::MadeUp;
    use crate::record::tests::record;

    /// The thread `thread` of the process `process` waits for `owner`.
    fn waits(process: u32, thread: u32, owner: Owner) -> Record {
        Record {
            process: Some(process),
            thread: Some(thread),
            owner: Some(owner),
            position: Some(u64::from(thread)),
            ..record()
        }
    }

    fn thread(number: u32) -> Owner {
        Owner {
            thread: true,
            number: Some(number),
        }
    }

    fn process(number: u32) -> Owner {
        Owner {
            thread: false,
            number: Some(number),
        }
    }

    #[test]
    fn threads_that_wait_for_each_other() {
        let records = [
            waits(100, 101, thread(102)),
            waits(100, 102, thread(101)),
            waits(100, 103, thread(101)),
        ];
        let found = find(&records, &MadeUp::default());
        assert_eq!(found.len(), 1, "{found:?}");
        let text = &found[0].text;
        assert!(text.contains(
            "thread 101 of process 100 (worker) waits on /dev/shm/word:0x65 for thread 102"
        ));
        assert!(!text.contains("thread 103"), "{text}");
    }

    #[test]
    fn chains_are_no_circles() {
        let records = [
            waits(100, 101, thread(102)),
            waits(100, 102, thread(103)),
            waits(100, 104, thread(102)),
        ];
        assert!(find(&records, &MadeUp::default()).is_empty());
    }

    #[test]
    fn processes_are_stuck_if_all_their_threads_are() {
        let records = [waits(100, 100, process(200)), waits(200, 200, process(100))];
        for (nr, found) in [(1, 1), (2, 0)] {
            let facts = MadeUp {
                threads: [(100, nr), (200, 1)].into(),
                ..MadeUp::default()
            };
            assert_eq!(find(&records, &facts).len(), found);
        }
    }

    #[test]
    fn two_circles_are_two_findings() {
        let records = [
            waits(100, 101, thread(102)),
            waits(100, 102, thread(101)),
            waits(200, 201, thread(202)),
            waits(200, 202, thread(203)),
            waits(200, 203, thread(201)),
        ];
        assert_eq!(find(&records, &MadeUp::default()).len(), 2);
    }

    #[test]
    fn owners_without_a_number_are_not_followed() {
        let nobody = Owner {
            thread: true,
            number: None,
        };
        assert!(find(&[waits(100, 101, nobody)], &MadeUp::default()).is_empty());
    }
}
