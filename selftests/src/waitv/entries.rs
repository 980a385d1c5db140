// SPDX-License-Identifier: GPL-2.0
//! The array of entries: each of them is checked, whatever its place.

use super::{FEW, MAX, assert_nobody, words};
use crate::harness::{Mapping, PAGE, command, errno, fx, nr_waiters, until};
use libc::{E2BIG, EAGAIN, EFAULT, EINVAL, ETIMEDOUT};
use nix::sys::mman::ProtFlags;
use rfutex::raw::{bytes_of, uapi::*};

/// The size of an entry.
const SIZE: usize = size_of::<rfutex_waitv_entry>();

trials![
    invalid,
    no_word,
    invalid_before_memory,
    first_decides,
    array_cut_off,
    array_nowhere,
    larger_entries,
    shorter_entries,
    entry_sizes,
    fields,
    aligned_or_not,
];

/// Entries for `nr` words of a page that are 0, which would be right.
fn right(map: &Mapping, nr: usize) -> Vec<rfutex_waitv_entry> {
    words(map.addr(), nr)
        .into_iter()
        .map(|word| rfutex_waitv_entry {
            word: word.into(),
            val: 0,
            mask: RFUTEX_MASK_ANY,
            ..Default::default()
        })
        .collect()
}

/// A wait for these that times out at once.
fn request(entries: u64, nr: usize) -> rfutex_waitv {
    rfutex_waitv {
        entries,
        nr: nr as u32,
        entry_size: SIZE as u32,
        deadline: 0,
        clock: RFUTEX_CLOCK_MONOTONIC,
        flags: 0,
    }
}

fn call(mut request: rfutex_waitv) -> i32 {
    errno(command::call(fx(), RFUTEX_WAITV, &mut request))
}

/// The errno of a wait for these that times out at once if they are right.
fn call_on(entries: &[rfutex_waitv_entry]) -> i32 {
    call(request(entries.as_ptr().addr() as u64, entries.len()))
}

/// Does `change` to one entry, in each place.
#[track_caller]
fn check_each(change: impl Fn(&mut rfutex_waitv_entry), expected: i32) {
    let map = Mapping::shared(PAGE);
    for nr in [1, FEW, FEW + 1, MAX] {
        for at in [0, nr / 2, nr - 1] {
            let mut entries = right(&map, nr);
            assert_eq!(call_on(&entries), ETIMEDOUT);
            change(&mut entries[at]);
            assert_eq!(call_on(&entries), expected, "entry {at} of {nr}");
        }
        assert_nobody(&words(map.addr(), nr));
    }
}

fn invalid() {
    for size in [0, 3, 16, 1 << 31] {
        check_each(|entry| entry.word.size = size, EINVAL);
    }
    check_each(|entry| entry.word.addr += 1, EINVAL);
    for bit in [1, 2, 31] {
        check_each(|entry| entry.word.flags = 1 << bit, EINVAL);
    }
    check_each(|entry| entry.mask = 0, EINVAL);
    check_each(|entry| entry.val = 1 << 32, EINVAL);
    for bit in [0, 1, 31] {
        check_each(|entry| entry.flags = 1 << bit, EINVAL);
        check_each(|entry| entry.cond = 1 << bit, EINVAL);
    }
    check_each(|entry| entry.val = 1, EAGAIN);
}

fn no_word() {
    let hole = Mapping::nothing(PAGE);
    for addr in [0, hole.addr(), Mapping::end_of_user_space(), 1 << 63] {
        check_each(|entry| entry.word.addr = addr, EFAULT);
        check_each(
            |entry| {
                entry.word.addr = addr;
                entry.word.flags = RFUTEX_WORD_PRIVATE;
            },
            EFAULT,
        );
    }
}

/// What is wrong in the array is told first, wherever it is; then what has no key, then what has
/// another value.
fn invalid_before_memory() {
    let map = Mapping::shared(PAGE);
    let hole = Mapping::nothing(PAGE);
    for nr in [3, FEW + 3] {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let mut entries = right(&map, nr);
            let [fault, invalid, again] = order.map(|at| at + nr - 3);
            entries[again].val = 1;
            assert_eq!(call_on(&entries), EAGAIN);
            entries[fault].word.addr = hole.addr();
            entries[fault].word.flags = 0;
            assert_eq!(call_on(&entries), EFAULT);
            entries[invalid].mask = 0;
            assert_eq!(call_on(&entries), EINVAL, "{order:?}");
        }
    }
}

