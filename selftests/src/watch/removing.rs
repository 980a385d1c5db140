// SPDX-License-Identifier: GPL-2.0
//! A watch is removed while somebody reads its event, in a page fault. Each wake is told of either by
//! the removal, or by an event, and by nothing else.

use super::reading::{events_at, faulting, missing};
use super::{EVENT, add, add_repeat, counts, events, readable, set};
use crate::harness::{Mapping, PAGE, fx, nr_waiters};
use crate::memory::Region;
use rfutex::{WatchId, Watches};

trials![
    once,
    once_and_failed,
    repeat,
    repeat_met_again,
    repeat_met_again_and_failed,
    behind_the_fault,
    closed_after_it_failed,
];

/// How often the watch is met before the read, and while it faults.
struct Met {
    before: u64,
    meanwhile: u64,
}

/// Removes the watch `add` has added while its event is being read. If the read is let go on,
/// returns what it has read. Everything that comes after that is read by [`counts`].
#[track_caller]
fn removed(repeat: bool, met: Met, let_go_on: bool) -> Vec<(u64, u64)> {
    let map = Mapping::shared(PAGE);
    let set = set();
    let word = map.word(0);
    let id = if repeat {
        add_repeat(&set, word, 7)
    } else {
        add(&set, word, 7)
    };
    let wake = || assert_eq!(fx().wake_all(word), Ok(1));
    (0..met.before).for_each(|_| wake());
    let (region, uffd) = missing();
    let addr = region.base() as u64;
    let (task, _) = faulting(&set, &uffd, addr, 1);
    (0..met.meanwhile).for_each(|_| wake());
    // Twice: it is gone, whatever becomes of its event.
    assert_eq!([set.remove(id), set.remove(id)], [Ok(None); 2]);
    assert_eq!(nr_waiters(word), 0);
    assert_eq!(fx().wake_all(word), Ok(0));
    let mut read = vec![];
    if let_go_on {
        uffd.fill(addr, &Region::private(PAGE));
        assert_eq!(task.join(), Ok(1));
        read = events_at(&region, 0, 1);
    } else {
        region.map_nothing_over();
        drop(uffd);
        assert_eq!(task.join(), Err(nix::Error::EFAULT));
    }
    assert_eq!(set.remove(id), Ok(None));
    read.extend(counts(&set));
    // It does not come back.
    assert!(!readable(&set));
    assert_eq!(set.remove(id), Ok(None));
    check_slot_is_free(&set, &map, id);
    read
}

/// The watch was freed: the next one gets its slot.
#[track_caller]
fn check_slot_is_free(set: &Watches, map: &Mapping, id: WatchId) {
    let next = add(set, map.word(64), 8);
    assert_eq!(next.0 as u32, id.0 as u32, "the lowest free slot");
    assert_ne!(next, id);
}

fn once() {
    let met = Met {
        before: 1,
        meanwhile: 0,
    };
    assert_eq!(removed(false, met, true), [(7, 1)]);
}

fn once_and_failed() {
    let met = Met {
        before: 1,
        meanwhile: 0,
    };
    assert_eq!(removed(false, met, false), [(7, 1)]);
}

fn repeat() {
    let met = Met {
        before: 2,
        meanwhile: 0,
    };
    assert_eq!(removed(true, met, true), [(7, 2)]);
}

fn repeat_met_again() {
    let met = Met {
        before: 2,
        meanwhile: 3,
    };
    assert_eq!(removed(true, met, true), [(7, 2), (7, 3)]);
}

fn repeat_met_again_and_failed() {
    let met = Met {
        before: 2,
        meanwhile: 3,
    };
    assert_eq!(removed(true, met, false), [(7, 5)]);
}

/// An event that was not yet taken by the read that faults is withdrawn; one that was taken but not
/// copied comes.
fn behind_the_fault() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let ids: Vec<_> = (1..4)
        .map(|cookie| add(&set, map.word(0), cookie))
        .collect();
    assert_eq!(fx().wake_all(map.word(0)), Ok(3));
    let (region, uffd) = missing();
    let addr = region.base() as u64;
    uffd.fill(addr, &Region::private(PAGE));
    let at = PAGE - EVENT;
    let (task, _) = faulting(&set, &uffd, addr + at as u64, 2);
    // The first one is copied already, and the second one is just being copied.
    assert_eq!(set.remove(ids[0]), Ok(None));
    assert_eq!(set.remove(ids[1]), Ok(None));
    assert_eq!(set.remove(ids[2]), Ok(Some(1)));
    region.map_nothing_over();
    drop(uffd);
    assert_eq!(task.join(), Ok(1));
    assert_eq!(counts(&set), [(2, 1)]);
    assert_eq!(events(&set), []);
}

/// Nobody reads what was put back.
fn closed_after_it_failed() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let id = add_repeat(&set, map.word(0), 1);
    add(&set, map.word(0), 2);
    assert_eq!(fx().wake_all(map.word(0)), Ok(2));
    let (region, uffd) = missing();
    let (task, _) = faulting(&set, &uffd, region.base() as u64, 2);
    assert_eq!(set.remove(id), Ok(None));
    // The read holds the file.
    drop(set);
    region.map_nothing_over();
    drop(uffd);
    assert_eq!(task.join(), Err(nix::Error::EFAULT));
    assert_eq!(nr_waiters(map.word(0)), 0);
}
