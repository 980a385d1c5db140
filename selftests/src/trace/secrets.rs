// SPDX-License-Identifier: GPL-2.0
//! No event reveals an address of the kernel, or what a key really consists of.

use super::{Instance, Record};
use crate::harness::{CALLS, PAGE, fx, object_of};
use crate::memory::{EachKind, Region, memfd};
use crate::watch::{add, set};
use rfutex::{Table, TableOptions};

trials![no_kernel_address, no_set_address, no_counted_number];

/// What was recorded when all calls were made on words of all kinds.
#[track_caller]
fn records_of_all_calls() -> Vec<Record> {
    let kinds = EachKind::new();
    let instance = Instance::on();
    let set = set();
    for call in CALLS {
        for word in kinds.words() {
            for other in kinds.words() {
                // Some calls cannot do with words of this size.
                let _ = call.run(fx(), word, other);
            }
            add(&set, word, 0);
        }
    }
    drop(set);
    let records = instance.records();
    assert!(records.len() > 200, "{}", records.len());
    records
}

/// The numbers in a record, but for those that are hashes.
fn numbers(record: &Record) -> Vec<u64> {
    let fields = record.fields().into_iter();
    fields
        .filter(|(name, _)| !["object", "to_object", "set"].contains(name))
        // All bits of a mask may be set.
        .filter(|(name, _)| *name != "mask")
        .filter_map(|(_, value)| match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        })
        .collect()
}

fn no_kernel_address() {
    for record in records_of_all_calls() {
        for number in numbers(&record) {
            assert!(number < 1 << 63, "{record:?}");
        }
    }
}

/// Sets that are made one after the other lie near each other, and at multiples of eight. What is
/// shown of them does neither.
fn no_set_address() {
    let instance = Instance::on();
    let kinds = EachKind::new();
    let sets = [(); 32].map(|()| set());
    for set in &sets {
        add(set, kinds.words()[4], 0);
    }
    let records = instance.records();
    let shown: Vec<_> = records
        .iter()
        .filter(|record| record.event() == "rfutex_watch")
        .map(|record| u64::from_str_radix(record.get("set"), 16).expect("a number"))
        .collect();
    assert_eq!(shown.len(), sets.len());
    assert!(shown.iter().any(|set| set >> 48 != 0xffff), "{shown:x?}");
    assert!(shown.iter().any(|set| set % 8 != 0), "{shown:x?}");
}

/// The numbers of objects are counted, and would be small. What is shown of two that were made one
/// after the other has nothing in common. Each table shows the same object by another number.
fn no_counted_number() {
    let regions = [(); 8].map(|()| Region::shared(memfd(PAGE), 0, PAGE));
    let table = Table::create(fx(), TableOptions::new()).expect("a table");
    let mut shown = Vec::new();
    let mut large = 0;
    for region in &regions {
        for fx in [fx(), &*table] {
            let instance = Instance::on();
            assert_eq!(fx.wake_all(region.word(0)), Ok(0));
            let records = instance.records();
            let object = u64::from_str_radix(records.last().expect("a wake").get("object"), 16);
            shown.push(object.expect("a number"));
        }
        assert_eq!(shown[shown.len() - 2], object_of(region.word(0)));
    }
    for (nr, one) in shown.iter().enumerate() {
        large += u32::from(*one >> 32 != 0);
        assert!(!shown[..nr].contains(one));
    }
    // One of them may be small by chance.
    assert!(large + 1 >= shown.len() as u32, "{shown:x?}");
}
