// SPDX-License-Identifier: GPL-2.0
//! What a command is given, and what it gives back.

use super::{Ring, addr_of, wait_on};
use crate::harness::{Mapping, PAGE, Waiter, fx, nr_waiters, until_queued};
use crate::memory::memfd;
use io_uring::{IoUring, opcode, squeue, types};
use libc::{EAGAIN, ECANCELED, EFAULT, EINVAL, EOPNOTSUPP};
use rfutex::raw::bytes_of;
use rfutex::raw::uapi::*;
use rfutex::{Rfutex, Table, TableOptions, WakeEntry, Word};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

trials![
    wait_and_wake,
    by_the_crate,
    other_value,
    on_a_table,
    bad_requests,
    unused_fields,
    second_half,
    wakes,
];

fn wait_and_wake() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    for word in [map.word(0), map.word(8).private()] {
        ring.wait(word, 1);
        assert_eq!(nr_waiters(word), 1);
        assert_eq!(ring.done(), []);
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(ring.next(), (1, 0));
        assert_eq!(nr_waiters(word), 0);
        for user_data in 0..100 {
            ring.wait(word, user_data);
        }
        assert_eq!(fx().wake_all(word), Ok(100));
        let mut done: Vec<_> = (0..100).map(|_| ring.next()).collect();
        done.sort_unstable();
        assert_eq!(done, (0..100).map(|nr| (nr, 0)).collect::<Vec<_>>());
    }
}

/// The entries that the crate makes.
fn by_the_crate() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let device = Rfutex::open().expect("the device");
    for word in [map.word(0), map.word(8).private()] {
        let on = rfutex::io_uring::Wait::new(word, 0, RFUTEX_MASK_ANY);
        for user_data in 1..5 {
            ring.submit(&rfutex::io_uring::wait(&device, &on).user_data(user_data));
        }
        ring.submit(&rfutex::io_uring::wake_one(&device, word).user_data(8));
        ring.submit(&rfutex::io_uring::cancel(&device, 3).user_data(9));
        ring.submit(&rfutex::io_uring::wake_all(&device, word).user_data(10));
        let mut done: Vec<_> = (0..7).map(|_| ring.next()).collect();
        done.sort_unstable();
        let expected = [
            (1, 0),
            (2, 0),
            (3, -ECANCELED),
            (4, 0),
            (8, 1),
            (9, 1),
            (10, 2),
        ];
        assert_eq!(done, expected);
    }
}

fn other_value() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let wait = rfutex_wait {
        val: 1,
        ..wait_on(map.word(0))
    };
    assert_eq!(ring.call(RFUTEX_WAIT, addr_of(&wait)), -EAGAIN);
    // A word that is not in memory is brought there.
    let file = memfd(PAGE);
    let map = Mapping::shared_file(&file, PAGE);
    ring.wait(map.word(0), 3);
    assert_eq!(nr_waiters(map.word(0)), 1);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(ring.next(), (3, 0));
}

/// Words in the arena of a table, which are found by their offsets.
fn on_a_table() {
    let options = TableOptions::new().arena(PAGE as u64);
    let table = Table::create(fx(), options).expect("a table");
    let mut ring = Ring::on(table);
    let word = Word::in_arena(64, 4);
    let waiters = |ring: &Ring<Table>| ring.device.key_info(word).expect("a key").nr_waiters;
    for op in [RFUTEX_WAKE_ONE_ARENA, RFUTEX_WAKE_ALL_ARENA] {
        ring.wait(word, 1);
        assert_eq!(waiters(&ring), 1);
        // The same offset is no address.
        assert_eq!(fx().wake_all(Word::at(64, 4).private()), Ok(0));
        let wake = ring.entry(op, 64, 2);
        ring.submit(&wake);
        let mut done = [ring.next(), ring.next()];
        done.sort_unstable();
        assert_eq!(done, [(1, 0), (2, 1)]);
    }
    for wake in [rfutex::io_uring::wake_one, rfutex::io_uring::wake_all] {
        ring.wait(word, 1);
        let wake = wake(&ring.device, word).user_data(2);
        ring.submit(&wake);
        let mut done = [ring.next(), ring.next()];
        done.sort_unstable();
        assert_eq!(done, [(1, 0), (2, 1)]);
    }
    assert_eq!(ring.call(RFUTEX_WAKE_ONE_ARENA, PAGE as u64), -EFAULT);
    // The table lives as long as the request, and what it is about.
    ring.wait(word, 3);
    let Ring { ring, device } = ring;
    drop(device);
    drop(ring);
}

