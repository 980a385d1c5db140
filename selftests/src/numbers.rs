// SPDX-License-Identifier: GPL-2.0
//! The numbers that keys are made of: the kernel's futexes and rfutex share them, and none is ever
//! given out twice.
//!
//! A file has one in its inode (`i_sequence`), an address space in its mm. Whichever of the two
//! services uses it first gives it one. What KEY_INFO calls the object stands for that number.

mod recycled;
mod reload;
mod storm;

use crate::harness::{BOTH, Service, object_of};
use libtest_mimic::Trial;
use rfutex::Word;
use std::collections::HashSet;

/// The tests of this module.
pub fn trials() -> Vec<Trial> {
    [storm::trials(), recycled::trials(), reload::trials()]
        .into_iter()
        .flatten()
        .collect()
}

/// No two of `words` are of one file or address space.
#[track_caller]
fn all_differ(words: &[Word<'static>]) {
    let objects: HashSet<_> = words.iter().map(|word| object_of(*word)).collect();
    assert_eq!(objects.len(), words.len(), "of so many words");
}

/// Who waits on some of `words`, through each of the services, is met there and nowhere else.
#[track_caller]
fn meet_only_there(words: &[Word<'static>]) {
    const WAITING: usize = 4;
    let wake = |service: Service, word| service.wake(word, u32::MAX);
    for service in BOTH {
        let (waiting, others) = words.split_at(WAITING);
        let sleepers: Vec<_> = waiting
            .iter()
            .map(|word| (*word, service.sleeper(*word, 0)))
            .collect();
        for other in others {
            for service in BOTH {
                assert_eq!(wake(service, *other), Ok(0), "{service:?}");
            }
        }
        for (word, sleeper) in sleepers {
            assert!(!sleeper.is_finished());
            assert_eq!(wake(service, word), Ok(1), "{service:?}");
            sleeper.woken();
        }
    }
}
