// SPDX-License-Identifier: GPL-2.0
//! The resolvers agree while other threads change what they look at. Bounded by counts.

use super::{Via, each, meet_by_all_calls};
use crate::harness::{PAGE, Task, effort};
use crate::memory::{Compaction, HUGE, Region, SwapArea, memfd, rw, thp, try_collapse, try_split};
use nix::sys::mman::MapFlags;
use nix::unistd::ftruncate;
use rfutex::{Error, Key, Word};
use std::sync::Arc;

trials![
    truncate,
    remap,
    replaced,
    split,
    migrate,
    swap_anonymous,
    swap_shared
];

/// How often the memory is changed.
const CHANGES: u32 = 60;

/// How often the words are looked at, at least.
const LOOKS: u32 = 200;

/// How many files are mapped at each change, where each is a new one.
const REPLACEMENTS: u32 = 20;

/// Changes the memory up to `CHANGES` times in a thread of its own, and has the words looked at meanwhile.
fn meanwhile(change: impl Fn(u32) + Send + 'static, mut look: impl FnMut(&[Via])) {
    let vias = each();
    let changes = Task::spawn(move || (0..effort(CHANGES)).for_each(change));
    let mut looks = 0;
    while looks < effort(LOOKS) || !changes.is_finished() {
        look(&vias);
        looks += 1;
    }
    changes.join();
}

/// All find the same key, which was there before.
#[track_caller]
fn agreed(vias: &[Via], word: Word<'static>, key: Key) {
    for via in vias {
        assert_eq!(via.key(word), Ok(key), "{:?} of {word:?}", via.resolver);
    }
}

/// The keys of `words`, and that they stay while the memory is changed, and waiters with them.
fn stay(words: Vec<Word<'static>>, change: impl Fn(u32) + Send + 'static) {
    let vias = each();
    let key = |word| (word, vias[0].key(word).expect("a key"));
    let keys: Vec<_> = words.into_iter().map(key).collect();
    let mut round = 0;
    meanwhile(change, |vias| {
        for &(word, key) in &keys {
            agreed(vias, word, key);
        }
        // Each pair of resolvers takes a while: one word, now and then.
        if round % 40 == 0 {
            let (word, _) = keys[round / 40 % keys.len()];
            meet_by_all_calls(vias, word, word);
        }
        round += 1;
    });
}

/// The page is there or is not; if it is, it is the same word.
fn truncate() {
    let file = Arc::new(memfd(PAGE));
    let region = Region::shared(&file, 0, PAGE);
    region.touch();
    let word = region.word(8);
    let key = each()[0].key(word).expect("a key");
    let change = move |_| {
        ftruncate(&file, 0).expect("ftruncate");
        ftruncate(&file, PAGE as i64).expect("ftruncate");
    };
    meanwhile(change, |vias| {
        for via in vias {
            let found = via.key(word);
            assert!(
                found == Ok(key) || found == Err(Error::Fault),
                "{found:?} by {:?}",
                via.resolver
            );
            let woken = via.fx.wake_all(word);
            assert!(
                woken == Ok(0) || woken == Err(Error::Fault),
                "{woken:?} by {:?}",
                via.resolver
            );
        }
    });
}

/// Two files by turns at one address: the key is of one of them.
fn remap() {
    let files = Arc::new([memfd(PAGE), memfd(PAGE)]);
    let region = Arc::new(Region::shared(&files[0], 0, PAGE));
    let word = region.word(8);
    let mapped = region.clone();
    let map = move |nr: u32| {
        let file = &files[nr as usize % 2];
        mapped.map_over(0, PAGE, file, 0, rw(), MapFlags::MAP_SHARED);
    };
    let keys = [0, 1].map(|nr| {
        map(nr);
        each()[0].key(word).expect("a key")
    });
    assert_ne!(keys[0], keys[1]);
    meanwhile(map, |vias| {
        for via in vias {
            let found = via.key(word);
            let found = found.unwrap_or_else(|error| panic!("{error} by {:?}", via.resolver));
            assert!(keys.contains(&found), "{found:?} by {:?}", via.resolver);
            let woken = via.fx.wake_all(word);
            assert_eq!(woken, Ok(0), "by {:?}", via.resolver);
        }
    });
    drop(region);
}

/// A new file each time. The old one goes away with its mapping, and so does its page, which may just
/// have been looked up. Still there is a word at the address all the time.
fn replaced() {
    let region = Arc::new(Region::shared(memfd(PAGE), 0, PAGE));
    let word = region.word(8);
    let mapped = region.clone();
    let replace = move |_| {
        for _ in 0..REPLACEMENTS {
            mapped.map_over(0, PAGE, memfd(PAGE), 0, rw(), MapFlags::MAP_SHARED);
        }
    };
    meanwhile(replace, |vias| {
        for via in vias {
            let found = via.key(word);
            assert!(found.is_ok(), "{found:?} by {:?}", via.resolver);
            let woken = via.fx.wake_all(word);
            assert_eq!(woken, Ok(0), "by {:?}", via.resolver);
        }
    });
    drop(region);
}

fn split() {
    let region = Arc::new(thp(HUGE));
    let words = [0, PAGE, HUGE / 2 + 4, HUGE - PAGE].map(|at| region.word(at));
    let huge = region.clone();
    stay(words.to_vec(), move |_| {
        // Either may fail: others refer to the page.
        try_split(&huge);
        try_collapse(&huge);
    });
    drop(region);
}

fn migrate() {
    let compaction = Compaction::new();
    let region = Region::shared(memfd(16 * PAGE), 0, 16 * PAGE);
    region.touch();
    let private = Region::private(16 * PAGE);
    let words = [
        region.word(0),
        region.word(15 * PAGE + 4),
        private.word(0),
        private.word(15 * PAGE + 4),
    ];
    stay(words.to_vec(), move |_| compaction.run());
}

fn swapped(region: Region) {
    let _swap = SwapArea::new(16 << 20);
    region.touch();
    let region = Arc::new(region);
    let words = [region.word(0), region.word(3 * PAGE + 4)];
    let out = region.clone();
    stay(words.to_vec(), move |_| {
        // It comes back as others look at it: that it is all out at once is not asked.
        out.try_advise(0, out.len(), libc::MADV_PAGEOUT)
            .expect("MADV_PAGEOUT");
    });
    drop(region);
}

fn swap_anonymous() {
    swapped(Region::private(4 * PAGE));
}

fn swap_shared() {
    let region = Region::anonymous(4 * PAGE, rw(), MapFlags::MAP_SHARED);
    swapped(region);
}