fn bad_requests() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let good = wait_on(map.word(0));
    let deadline = rfutex_wait {
        clock: RFUTEX_CLOCK_MONOTONIC,
        deadline: 1,
        ..good
    };
    let mask = rfutex_wait { mask: 0, ..good };
    let flags = rfutex_wait { flags: 4, ..good };
    let owner = rfutex_wait {
        flags: RFUTEX_OWNER_PROCESS,
        owner: std::os::unix::process::parent_id(),
        ..good
    };
    for bad in [deadline, mask, flags, owner] {
        assert_eq!(ring.call(RFUTEX_WAIT, addr_of(&bad)), -EINVAL);
    }
    assert_eq!(ring.call(RFUTEX_WAIT, 8), -EFAULT);
    assert_eq!(ring.call(RFUTEX_WAKE_ONE, 8), -EFAULT);
    let short = rfutex::raw::with_size(RFUTEX_WAIT, 8);
    assert_eq!(ring.call(short, addr_of(&good)), -EINVAL);
    for op in [
        RFUTEX_QUERY,
        RFUTEX_WAITV,
        RFUTEX_SWAP,
        RFUTEX_WATCHES_CREATE,
        0,
        u32::MAX,
    ] {
        assert_eq!(ring.call(op, addr_of(&good)), -EOPNOTSUPP, "{op:#x}");
    }
    assert_eq!(nr_waiters(map.word(0)), 0);
    assert_eq!(bytes_of(&good).len(), 64);
}

/// The size of an SQE.
const SQE: usize = size_of::<squeue::Entry>();

/// The fields of an SQE that no command uses, by their places.
const UNUSED: [(&str, Range<usize>); 9] = [
    ("ioprio", 2..4),
    ("__pad1", 12..16),
    ("addr", 16..24),
    ("len", 24..28),
    ("uring_cmd_flags", 28..32),
    ("buf_index", 40..42),
    ("personality", 42..44),
    ("file_index", 44..48),
    ("pad", 56..64),
];

/// The entry with another byte at one place.
fn with_byte(entry: &squeue::Entry, at: usize, byte: u8) -> squeue::Entry {
    // SAFETY: An entry is the kernel's struct of 64 bytes, all of which are integers.
    let mut bytes: [u8; SQE] = unsafe { std::mem::transmute(entry.clone()) };
    bytes[at] = byte;
    // SAFETY: As above.
    unsafe { std::mem::transmute(bytes) }
}

/// Whatever is not used is refused if it is not zero, in whichever way the command is issued.
fn unused_fields() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let word = map.word(0);
    let wait = wait_on(word);
    ring.wait(word, 1);
    for flags in [squeue::Flags::empty(), squeue::Flags::ASYNC] {
        let good = [
            ring.entry(RFUTEX_WAKE_ALL, word.addr(), 2).flags(flags),
            ring.entry(RFUTEX_WAIT, addr_of(&wait), 2).flags(flags),
        ];
        for (name, field) in UNUSED {
            for at in field {
                for byte in [1, 2, 0x40, 0x80] {
                    for entry in &good {
                        ring.submit(&with_byte(entry, at, byte));
                        assert_eq!(ring.next(), (2, -EINVAL), "{name}, byte {at}: {byte:#x}");
                    }
                }
            }
        }
    }
    // Nobody was queued, nobody was woken.
    assert_eq!(nr_waiters(word), 1);
    assert_eq!(ring.done(), []);
    assert_eq!(ring.call(RFUTEX_WAKE_ALL, word.addr()), 1);
    assert_eq!(ring.next(), (1, 0));
}

