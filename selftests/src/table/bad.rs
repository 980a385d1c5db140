// SPDX-License-Identifier: GPL-2.0
//! What is refused.

use super::{table, with_arena};
use crate::harness::{CALLS, Child, Mapping, PAGE, fx};
use nix::unistd::{Uid, setresuid};
use rfutex::raw::{self, uapi};
use rfutex::{Error, Hold, Resolver, Table, TableOptions, Word};
use std::os::fd::AsFd;

trials![
    requests,
    sizes_of_the_struct,
    without_the_capability,
    words_beyond_the_end,
    words_without_an_arena,
    two_flags,
    misaligned,
];

/// Sends the request as it is. A file that is opened is closed again.
fn create(mut request: uapi::rfutex_table_create) -> Result<(), Error> {
    // SAFETY: The command writes nothing.
    let fd = unsafe { raw::call(fx().as_fd(), uapi::RFUTEX_TABLE_CREATE, &mut request) }?;
    nix::unistd::close(fd as i32).expect("close");
    Ok(())
}

fn requests() {
    let good = uapi::rfutex_table_create::default();
    assert_eq!(create(good), Ok(()));
    let bad = |change: &dyn Fn(&mut uapi::rfutex_table_create)| {
        let mut request = good;
        change(&mut request);
        create(request)
    };
    for bit in 1..32 {
        assert_eq!(
            bad(&|request| request.flags = 1 << bit),
            Err(Error::Invalid)
        );
    }
    for size in [
        1,
        8,
        PAGE as u64 - 1,
        PAGE as u64 + 8,
        u64::MAX,
        (1 << 30) + PAGE as u64,
    ] {
        assert_eq!(
            bad(&|request| request.arena_size = size),
            Err(Error::Invalid)
        );
    }
    for resolver in [4, 100, u32::MAX] {
        assert_eq!(
            bad(&|request| request.resolver = resolver),
            Err(Error::Invalid)
        );
    }
    for hold in [3, u32::MAX] {
        assert_eq!(bad(&|request| request.hold = hold), Err(Error::Invalid));
    }
    for buckets in [(1 << 20) + 1, u32::MAX] {
        assert_eq!(
            bad(&|request| request.nr_buckets = buckets),
            Err(Error::Invalid)
        );
    }
}

/// A newer struct is accepted if the module knows all that it says; an older one is extended.
fn sizes_of_the_struct() {
    let call = |bytes: &mut [u8]| {
        // SAFETY: The command writes nothing.
        let fd = unsafe { raw::call_bytes(fx().as_fd(), uapi::RFUTEX_TABLE_CREATE, bytes) }?;
        nix::unistd::close(fd as i32).expect("close");
        Ok(())
    };
    for len in [0, 4, 16, 32, 40, 128] {
        assert_eq!(call(&mut vec![0; len]), Ok(()));
    }
    let mut newer = vec![0; 40];
    newer[36] = 1;
    assert_eq!(call(&mut newer), Err(Error::Os(libc::E2BIG)));
}

fn without_the_capability() {
    let device = fx();
    Child::run(|| {
        let nobody = Uid::from_raw(65534);
        setresuid(nobody, nobody, nobody).expect("setresuid");
        let denied = Some(Error::Os(libc::EPERM));
        let create = |options| Table::create(device, options).err();
        assert_eq!(create(TableOptions::new().hold(Hold::Inode)), denied);
        assert_eq!(create(TableOptions::new().buckets(4097)), denied);
        assert_eq!(create(TableOptions::new().buckets(4096)), None);
        let all = TableOptions::new()
            .hold(Hold::Nothing)
            .resolver(Resolver::Vma);
        assert_eq!(create(all.arena(16 * PAGE as u64)), None);
    })
    .join();
}

/// All calls, with a word that is fine and one that is not, in either place.
fn words_beyond_the_end() {
    let table = with_arena(2);
    let end = 2 * PAGE as u64;
    for call in CALLS {
        for offset in [end, end + 8, 1 << 32, (1 << 62) + 8, u64::MAX - 7] {
            let (good, bad) = (Word::in_arena(end - 8, 4), Word::in_arena(offset, 4));
            assert_eq!(call.run(&table, bad, good), Err(Error::Fault), "{call:?}");
        }
    }
}

fn words_without_an_arena() {
    let map = Mapping::shared(PAGE);
    for device in [fx(), &table()] {
        for call in CALLS {
            let word = Word::in_arena(0, 4);
            let result = call.run(device, word, map.word(0));
            assert_eq!(result, Err(Error::Invalid), "{call:?}");
        }
        assert_eq!(device.wake_one(Word::in_arena(0, 4)), Err(Error::Invalid));
        assert_eq!(device.wake_all(Word::in_arena(0, 4)), Err(Error::Invalid));
    }
}

/// A word is private, or in an arena, not both.
fn two_flags() {
    let table = with_arena(1);
    for flags in [
        uapi::RFUTEX_WORD_PRIVATE | uapi::RFUTEX_WORD_ARENA,
        4,
        1 << 31,
    ] {
        let mut wake = uapi::rfutex_wake {
            word: uapi::rfutex_word {
                addr: 0,
                size: 4,
                flags,
            },
            mask: 1,
            nr: 1,
            pad: 0,
        };
        // SAFETY: The command writes nothing.
        let result = unsafe { raw::call(table.as_fd(), uapi::RFUTEX_WAKE, &mut wake) };
        assert_eq!(result, Err(Error::Invalid));
    }
}

fn misaligned() {
    let table = with_arena(1);
    for size in [2, 4, 8] {
        for offset in 1..u64::from(size) {
            let word = Word::in_arena(64 + offset, size);
            assert_eq!(table.wait(word, 1), Err(Error::Invalid));
        }
    }
    for size in [0, 3, 16, u32::MAX] {
        assert_eq!(table.wait(Word::in_arena(64, size), 1), Err(Error::Invalid));
    }
}
