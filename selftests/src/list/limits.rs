// SPDX-License-Identifier: GPL-2.0
//! How many listings a user can have, and what memory they take.

use super::{ENTRY, all, listing};
use crate::harness::{Child, Group, Mapping, PAGE, ReloadedModule, added_to, fx};
use rfutex::{Error, Rfutex, WatchOptions, Watches};

trials![counted_as_watches, memory];

/// So many watches a listing counts as.
const WORTH: u64 = 64;

/// A user has less of the one if he has more of the other.
fn counted_as_watches() {
    let map = Mapping::shared(PAGE);
    let _module = ReloadedModule::with(&format!("watches={}", 4 * WORTH + WORTH - 1));
    let device = Rfutex::open().expect("the device");
    let full = Some(Error::Os(libc::ENOSPC));
    let add = |set: &Watches| set.add(map.word(0), 0, 1, WatchOptions::default());
    for _ in 0..3 {
        let mut files: Vec<_> = (0..4)
            .map(|_| listing(&device, ENTRY).expect("a listing"))
            .collect();
        assert_eq!(device.waiters().err(), full);
        let set = Watches::nonblocking(&device).expect("a watch set");
        for _ in 1..WORTH {
            add(&set).expect("a watch");
        }
        assert_eq!(add(&set).err(), full);
        drop(files.pop());
        add(&set).expect("a watch");
        assert_eq!(listing(&device, ENTRY).err(), full);
        drop(set);
        assert_eq!(all(&device), []);
    }
}

/// A listing takes no more memory than the watches that it counts as, which is what limits the
/// memory that a user can have.
fn memory() {
    const NR: usize = 300;
    const OF_A_WATCH: i64 = 192;
    fx();
    let group = Group::new();
    Child::run(|| {
        group.enter();
        // What else is allocated on the way.
        let mut files = Vec::with_capacity(NR);
        drop(listing(fx(), ENTRY).expect("a listing"));
        let before = group.memory();
        files.extend((0..NR).map(|_| listing(fx(), ENTRY).expect("a listing")));
        let each = (group.memory() - before) / NR as i64;
        let checks = added_to("kmalloc-cg-8k", 8192);
        println!("a listing takes {each} bytes, {checks} of them because of the kernel's checks");
        assert!(each > 64 * 100, "{each}: it has room for what it finds");
        assert!(each - checks <= WORTH as i64 * OF_A_WATCH, "{each}");
    })
    .join();
}
