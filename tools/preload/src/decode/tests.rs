// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::grid::{self, Case, Memory};
use crate::kernel::{self, Args};

fn decode(case: &Case, entries: &mut Entries) -> Option<Request> {
    // SAFETY: The memory of the cases stays.
    unsafe {
        match case.number {
            libc::SYS_futex => futex(&case.args),
            libc::SYS_futex_waitv => waitv(&case.args, entries),
            kernel::SYS_FUTEX_WAIT => wait(&case.args),
            kernel::SYS_FUTEX_WAKE => wake(&case.args),
            kernel::SYS_FUTEX_REQUEUE => requeue(&case.args),
            other => panic!("{other} is not futex"),
        }
    }
}

/// What is decoded is what the kernel accepts, and nothing else.
#[test]
fn what_the_kernel_refuses() {
    let memory = Memory::new();
    let mut entries: Entries = [MaybeUninit::uninit(); _];
    let (mut ours, mut theirs) = (0, 0);
    for case in grid::cases(&memory) {
        let request = decode(&case, &mut entries);
        // SAFETY: None of the cases touches memory but theirs.
        let result = unsafe { kernel::call(case.number, &case.args) };
        memory.reset();
        let error = kernel::error(result);
        if error == Some(libc::ENOSYS) && case.number != libc::SYS_futex {
            // Before 6.7 there is only futex(2).
            continue;
        }
        match &request {
            Some(request) => {
                ours += 1;
                assert!(
                    !matches!(error, Some(libc::EINVAL | libc::ENOSYS)),
                    "{}: {request:?}, and the kernel says {result}",
                    case.name
                );
            }
            None => {
                theirs += 1;
                assert!(
                    matches!(error, Some(libc::EINVAL | libc::ENOSYS | libc::EFAULT)),
                    "{}: not decoded, and the kernel says {result}",
                    case.name
                );
            }
        }
    }
    assert!(ours > 1000 && theirs > 1000, "{ours} and {theirs}");
}

fn call(args: Args) -> Option<Request> {
    // SAFETY: The tests give addresses of what is there.
    unsafe { futex(&args) }
}

/// Priority inheritance, robust unlock, nodes: not ours whatever else they say.
#[test]
fn what_rfutex_has_not() {
    let memory = Memory::new();
    let at = memory.word(0) as i64;
    for flags in [0, 128, 256, 384] {
        for op in [6, 7, 8, 11, 12, 13] {
            assert_eq!(call([at, op | flags, 1, 0, at, 0]), None, "operation {op}");
        }
        // FUTEX_ROBUST_UNLOCK, FUTEX_ROBUST_LIST32
        for robust in [512, 1024, 1536] {
            for op in 0..14 {
                assert_eq!(call([at, op | flags | robust, 1, 0, at, 0]), None);
            }
        }
    }
    // FUTEX2_NUMA, FUTEX2_MPOL
    for flags in [0x06, 0x0a, 0x0e, 0x86, 0x8a] {
        assert_eq!(wake(&[at, 1, 1, flags, 0, 0]), None);
        // SAFETY: There is no pointer but the word's.
        assert_eq!(unsafe { wait(&[at, 8, 1, flags, 0, 0]) }, None);
    }
}

fn wait_request(args: Args) -> uapi::rfutex_wait {
    match call(args) {
        Some(Request::Wait(wait)) => wait,
        other => panic!("{other:?}"),
    }
}

#[test]
fn waits() {
    let memory = Memory::new();
    let at = memory.word(1) as i64;
    let wait = wait_request([at, 128, -1, 0, 0, 0]);
    assert_eq!((wait.word.addr, wait.word.size), (at as u64, 4));
    assert_eq!(wait.word.flags, uapi::RFUTEX_WORD_PRIVATE);
    assert_eq!((wait.val, wait.mask), (u32::MAX.into(), u64::MAX));
    assert_eq!((wait.clock, wait.deadline), (uapi::RFUTEX_CLOCK_NONE, 0));
    // What is above 32 bits of a value is not looked at, nor is the mask.
    let wait = wait_request([at, 0, 5 << 32 | 3, 0, 0, 0x10]);
    assert_eq!((wait.word.flags, wait.val, wait.mask), (0, 3, u64::MAX));
    assert_eq!(wait_request([at, 9, 3, 0, 0, 0x8000_0000]).mask, 1 << 31);
    assert_eq!(wait_request([at, 9, 3, 0, 0, 0xffff_ffff]).mask, u64::MAX);
}

