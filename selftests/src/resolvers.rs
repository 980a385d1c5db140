// SPDX-License-Identifier: GPL-2.0
//! The resolvers side by side: they find the same key, but for differences that are documented; so
//! a waiter that came through one is met by a wake through any other.
//!
//! All resolvers of the build are compared: two on the plain module, three on the lab's.

mod agree;
mod choose;
mod differ;
mod frozen;
mod race;

use crate::harness::{PAGE, Task, until};
use crate::memory::{Region, RegionWord, State, rw, states_from};
use crate::wake_op::target;
use libtest_mimic::Trial;
use nix::sys::mman::MapFlags;
use rfutex::{Compare, Error, Features, Key, Op, Resolver, Rfutex, WaitEntry, Word};
use std::fmt::Debug;
use std::sync::Arc;

/// The tests of this module.
pub fn trials() -> Vec<Trial> {
    [
        choose::trials(),
        agree::trials(),
        differ::trials(),
        race::trials(),
        frozen::trials(),
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
pub fn each() -> Vec<Via> {
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
pub struct Via {
    /// The resolver.
    pub resolver: Resolver,
    /// An open file that uses it.
    pub fx: Arc<Rfutex>,
}

impl Via {
    /// Opens a file that uses `resolver`.
    pub fn new(resolver: Resolver) -> Self {
        let fx = open();
        fx.set_resolver(resolver).expect("a resolver of this build");
        Self {
            resolver,
            fx: Arc::new(fx),
        }
    }

    /// The key that it finds.
    #[track_caller]
    pub fn key(&self, word: Word<'static>) -> Result<Key, Error> {
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
    pub fn waiter(&self, word: Word<'static>, val: u64) -> Task<Result<(), Error>> {
        self.sleeper(word, move |fx| fx.wait(word, val))
    }

    /// A thread that sleeps in the call `sleep`, as the only one on `word`, and is queued there.
    #[track_caller]
    pub fn sleeper<R: Debug + Send + 'static>(
        &self,
        word: Word<'static>,
        sleep: impl FnOnce(&Rfutex) -> R + Send + 'static,
    ) -> Task<R> {
        let fx = self.fx.clone();
        let task = Task::spawn(move || sleep(&fx));
        until("a waiter is queued, or has failed", || {
            task.is_finished() || self.nr_waiters(word) == 1
        });
        if task.is_finished() {
            let how = self.resolver;
            panic!("by {how:?} on {word:?} it ended at once: {:?}", task.join());
        }
        task
    }

    #[track_caller]
    pub fn nr_waiters(&self, word: Word<'static>) -> u32 {
        self.fx.key_info(word).expect("a key").nr_waiters
    }
}

/// Who waits on `word` through each of them is met through each, there or on `same`, which is the
/// same word.
#[track_caller]
pub fn meet(vias: &[Via], word: Word<'static>, same: Word<'static>) {
    let val = word_value(word);
    for_each_pair(vias, |sleeping, waking| {
        meet_a_wait(sleeping, waking, [word, same], val);
    });
}

/// Likewise by every call that sleeps or wakes. `same` can be written.
#[track_caller]
pub fn meet_by_all_calls(vias: &[Via], word: Word<'static>, same: Word<'static>) {
    let val = word_value(word);
    for_each_pair(vias, |sleeping, waking| {
        meet_a_wait(sleeping, waking, [word, same], val);
        meet_with_another_word(sleeping, waking, [word, same], val);
    });
}

#[track_caller]
fn for_each_pair(vias: &[Via], f: impl Fn(&Via, &Via)) {
    for sleeping in vias {
        vias.iter().for_each(|waking| f(sleeping, waking));
    }
}

/// A waiter on a word is counted, and woken.
#[track_caller]
fn meet_a_wait(sleeping: &Via, waking: &Via, [word, same]: [Word<'static>; 2], val: u64) {
    let how = (sleeping.resolver, waking.resolver, word);
    let waiter = sleeping.waiter(word, val);
    assert_eq!(waking.nr_waiters(same), 1, "{how:?}");
    assert_eq!(waking.fx.wake_all(same.private()), Ok(0), "{how:?}");
    assert_eq!(waking.fx.wake_all(same), Ok(1), "{how:?}");
    assert_eq!(waiter.join(), Ok(()), "{how:?}");
}

/// A sleeper is found by the calls that take two words, or a list of them.
#[track_caller]
fn meet_with_another_word(
    sleeping: &Via,
    waking: &Via,
    [word, same]: [Word<'static>; 2],
    val: u64,
) {
    let how = (sleeping.resolver, waking.resolver, word);
    let fx = &waking.fx;
    let aside = Region::anonymous(3 * PAGE, rw(), MapFlags::MAP_SHARED);
    let [there, changed, swapped] = [0, 1, 2].map(|page| aside.word(page * PAGE));

    let waiter = sleeping.waiter(word, val);
    assert_eq!(fx.requeue_if(same, val, there, 0, 1), Ok(1), "{how:?}");
    let waiting = [word, there].map(|word| sleeping.nr_waiters(word));
    assert_eq!(waiting, [0, 1], "{how:?}");
    assert_eq!(fx.requeue_if(there, 0, same, 0, 1), Ok(1), "{how:?}");
    let woken = fx.wake_op(there, 1, target(same), 1, Op::Add(0), Compare::Equal(val));
    assert_eq!(woken, Ok(1), "{how:?}");
    assert_eq!(waiter.join(), Ok(()), "{how:?}");

    // No page is there before a call needs one.
    assert_eq!(states_from(changed, 2), [State::Absent; 2]);
    let any = sleeping.sleeper(word, move |fx| {
        fx.wait_any(&[WaitEntry::new(word, val)], None)
    });
    let set = (Op::Set(5), Compare::Equal(0));
    let woken = fx.wake_op(same, 1, target(changed), 1, set.0, set.1);
    assert_eq!((woken, changed.load()), (Ok(1), 5), "{how:?}");
    assert_eq!(any.join(), Ok(0), "{how:?}");

    let waiter = sleeping.waiter(word, val);
    let swap = waking.sleeper(swapped, move |fx| fx.swap(swapped, 0, same));
    assert_eq!(waiter.join(), Ok(()), "{how:?}");
    assert_eq!(sleeping.fx.wake_all(swapped), Ok(1), "{how:?}");
    assert_eq!(swap.join(), Ok(()), "{how:?}");
}

fn word_value(word: Word<'static>) -> u64 {
    word.load().into()
}