/// In a ring with SQEs of 128 bytes, the second half of each is a part of the command.
fn second_half() {
    let map = Mapping::shared(PAGE);
    let device = Rfutex::open().expect("the device");
    let mut ring = IoUring::<squeue::Entry128>::builder()
        .build(8)
        .expect("io_uring");
    let word = map.word(0);
    let wait = wait_on(word);
    let entry = |op, arg: u64, other: Option<usize>, flags| {
        let mut command = [0; 80];
        command[..8].copy_from_slice(&arg.to_ne_bytes());
        if let Some(at) = other {
            command[at] = 1;
        }
        opcode::UringCmd80::new(types::Fd(device.as_fd().as_raw_fd()), op)
            .cmd(command)
            .build()
            .user_data(op.into())
            .flags(flags)
    };
    let submit = |ring: &mut IoUring<squeue::Entry128>, entry: squeue::Entry128| {
        // SAFETY: What the entries refer to lives until the end of the test.
        unsafe { ring.submission().push(&entry) }.expect("there is room");
        ring.submit().expect("it is submitted");
    };
    let next = |ring: &mut IoUring<squeue::Entry128>| {
        ring.submit_and_wait(1).expect("a completion");
        let entry = ring.completion().next().expect("a completion");
        (entry.user_data() as u32, entry.result())
    };
    for flags in [squeue::Flags::empty(), squeue::Flags::ASYNC] {
        for at in 8..80 {
            for (op, arg) in [
                (RFUTEX_WAKE_ALL, word.addr()),
                (RFUTEX_WAIT, addr_of(&wait)),
            ] {
                submit(&mut ring, entry(op, arg, Some(at), flags));
                assert_eq!(next(&mut ring), (op, -EINVAL), "byte {at}");
            }
        }
        assert_eq!(nr_waiters(word), 0);
        submit(&mut ring, entry(RFUTEX_WAIT, addr_of(&wait), None, flags));
        until_queued(word, 1);
        submit(&mut ring, entry(RFUTEX_WAKE_ALL, word.addr(), None, flags));
        let mut done = [next(&mut ring), next(&mut ring)];
        done.sort_unstable();
        let mut expected = [(RFUTEX_WAIT, 0), (RFUTEX_WAKE_ALL, 1)];
        expected.sort_unstable();
        assert_eq!(done, expected);
    }
}

fn wakes() {
    let map = Mapping::shared(PAGE);
    let mut ring = Ring::new();
    let word = map.word(0);
    let threads = [(); 4].map(|()| Waiter::start(word, 0));
    assert_eq!(ring.call(RFUTEX_WAKE_ONE, word.addr()), 1);
    let wake = rfutex_wake {
        word: word.into(),
        mask: RFUTEX_MASK_ANY,
        nr: 2,
        pad: 0,
    };
    assert_eq!(ring.call(RFUTEX_WAKE, addr_of(&wake)), 2);
    let entries = [WakeEntry::new(word, 9), WakeEntry::new(map.word(64), 9)];
    let mut results = [7u32; 2];
    let wakev = rfutex_wakev {
        entries: addr_of(&entries),
        results: results.as_mut_ptr().expose_provenance() as u64,
        nr: 2,
        entry_size: size_of::<WakeEntry<'_>>() as u32,
        ..Default::default()
    };
    assert_eq!(ring.call(RFUTEX_WAKEV, addr_of(&wakev)), 1);
    assert_eq!(results, [1, 0]);
    threads.into_iter().for_each(Waiter::woken);
    assert_eq!(ring.call(RFUTEX_WAKE_ALL, word.addr()), 0);
}