#[test]
fn deadlines() {
    let memory = Memory::new();
    let at = memory.word(0) as i64;
    let until = |op, tv_sec, tv_nsec| {
        let time = timespec { tv_sec, tv_nsec };
        let wait = wait_request([at, op, 3, (&raw const time) as i64, 0, -1]);
        (wait.clock, wait.deadline)
    };
    let (wait, bitset, realtime) = (0, 9, 9 | 256);
    assert_eq!(
        until(bitset, 5, 6),
        (uapi::RFUTEX_CLOCK_MONOTONIC, 5_000_000_006)
    );
    assert_eq!(
        until(realtime, 5, 6),
        (uapi::RFUTEX_CLOCK_REALTIME, 5_000_000_006)
    );
    assert_eq!(until(bitset, 0, 0), (uapi::RFUTEX_CLOCK_MONOTONIC, 0));
    let before = now().unwrap();
    let (clock, deadline) = until(wait, 1, 1);
    let after = now().unwrap();
    assert_eq!(clock, uapi::RFUTEX_CLOCK_MONOTONIC);
    assert!((before + 1_000_000_001..=after + 1_000_000_001).contains(&deadline));
    for op in [wait, bitset, realtime] {
        for far in [i64::MAX / 1_000_000_000, i64::MAX] {
            assert_eq!(until(op, far, 999_999_999).1, i64::MAX);
        }
    }
    assert_eq!(until(wait, i64::MAX / 1_000_000_000 - 1, 0).1, i64::MAX);
}

#[test]
fn wakes() {
    let memory = Memory::new();
    let at = memory.word(0) as i64;
    let wake_at = |command| Some(Request::WakeAt(command, at as u64));
    for nr in [1, 0, -1, i32::MIN.into()] {
        assert_eq!(call([at, 1, nr, 0, 0, 0]), wake_at(uapi::RFUTEX_WAKE_ONE));
        assert_eq!(
            call([at, 129, nr, 0, 0, 0]),
            wake_at(uapi::RFUTEX_WAKE_ONE_PRIVATE)
        );
        assert_eq!(call([at, 10, nr, 0, 0, -1]), wake_at(uapi::RFUTEX_WAKE_ONE));
    }
    let all = i32::MAX.into();
    assert_eq!(call([at, 1, all, 0, 0, 0]), wake_at(uapi::RFUTEX_WAKE_ALL));
    assert_eq!(
        call([at, 129, all, 0, 0, 0]),
        wake_at(uapi::RFUTEX_WAKE_ALL_PRIVATE)
    );
    let numbers = |request| match request {
        Some(Request::Wake(wake)) => (wake.nr, wake.mask),
        other => panic!("{other:?}"),
    };
    assert_eq!(numbers(call([at, 1, 5, 0, 0, 0])), (5, u64::MAX));
    assert_eq!(numbers(call([at, 10, 0, 0, 0, 6])), (1, 6));
    // Only futex_wake(2) can wake nobody.
    assert_eq!(numbers(wake(&[at, 6, 0, 2, 0, 0])), (0, 6));
    assert_eq!(numbers(wake(&[at, 6, -1, 2, 0, 0])), (1, 6));
    assert_eq!(
        wake(&[at, 0xffff_ffff, 1, 0x82, 0, 0]),
        wake_at(uapi::RFUTEX_WAKE_ONE_PRIVATE)
    );
}

