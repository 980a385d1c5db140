// SPDX-License-Identifier: GPL-2.0
//! Waiters whose word has had another value for a while: somebody has changed it and woken nobody.

use std::time::Duration;

use super::{Finding, Trouble};
use crate::facts::Facts;
use crate::place::show_time;
use crate::record::{Kind, Record};

/// Finds them among those who were there in both listings and have waited for `limit`.
///
/// Whoever changes a word wakes its waiters a moment later: those are gone by the second listing.
pub fn find(
    first: &[Record],
    second: &[Record],
    facts: &impl Facts,
    limit: Duration,
) -> Vec<Finding> {
    let old = second.iter().filter(|record| record.age >= limit);
    let stays = old.filter(|record| first.iter().any(|before| is_same(before, record)));
    stays.filter_map(|record| look(record, facts)).collect()
}

/// Whether `after` is the wait that `before` was.
fn is_same(before: &Record, after: &Record) -> bool {
    before.key() == after.key()
        && (before.process, before.thread, before.cookie)
            == (after.process, after.thread, after.cookie)
        && before.age <= after.age
}

fn look(record: &Record, facts: &impl Facts) -> Option<Finding> {
    let (val, process, addr) = (record.val?, record.process?, record.addr?);
    // Memory that was mapped anew is no longer the waiter's word.
    let mapping = facts.mapping(process, addr);
    if record.kind == Kind::Inode {
        let mapping = mapping?;
        let same = mapping.file == record.file && record.position == Some(mapping.position(addr));
        same.then_some(())?;
    }
    let now = facts.word(process, addr, record.size)?;
    (now != val).then(|| Finding {
        trouble: Trouble::Changed,
        text: format!(
            "{} has waited on {} for {} because its value was {val:#x}, which is {now:#x} by now: \
             whoever changed it has not woken this waiter.",
            record.who(),
            record.word(),
            show_time(record.age)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Mapping;
    use crate::facts::tests::MadeUp;
    use crate::record::FileId;
    use crate::record::tests::{in_memory, record};

    const LIMIT: Duration = Duration::from_secs(10);

    fn old(record: Record) -> Record {
        Record {
            age: 2 * LIMIT,
            ..record
        }
    }

    fn facts(value: u64) -> MadeUp {
        let addr = record().addr.unwrap();
        MadeUp {
            words: [((100, addr), value)].into(),
            mappings: vec![(
                100,
                Mapping {
                    start: addr - 16,
                    end: addr + 16,
                    offset: 0,
                    file: record().file,
                    shared: true,
                    path: None,
                },
            )],
            ..MadeUp::default()
        }
    }

    #[test]
    fn a_changed_word_is_found() {
        for record in [old(record()), old(in_memory())] {
            let records = [record];
            let found = find(&records, &records, &facts(5), LIMIT);
            assert_eq!(found.len(), 1, "{records:?}");
            assert!(found[0].text.contains("was 0x0, which is 0x5 by now"));
            assert!(find(&records, &records, &facts(0), LIMIT).is_empty());
        }
    }

    #[test]
    fn the_young_and_those_who_left_are_not() {
        let young = [record()];
        assert!(find(&young, &young, &facts(5), LIMIT).is_empty());
        let records = [old(record())];
        assert!(find(&records, &[], &facts(5), LIMIT).is_empty());
        assert!(find(&[], &records, &facts(5), LIMIT).is_empty());
        // It was woken and waits again.
        let before = [Record {
            age: 3 * LIMIT,
            ..record()
        }];
        assert!(find(&before, &records, &facts(5), LIMIT).is_empty());
    }

    #[test]
    fn another_file_at_the_address_is_not_looked_at() {
        let mut facts = facts(5);
        facts.mappings[0].1.file = Some(FileId {
            dev: (0, 25),
            ino: 18,
        });
        let records = [old(record())];
        assert!(find(&records, &records, &facts, LIMIT).is_empty());
    }

    #[test]
    fn without_a_value_there_is_nothing_to_compare() {
        let records = [Record {
            val: None,
            ..old(record())
        }];
        assert!(find(&records, &records, &facts(5), LIMIT).is_empty());
    }
}
