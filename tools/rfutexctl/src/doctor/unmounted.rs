// SPDX-License-Identifier: GPL-2.0
//! Waiters that keep a file system from being shut down which is not mounted any more.

use std::collections::BTreeMap;

use super::{Finding, Trouble};
use crate::facts::Facts;
use crate::record::{Kind, Record, What};

/// Finds them, one finding for each device. `holds` tells whether those who sleep in a table hold
/// the inodes of their files (`hold=inode`).
pub fn find(records: &[Record], holds: impl Fn(&str) -> bool, facts: &impl Facts) -> Vec<Finding> {
    let mut devices: BTreeMap<(u32, u32), Vec<&Record>> = BTreeMap::new();
    for record in records {
        // Watches and requests hold nothing.
        if record.kind != Kind::Inode || record.what != What::Thread || !holds(&record.table) {
            continue;
        }
        if let Some(file) = record.file {
            devices.entry(file.dev).or_default().push(record);
        }
    }
    if devices.is_empty() {
        return Vec::new();
    }
    let mounted = facts.mounted();
    devices.retain(|device, _| !mounted.contains(device));
    devices
        .into_iter()
        .map(|((major, minor), records)| {
            let who: Vec<_> = records.iter().map(|record| record.who()).collect();
            let keep = if who.len() == 1 { "keeps" } else { "keep" };
            Finding {
                trouble: Trouble::Unmounted,
                text: format!(
                    "{} {keep} the file system on device {major}:{minor}, which is not mounted \
                     any more, from being shut down: whoever sleeps on a word of a file holds it \
                     (hold=inode).",
                    who.join(", ")
                ),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::MadeUp;
    use crate::record::tests::{in_memory, record};

    #[test]
    fn a_device_without_a_mount_is_found() {
        let records = [record(), record(), in_memory()];
        let found = find(&records, |_| true, &MadeUp::default());
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .text
                .contains("keep the file system on device 0:25")
        );
    }

    #[test]
    fn mounted_devices_and_those_that_nobody_holds_are_not() {
        let facts = MadeUp {
            mounted: [(0, 25)].into(),
            ..MadeUp::default()
        };
        assert!(find(&[record()], |_| true, &facts).is_empty());
        assert!(find(&[record()], |_| false, &MadeUp::default()).is_empty());
        let watch = Record {
            what: What::Watch,
            ..record()
        };
        assert!(find(&[watch], |_| true, &MadeUp::default()).is_empty());
    }
}