#[test]
fn requeues() {
    let memory = Memory::new();
    let (at, to) = (memory.word(0) as i64, memory.word(3) as i64);
    let fields = |request| match request {
        Some(Request::Requeue(r)) => (r.from.addr, r.to.addr, r.nr_wake, r.nr_move, r.val, r.flags),
        other => panic!("{other:?}"),
    };
    let (from, target) = (at as u64, to as u64);
    assert_eq!(
        fields(call([at, 3, 2, 5, to, 9])),
        (from, target, 2, 5, 0, 0)
    );
    let compare = uapi::RFUTEX_REQUEUE_CMP;
    assert_eq!(
        fields(call([at, 4, 0, 5, to, -2])),
        (from, target, 0, 5, 0xffff_fffe, compare)
    );
    let pair: [u64; 6] = [9, from, 0x82, 8, target, 0x82];
    // SAFETY: The array is there.
    let request = unsafe { requeue(&[pair.as_ptr() as i64, 0, 2, 5, 0, 0]) };
    assert_eq!(fields(request), (from, target, 2, 5, 9, compare));
}

#[test]
fn many_words() {
    let memory = Memory::new();
    let futexes: Vec<[u64; 3]> = (0..128)
        .map(|i| {
            [
                i,
                memory.word(i as usize % 4),
                if i % 2 == 0 { 2 } else { 0x82 },
            ]
        })
        .collect();
    let mut entries: Entries = [MaybeUninit::uninit(); _];
    let at = futexes.as_ptr() as i64;
    // SAFETY: The array is there.
    let request = unsafe { waitv(&[at, 128, 0, 0, 99, 0], &mut entries) };
    let Some(Request::Waitv(header)) = request else {
        panic!("{request:?}");
    };
    assert_eq!(header.entries, entries.as_ptr() as u64);
    let size = size_of::<uapi::rfutex_waitv_entry>() as u32;
    assert_eq!((header.nr, header.entry_size), (128, size));
    assert_eq!(
        (header.clock, header.deadline),
        (uapi::RFUTEX_CLOCK_NONE, 0)
    );
    for (i, entry) in entries.iter().enumerate() {
        // SAFETY: All of them were written.
        let entry = unsafe { entry.assume_init_ref() };
        assert_eq!((entry.val, entry.mask), (i as u64, u64::MAX));
        assert_eq!(entry.word.addr, memory.word(i % 4));
        assert_eq!((entry.word.size, entry.word.flags), (4, i as u32 % 2));
    }
}

/// What the header says of `RFUTEX_WAKE_OP`, as far as the word is concerned.
fn applied(request: &uapi::rfutex_wake_op, old: u32) -> u32 {
    let operand = u32::try_from(request.operand).unwrap();
    match request.op {
        uapi::RFUTEX_OP_SET => operand,
        uapi::RFUTEX_OP_ADD => old.wrapping_add(operand),
        uapi::RFUTEX_OP_OR => old | operand,
        uapi::RFUTEX_OP_ANDN => old & !operand,
        uapi::RFUTEX_OP_XOR => old ^ operand,
        other => panic!("operation {other}"),
    }
}

/// The decoded operation does to the word what the kernel does.
#[test]
fn wake_ops() {
    let memory = Memory::new();
    let (at, target) = (memory.word(0) as i64, memory.word(1) as i64);
    for op in (0..5).chain(8..13) {
        for operand in [
            0, 1, 2, 15, 31, 32, 33, 63, 0x7fe, 0x7ff, 0x800, 0xffe, 0xfff,
        ] {
            let packed = op << 28 | operand << 12;
            let args = [at, 5, 1, 1, target, packed];
            let Some(Request::WakeOp(request)) = call(args) else {
                panic!("{packed:#x} is not decoded");
            };
            let expected = applied(&request, grid::VALUE);
            // SAFETY: Touches the memory's words.
            assert_eq!(unsafe { kernel::call(libc::SYS_futex, &args) }, 0);
            assert_eq!(memory.values()[1], expected, "{packed:#x}");
            memory.reset();
        }
    }
    for (comparand, expected) in [
        (0, 0),
        (0x7ff, 2047),
        (0x800, 0xffff_f800),
        (0xfff, 0xffff_ffff),
    ] {
        let Some(Request::WakeOp(request)) = call([at, 5, 0, -3, target, 4 << 24 | comparand])
        else {
            panic!("{comparand:#x} is not decoded");
        };
        assert_eq!(
            (request.cmp, request.comparand),
            (uapi::RFUTEX_CMP_GT, expected)
        );
        assert_eq!((request.nr, request.nr_target), (1, 1));
    }
}
