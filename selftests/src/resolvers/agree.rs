// SPDX-License-Identifier: GPL-2.0
//! Memory of every kind: one key, whoever looks.

use super::{Via, each, meet, meet_by_all_calls};
use crate::harness::{PAGE, named_trial};
use crate::keys::{KINDS, Sample};
use crate::memory::{
    AioRing, Region, State, named_mapping, pci_memory, rw, secret, state_of, states_from,
};
use libtest_mimic::Trial;
use nix::sys::mman::{MapFlags, ProtFlags};
use procfs::process::MMapPath;
use rfutex::{Error, Resolver, Word};

/// Kinds on which the resolvers differ: [`super::differ`] has them.
const DIFFERENT: [&str; 3] = [
    "tmpfs_huge_read_only_private",
    "ext4_read_only_private",
    "xfs_read_only_private",
];

/// One test a kind, as `resolvers::agree::KIND`, and a few more.
pub fn trials() -> Vec<Trial> {
    let kinds = KINDS
        .iter()
        .filter(|(kind, _)| !DIFFERENT.contains(kind))
        .map(|&(kind, sample)| {
            named_trial(format!("resolvers::agree::{kind}"), move || {
                same(sample());
            })
        });
    kinds.chain(others::trials()).collect()
}

mod others {
    use super::{aio_ring, no_key, untouched, untouched_by_a_wake};

    trials![aio_ring, no_key, untouched, untouched_by_a_wake];
}

/// The key of `word`, on which all agree.
#[track_caller]
fn agreed(word: Word<'static>) -> rfutex::Key {
    let keys = each().into_iter().map(|via| (via.resolver, via.key(word)));
    let keys: Vec<_> = keys.collect();
    let key = keys[0].1.expect("a key");
    for (resolver, found) in keys {
        assert_eq!(found, Ok(key), "{resolver:?} of {word:?}");
    }
    key
}

/// Each word has the same key for all, which is no other word's; and its waiters are met.
fn same(sample: Sample) {
    let vias = each();
    let mut keys = vec![];
    for (i, &word) in sample.words.iter().enumerate() {
        let again = sample.again.get(i).copied().unwrap_or(word);
        let key = agreed(word);
        assert_eq!(agreed(again), key);
        assert!(!keys.contains(&key), "{key:?} is one word's");
        keys.push(key);
        // What lies on the last page is the hardest to find.
        if i + 1 == sample.words.len() {
            meet_by_all_calls(&vias, word, again);
        } else {
            meet(&vias, word, again);
        }
    }
    for &stranger in &sample.strangers {
        assert!(!keys.contains(&agreed(stranger)));
    }
}

/// No file that a user has opened, and no inode that looks like a file's.
fn aio_ring() {
    let (ring, other) = (AioRing::new(), AioRing::new());
    agreed(ring.word());
    let vias = each();
    meet_by_all_calls(&vias, ring.word(), ring.word());
    let waiter = vias[0].waiter(ring.word(), super::word_value(ring.word()));
    for via in &vias {
        assert_eq!(via.fx.wake_all(other.word()), Ok(0));
    }
    assert_eq!(vias[0].fx.wake_all(ring.word()), Ok(1));
    assert_eq!(waiter.join(), Ok(()));
}

/// What no resolver finds a key for.
fn no_key() {
    let nothing = Region::private(PAGE);
    nothing.map_nothing_over();
    let secret = Region::shared(secret(PAGE), 0, PAGE);
    let pci = [MapFlags::MAP_SHARED, MapFlags::MAP_PRIVATE]
        .map(|flags| Region::file(pci_memory(), 0, PAGE, ProtFlags::PROT_READ, flags));
    let words = [
        named_mapping(MMapPath::Vdso).expect("a vdso"),
        named_mapping(MMapPath::Vvar).expect("a vvar"),
        secret.word(0),
        pci[0].word(0),
        pci[1].word(0),
        Word::at(0, 4),
        Word::at(0x1000, 4),
        Word::at(0x7fff_ffff_f000, 4),
        Word::at(0x8000_0000_0000, 4),
        Word::at(0xffff_8880_0000_0000, 4),
        Word::at(0xffff_ffff_ff60_0000, 4),
        Word::at(!0 << 2, 4),
    ];
    for via in each() {
        for word in words {
            let how = (via.resolver, word);
            assert_eq!(via.key(word), Err(Error::Fault), "{how:?}");
            assert_eq!(via.fx.wait(word, 0), Err(Error::Fault), "{how:?}");
            assert_eq!(via.fx.wake_all(word), Err(Error::Fault), "{how:?}");
        }
    }
}

/// A page that is not there yet: the first to wait has it made.
fn untouched() {
    let vias = each();
    for (nr, first) in vias.iter().enumerate() {
        let region = Region::anonymous(PAGE, rw(), MapFlags::MAP_PRIVATE);
        let word = region.word(8);
        assert_eq!(state_of(word), State::Absent);
        let waiter = first.waiter(word, 0);
        assert_ne!(state_of(word), State::Absent);
        let waking = &vias[(nr + 1) % vias.len()];
        assert_eq!(waking.fx.wake_all(word), Ok(1));
        assert_eq!(waiter.join(), Ok(()));
        meet(&vias, word, word);
        agreed(word);
    }
}

/// By way of the VMA a wake has nothing made.
fn untouched_by_a_wake() {
    let via = Via::new(Resolver::Vma);
    for flags in [MapFlags::MAP_PRIVATE, MapFlags::MAP_SHARED] {
        let region = Region::anonymous(2 * PAGE, rw(), flags);
        let [word, other] = [region.word(8), region.word(PAGE)];
        assert_eq!(via.nr_waiters(word), 0);
        assert_eq!(via.fx.wake_all(word), Ok(0));
        assert_eq!(via.fx.wake(word, 1, 1), Ok(0));
        assert_eq!(via.fx.requeue(word, other, 1, 1), Ok(0));
        assert_eq!(states_from(word, 2), [State::Absent; 2]);
    }
}