/// A private word has a key wherever it is. Of one that cannot be read and one that has another
/// value, the first in the array decides, as in futex(2), although the key of a word in a file may
/// be found only after a look at its value.
fn first_decides() {
    let map = Mapping::shared(PAGE);
    let hole = Mapping::nothing(PAGE);
    for nr in [2, FEW, FEW + 1, MAX] {
        for (unreadable, changed, expected) in [(0, nr - 1, EFAULT), (nr - 1, 0, EAGAIN)] {
            let mut entries = right(&map, nr);
            entries[changed].val = 1;
            assert_eq!(call_on(&entries), EAGAIN);
            entries[unreadable].word.addr = hole.addr();
            entries[unreadable].word.flags = RFUTEX_WORD_PRIVATE;
            assert_eq!(call_on(&entries), expected, "{nr} entries");
        }
        assert_nobody(&words(map.addr(), nr));
    }
}

/// Of the array only the first entries are there.
fn array_cut_off() {
    const LEN: usize = 2 * PAGE;
    let map = Mapping::shared(PAGE);
    let array = Mapping::private(LEN + PAGE);
    array.unmap_part(LEN, PAGE);
    for nr in [2, FEW, FEW + 1, MAX] {
        let entries = right(&map, nr);
        let bytes: Vec<u8> = entries.iter().flat_map(bytes_of).copied().collect();
        for there in [1, SIZE - 1, SIZE, SIZE * nr - 1] {
            let at = LEN - there;
            array.write(at, &bytes[..there]);
            let result = call(request(array.addr() + at as u64, nr));
            assert_eq!(result, EFAULT, "{there} bytes of {nr} entries");
        }
        // All of it, and not a byte more is read.
        array.write(LEN - bytes.len(), &bytes);
        let addr = array.addr() + (LEN - bytes.len()) as u64;
        assert_eq!(call(request(addr, nr)), ETIMEDOUT);
        assert_nobody(&words(map.addr(), nr));
    }
}

fn array_nowhere() {
    let end = Mapping::end_of_user_space();
    for addr in [
        0,
        8,
        end,
        end - SIZE as u64,
        u64::MAX - (SIZE as u64 - 1),
        u64::MAX - (2 * SIZE as u64 - 1),
        u64::MAX,
        1 << 63,
    ] {
        for nr in [1, 2, FEW + 1, MAX] {
            assert_eq!(call(request(addr, nr)), EFAULT, "{nr} at {addr:#x}");
        }
    }
    let map = Mapping::private(PAGE);
    map.protect(ProtFlags::PROT_NONE);
    assert_eq!(call(request(map.addr(), 1)), EFAULT);
    // The array is read only; its page need not be writable.
    let array = Mapping::private(PAGE);
    let words = Mapping::shared(PAGE);
    array.write(0, bytes_of(&right(&words, 1)[0]));
    array.protect(ProtFlags::PROT_READ);
    assert_eq!(call(request(array.addr(), 1)), ETIMEDOUT);
}

/// Entries of a newer program: what we do not know of them must be zero.
fn larger_entries() {
    let map = Mapping::shared(PAGE);
    for nr in [1, 2, FEW, FEW + 1, MAX] {
        for entry_size in [SIZE + 1, 64, 72, 4096] {
            let array = Mapping::private((nr * entry_size).next_multiple_of(PAGE));
            for (at, entry) in right(&map, nr).iter().enumerate() {
                array.write(at * entry_size, bytes_of(entry));
            }
            let request = rfutex_waitv {
                entry_size: entry_size as u32,
                ..request(array.addr(), nr)
            };
            assert_eq!(call(request), ETIMEDOUT, "{nr} of {entry_size} bytes");
            for (entry, byte) in [
                (0, SIZE),
                (nr - 1, entry_size - 1),
                (nr / 2, entry_size - 1),
            ] {
                let at = entry * entry_size + byte;
                array.write(at, &[1]);
                assert_eq!(
                    call(request),
                    E2BIG,
                    "{nr} of {entry_size} bytes, byte {at}"
                );
                array.write(at, &[0]);
            }
        }
    }
}

