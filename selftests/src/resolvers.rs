// SPDX-License-Identifier: GPL-2.0
//! The resolvers side by side: they find the same key, but for differences that are documented; so
//! a waiter that came through one is met by a wake through any other.
//!
//! All resolvers of the build are compared: two on the plain module, three on the lab's.

mod agree;
mod choose;
mod differ;
mod race;

use crate::harness::{Task, until};
use libtest_mimic::Trial;
use rfutex::{Error, Features, Key, Resolver, Rfutex, Word};
use std::sync::Arc;

/// The tests of this module.
pub fn trials() -> Vec<Trial> {
    [
        choose::trials(),
        agree::trials(),
        differ::trials(),
        race::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Each resolver, and the feature that says that a build has it.
const RESOLVERS: [(Resolver, Features); 3] = [
    (Resolver::Page, Features::RESOLVER_PAGE),
    (Resolver::Vma, Features::RESOLVER_VMA),
    (Resolver::Locked, Features::RESOLVER_LOCKED),
];

/// An open file of its own for each resolver of this build.
fn each() -> Vec<Via> {
    let features = open().query().expect("query").features;
    RESOLVERS
        .into_iter()
        .filter(|&(_, feature)| features.contains(feature))
        .map(|(resolver, _)| Via::new(resolver))
        .collect()
}

fn open() -> Rfutex {
    Rfutex::open().expect("/dev/rfutex opens")
}

/// A way through one of the resolvers.
#[derive(Clone)]
struct Via {
    resolver: Resolver,
    fx: Arc<Rfutex>,
}

impl Via {
    fn new(resolver: Resolver) -> Self {
        let fx = open();
        fx.set_resolver(resolver).expect("a resolver of this build");
        Self {
            resolver,
            fx: Arc::new(fx),
        }
    }

    /// The key that it finds.
    #[track_caller]
    fn key(&self, word: Word<'static>) -> Result<Key, Error> {
        self.fx.key_info(word).map(|info| {
            assert_eq!(info.resolver, self.resolver, "the resolver that was used");
            // Only this one looks at no page.
            let looked = self.resolver != Resolver::Vma && !word.is_private();
            assert_eq!(info.folio.is_some(), looked, "{:?} of {word:?}", info.folio);
            info.key
        })
    }

    /// A thread that waits on `word`, and is queued.
    #[track_caller]
    fn waiter(&self, word: Word<'static>, val: u64) -> Task<Result<(), Error>> {
        let fx = self.fx.clone();
        let task = Task::spawn(move || fx.wait(word, val));
        until("a waiter is queued, or has failed", || {
            task.is_finished() || self.nr_waiters(word) == 1
        });
        task
    }

    #[track_caller]
    fn nr_waiters(&self, word: Word<'static>) -> u32 {
        self.fx.key_info(word).expect("a key").nr_waiters
    }
}

/// A waiter that is queued on `word` through each of them is counted and woken through each, there
/// or on `same`, which is the same word.
#[track_caller]
fn meet(vias: &[Via], word: Word<'static>, same: Word<'static>) {
    for queued in vias {
        for waking in vias {
            let how = (queued.resolver, waking.resolver, word);
            let waiter = queued.waiter(word, word_value(word));
            assert!(!waiter.is_finished(), "{how:?}: {:?}", waiter.join());
            assert_eq!(waking.nr_waiters(same), 1, "{how:?}");
            assert_eq!(waking.fx.wake_all(same.private()), Ok(0), "{how:?}");
            assert_eq!(waking.fx.wake_all(same), Ok(1), "{how:?}");
            assert_eq!(waiter.join(), Ok(()), "{how:?}");
        }
    }
}

fn word_value(word: Word<'static>) -> u64 {
    use crate::memory::RegionWord;
    word.load().into()
}
