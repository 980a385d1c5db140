// SPDX-License-Identifier: GPL-2.0
//! The tests that every kind of memory has to pass.

use super::kinds::{KINDS, Object, Sample};
use crate::harness::{Child, Waiter, fx, named_trial, nr_waiters, until_queued};
use crate::memory::{RegionWord, folio_of, mapping_of};
use libtest_mimic::Trial;
use rfutex::{Folio, Key, KeyInfo, Word};

/// Each test with each kind, as `keys::KIND::TEST`.
pub fn trials() -> Vec<Trial> {
    type Test = (&'static str, fn(Sample));
    const TESTS: [Test; 3] = [("key", key), ("wakes", wakes), ("processes", processes)];
    KINDS
        .iter()
        .flat_map(|&(kind, sample)| {
            TESTS.map(|(test, run)| {
                named_trial(format!("keys::{kind}::{test}"), move || {
                    run(sample());
                })
            })
        })
        .collect()
}

/// The key of `word`, and the folio that it says, which must be the one that the kernel shows.
#[track_caller]
pub fn key_of(word: Word<'static>) -> Key {
    // Gets the page into the page table.
    fx().key_info(word).expect("a key");
    loop {
        let before = folio_of(word);
        let info = fx().key_info(word).expect("a key");
        // Somebody may have split or collapsed it meanwhile.
        if folio_of(word) == before {
            assert_eq!(info.folio, Some(before), "the folio of {:#x}", word.addr());
            return info.key;
        }
    }
}

/// What the key of `word` must be.
fn expected(word: Word<'static>, object: Object) -> Key {
    let offset = word.offset();
    match object {
        Object::Mm => Key::Mm {
            index: word.page(),
            offset,
        },
        Object::Inode(stat) => {
            let map = mapping_of(word);
            if let Some(stat) = stat {
                assert_eq!((map.dev, map.ino), stat, "what maps and fstat(2) say");
            }
            Key::Inode {
                dev: map.dev,
                ino: map.ino,
                index: map.index,
                offset,
            }
        }
    }
}

/// The key has the right kind, object, index and offset; the folio is the one that is there.
fn key(sample: Sample) {
    let every = sample.words.iter().chain(&sample.again);
    for &word in every {
        assert_eq!(key_of(word), expected(word, sample.object));
        let KeyInfo {
            key,
            folio,
            nr_waiters,
            ..
        } = fx().key_info(word.private()).expect("a private key");
        let (index, offset) = (word.page(), word.offset());
        assert_eq!(key, Key::Private { index, offset });
        assert_eq!((folio, nr_waiters), (None::<Folio>, 0));
    }
    for (&word, &again) in sample.words.iter().zip(&sample.again) {
        assert_eq!(key_of(word), key_of(again));
    }
}

/// A waiter meets a wake on its own word, through whatever mapping, and on no other.
fn wakes(sample: Sample) {
    let Sample {
        words,
        again,
        strangers,
        ..
    } = &sample;
    for (i, &word) in words.iter().enumerate() {
        let same = again.get(i).copied().unwrap_or(word);
        let others = words.iter().chain(again).chain(strangers).copied();
        let others = others.filter(|&other| other != word && other != same);

        let waiter = Waiter::start(word, word.load().into());
        for other in others.chain([word.private(), same.private()]) {
            assert_eq!(nr_waiters(other), 0, "{other:?} is not {word:?}");
            assert_eq!(fx().wake_all(other), Ok(0), "{other:?} is not {word:?}");
        }
        assert_eq!(nr_waiters(same), 1);
        assert_eq!(fx().wake_all(same), Ok(1));
        waiter.woken();

        // The other way round, and by address alone.
        let private = word.private();
        let waiter = Waiter::start(private, word.load().into());
        for other in [word, same, same.private()] {
            if other != private {
                assert_eq!(fx().wake_all(other), Ok(0), "{other:?} is not {private:?}");
            }
        }
        assert_eq!(fx().wake_all(private), Ok(1));
        waiter.woken();
    }
}

/// Two processes meet where they share memory, at different addresses, and only there.
fn processes(sample: Sample) {
    for (i, &word) in sample.words.iter().enumerate() {
        let val = u64::from(word.load());
        match sample.object {
            Object::Inode(_) => {
                let child = Child::run(|| {
                    let again = sample.again[i];
                    fx().wait(again, val).expect("a wake");
                });
                until_queued(word, 1);
                assert_eq!(fx().wake_all(word.private()), Ok(0));
                assert_eq!(fx().wake_all(word), Ok(1));
                child.join();
            }
            Object::Mm => {
                let waiter = Waiter::start(word, val);
                // What the child has at the address is its own, copied or not.
                Child::run(|| {
                    assert_eq!(nr_waiters(word), 0);
                    assert_eq!(fx().wake_all(word), Ok(0));
                    word.store(val as u32 + 1);
                    assert_eq!(fx().wake_all(word), Ok(0));
                })
                .join();
                assert_eq!(fx().wake_all(word), Ok(1));
                waiter.woken();
            }
        }
    }
}