/// The size of an entry when it had no owner.
const FIRST_SIZE: usize = std::mem::offset_of!(rfutex_waitv_entry, owner_id);

/// Entries of older programs have no owner.
fn shorter_entries() {
    let map = Mapping::shared(PAGE);
    for nr in [1, 2, FEW, FEW + 1, MAX] {
        for entry_size in [FIRST_SIZE, FIRST_SIZE + 8, SIZE - 1] {
            let array = Mapping::private((nr * entry_size + SIZE).next_multiple_of(PAGE));
            // What is behind them does not matter.
            array.write(nr * entry_size, &[0xff; SIZE]);
            for (at, entry) in right(&map, nr).iter().enumerate() {
                array.write(at * entry_size, &bytes_of(entry)[..entry_size]);
            }
            let request = rfutex_waitv {
                entry_size: entry_size as u32,
                ..request(array.addr(), nr)
            };
            assert_eq!(call(request), ETIMEDOUT, "{nr} of {entry_size} bytes");
        }
    }
}

fn entry_sizes() {
    let map = Mapping::shared(PAGE);
    let entries = right(&map, 1);
    let request = request(entries.as_ptr().addr() as u64, 1);
    for entry_size in (0..FIRST_SIZE as u32).chain([4097, 8192, 1 << 31, u32::MAX]) {
        let request = rfutex_waitv {
            entry_size,
            ..request
        };
        assert_eq!(call(request), EINVAL, "{entry_size}");
    }
}

fn fields() {
    let map = Mapping::shared(PAGE);
    let entries = right(&map, MAX);
    let right = request(entries.as_ptr().addr() as u64, 2);
    for nr in [0, MAX as u32 + 1, 1 << 31, u32::MAX] {
        assert_eq!(call(rfutex_waitv { nr, ..right }), EINVAL, "{nr}");
    }
    for bit in 0..32 {
        let flags = 1 << bit;
        assert_eq!(
            call(rfutex_waitv { flags, ..right }),
            EINVAL,
            "flags {flags:#x}"
        );
    }
    for clock in [4, 5, 64, u32::MAX] {
        assert_eq!(
            call(rfutex_waitv { clock, ..right }),
            EINVAL,
            "clock {clock}"
        );
    }
    for deadline in [-1, i64::MIN] {
        assert_eq!(call(rfutex_waitv { deadline, ..right }), EINVAL);
    }
    let none = rfutex_waitv {
        deadline: 1,
        clock: RFUTEX_CLOCK_NONE,
        ..right
    };
    assert_eq!(call(none), EINVAL);
    // A field is looked at before the array.
    let nowhere = rfutex_waitv {
        entries: 0,
        ..right
    };
    assert_eq!(
        call(rfutex_waitv {
            flags: 1,
            ..nowhere
        }),
        EINVAL
    );
    assert_eq!(call(rfutex_waitv { nr: 0, ..nowhere }), EINVAL);
    assert_eq!(
        call(rfutex_waitv {
            clock: 9,
            ..nowhere
        }),
        EINVAL
    );
    assert_eq!(call(nowhere), EFAULT);
}

/// An array may be anywhere, and change when the call has begun.
fn aligned_or_not() {
    let map = Mapping::shared(PAGE);
    let array = Mapping::private(PAGE);
    for offset in [1, 4, 7] {
        let entries = right(&map, 2);
        for (at, entry) in entries.iter().enumerate() {
            array.write(offset + at * SIZE, bytes_of(entry));
        }
        assert_eq!(call(request(array.addr() + offset as u64, 2)), ETIMEDOUT);
    }
    let waiter = crate::harness::Task::spawn({
        let request = rfutex_waitv {
            clock: RFUTEX_CLOCK_NONE,
            ..request(array.addr() + 7, 2)
        };
        move || call(request)
    });
    let words = words(map.addr(), 2);
    until("it waits", || nr_waiters(words[1]) == 1);
    array.write(0, &[0xff; 128]);
    assert_eq!(fx().wake_one(words[0]), Ok(1));
    assert_eq!(waiter.join(), 0);
}
