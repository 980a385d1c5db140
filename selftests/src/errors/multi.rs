// SPDX-License-Identifier: GPL-2.0
//! Commands about two words: the second one, and their other fields.

use super::*;
use crate::harness::{Mapping, PAGE, Waiter, can_update, futex, nr_waiters};
use libc::{EAGAIN, EFAULT, EINVAL, ETIMEDOUT};
use nix::sys::mman::{MapFlags, ProtFlags};

trials![
    second_word,
    second_word_nowhere,
    read_only,
    requeue_fields,
    wake_op_fields,
    swap_fields,
    before_memory,
    nothing_done,
    same_errors_as_futex,
];

/// The commands with a second word.
const TWO_WORDS: [u32; 3] = [RFUTEX_REQUEUE, RFUTEX_WAKE_OP, RFUTEX_SWAP];

/// Calls one of [`TWO_WORDS`] on the words `first` and `second`, all else being right. The errno.
fn call_on_both(request: u32, first: rfutex_word, second: rfutex_word) -> i32 {
    errno(match request {
        RFUTEX_REQUEUE => call(
            request,
            rfutex_requeue {
                from: first,
                to: second,
                ..requeue_at(0)
            },
        ),
        RFUTEX_WAKE_OP => call(
            request,
            rfutex_wake_op {
                word: first,
                target: second,
                ..wake_op_at(0)
            },
        ),
        RFUTEX_SWAP => call(
            request,
            rfutex_swap {
                word: first,
                wake: second,
                ..swap_at(0)
            },
        ),
        _ => unreachable!("no command on two words"),
    })
}

/// Whether the second word of this command may have this size, in bytes.
fn may_be_second(request: u32, size: u32) -> bool {
    request != RFUTEX_WAKE_OP || can_update(size)
}

/// The second word is wrong in a field.
fn second_word() {
    let map = Mapping::private(PAGE);
    let good = word_at(map.addr());
    for request in TWO_WORDS {
        let check = |word: rfutex_word, right| {
            let right = right && may_be_second(request, word.size);
            let expected = if right { success(request) } else { EINVAL };
            assert_eq!(
                call_on_both(request, good, word),
                expected,
                "{request:#x}, {word:?}"
            );
        };
        for bit in 0..32 {
            let flags = 1 << bit;
            check(rfutex_word { flags, ..good }, flags == RFUTEX_WORD_PRIVATE);
        }
        for size in (0..=66)
            .chain((7..32).map(|bit| 1 << bit))
            .chain([u32::MAX])
        {
            check(rfutex_word { size, ..good }, [1, 2, 4, 8].contains(&size));
        }
        for size in [1, 2, 4, 8] {
            for offset in (0..16).chain(PAGE as u64 - 8..PAGE as u64) {
                let word = rfutex_word {
                    addr: map.addr() + offset,
                    size,
                    flags: 0,
                };
                check(word, offset % u64::from(size) == 0);
            }
        }
    }
}

fn second_word_nowhere() {
    let map = Mapping::private(PAGE);
    let hole = Mapping::nothing(PAGE);
    let beyond = Mapping::beyond_user_space();
    // The user's, where nothing is; and those that are not the user's.
    let addrs = [
        (hole.addr(), true),
        (0, true),
        (8, true),
        (beyond - 8, true),
        (beyond, false),
        (u64::MAX - 7, false),
        (1 << 63, false),
        (0xffff_8880_0000_0000, false),
    ];
    for (addr, of_the_user) in addrs {
        for request in TWO_WORDS {
            let mut sizes = vec![1, 2, 4, 8];
            sizes.retain(|&size| may_be_second(request, size));
            for size in sizes {
                let word = rfutex_word {
                    addr,
                    size,
                    flags: 0,
                };
                let private = rfutex_word {
                    flags: RFUTEX_WORD_PRIVATE,
                    ..word
                };
                let good = word_at(map.addr());
                assert_eq!(call_on_both(request, good, word), EFAULT, "{request:#x}");
                // Private, it need not be there, unless it is written to.
                let expected = if of_the_user && request != RFUTEX_WAKE_OP {
                    success(request)
                } else {
                    EFAULT
                };
                assert_eq!(
                    call_on_both(request, good, private),
                    expected,
                    "{request:#x} at {addr:#x}"
                );
            }
        }
    }
}

/// Of a shared mapping that cannot be written, a word can be anything but a target.
fn read_only() {
    let map = Mapping::private(PAGE);
    let shared = Mapping::shared(PAGE);
    shared.protect(ProtFlags::PROT_READ);
    let anonymous = Mapping::anonymous(PAGE, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE);
    for request in TWO_WORDS {
        for (word, usable) in [
            (word_at(shared.addr()), request != RFUTEX_WAKE_OP),
            (word_at(anonymous.addr()), false),
        ] {
            let expected = if usable { success(request) } else { EFAULT };
            assert_eq!(
                call_on_both(request, word_at(map.addr()), word),
                expected,
                "{request:#x}"
            );
        }
    }
}

/// Values that fit a word of `size` bytes, and some that do not.
fn values(size: u32) -> impl Iterator<Item = (u64, bool)> {
    let bits = (0..64).map(move |bit| (1 << bit, bit < 8 * size));
    bits.chain([(0, true), (u64::MAX, size == 8)])
}

fn requeue_fields() {
    let map = Mapping::private(PAGE);
    let right = requeue_at(map.addr());
    for bit in 0..32 {
        let pad = 1 << bit;
        let result = call(RFUTEX_REQUEUE, rfutex_requeue { pad, ..right });
        assert_eq!(errno(result), EINVAL, "pad {pad:#x}");
        let flags = 1 << bit;
        let expected = if flags == RFUTEX_REQUEUE_CMP {
            0
        } else {
            EINVAL
        };
        for flags in [flags, flags | RFUTEX_REQUEUE_CMP] {
            let result = call(RFUTEX_REQUEUE, rfutex_requeue { flags, ..right });
            assert_eq!(errno(result), expected, "flags {flags:#x}");
        }
    }
    for size in [1, 2, 4, 8] {
        for (val, fits) in values(size) {
            let compare = rfutex_requeue {
                from: rfutex_word { size, ..right.from },
                val,
                flags: RFUTEX_REQUEUE_CMP,
                ..right
            };
            let expected = match (val, fits) {
                (0, _) => 0,
                (_, true) => EAGAIN,
                (_, false) => EINVAL,
            };
            assert_eq!(errno(call(RFUTEX_REQUEUE, compare)), expected, "{val:#x}");
            // Without the comparison, a value is a mistake.
            let plain = rfutex_requeue {
                flags: 0,
                ..compare
            };
            let expected = if val == 0 { 0 } else { EINVAL };
            assert_eq!(errno(call(RFUTEX_REQUEUE, plain)), expected, "{val:#x}");
        }
    }
}

fn wake_op_fields() {
    let map = Mapping::private(PAGE);
    let right = wake_op_at(map.addr());
    for number in (0..64).chain((6..32).map(|bit| 1 << bit)).chain([u32::MAX]) {
        let op = rfutex_wake_op {
            op: number,
            ..right
        };
        let expected = if number < 5 { 0 } else { EINVAL };
        assert_eq!(errno(call(RFUTEX_WAKE_OP, op)), expected, "op {number}");
        let cmp = rfutex_wake_op {
            cmp: number,
            ..right
        };
        let expected = if number < 6 { 0 } else { EINVAL };
        assert_eq!(errno(call(RFUTEX_WAKE_OP, cmp)), expected, "cmp {number}");
    }
    for size in [1, 2, 4, 8] {
        for (value, fits) in values(size) {
            let target = rfutex_word {
                size,
                ..word_at(map.addr() + 8)
            };
            let expected = if fits && can_update(size) { 0 } else { EINVAL };
            for request in [
                rfutex_wake_op {
                    target,
                    operand: value,
                    ..right
                },
                rfutex_wake_op {
                    target,
                    comparand: value,
                    ..right
                },
            ] {
                assert_eq!(errno(call(RFUTEX_WAKE_OP, request)), expected, "{value:#x}");
            }
        }
    }
}

/// All that a WAIT has, in its place here.
fn swap_fields() {
    let map = Mapping::private(PAGE);
    let check = |wait: rfutex_wait, expected| {
        let result = errno(call(RFUTEX_SWAP, wait.swap(other())));
        assert_eq!(result, expected, "{wait:?}");
        assert_eq!(errno(call(RFUTEX_WAIT, wait)), expected, "as RFUTEX_WAIT");
    };
    let wait = wait_at(map.addr());
    check(wait, ETIMEDOUT);
    check(rfutex_wait { val: 1, ..wait }, EAGAIN);
    check(
        rfutex_wait {
            val: 1 << 32,
            ..wait
        },
        EINVAL,
    );
    check(rfutex_wait { mask: 0, ..wait }, EINVAL);
    check(rfutex_wait { clock: 4, ..wait }, EINVAL);
    check(
        rfutex_wait {
            deadline: -1,
            ..wait
        },
        EINVAL,
    );
    let none = rfutex_wait {
        clock: RFUTEX_CLOCK_NONE,
        deadline: 1,
        ..wait
    };
    check(none, EINVAL);
    for bit in 0..32 {
        let value = 1 << bit;
        for wrong in [
            rfutex_wait {
                owner: value,
                ..wait
            },
            rfutex_wait {
                owner_id: value.into(),
                ..wait
            },
            rfutex_wait {
                flags: value,
                ..wait
            },
            rfutex_wait {
                cond: value,
                ..wait
            },
        ] {
            check(wrong, EINVAL);
        }
    }
}

/// A wrong field of either word is told before memory is looked at.
fn before_memory() {
    let hole = Mapping::nothing(PAGE);
    let nowhere = word_at(hole.addr());
    for request in TWO_WORDS {
        assert_eq!(call_on_both(request, nowhere, nowhere), EFAULT);
        for wrong in [
            rfutex_word { size: 3, ..nowhere },
            rfutex_word {
                flags: 4,
                ..nowhere
            },
            rfutex_word {
                addr: nowhere.addr + 1,
                ..nowhere
            },
        ] {
            assert_eq!(
                call_on_both(request, nowhere, wrong),
                EINVAL,
                "{request:#x}"
            );
            assert_eq!(
                call_on_both(request, wrong, nowhere),
                EINVAL,
                "{request:#x}"
            );
        }
    }
    let wake_op = rfutex_wake_op {
        target: nowhere,
        op: 5,
        ..wake_op_at(hole.addr())
    };
    assert_eq!(errno(call(RFUTEX_WAKE_OP, wake_op)), EINVAL);
    let requeue = rfutex_requeue {
        to: nowhere,
        pad: 1,
        ..requeue_at(hole.addr())
    };
    assert_eq!(errno(call(RFUTEX_REQUEUE, requeue)), EINVAL);
}

/// What fails because of one word has done nothing to the other.
fn nothing_done() {
    let map = Mapping::shared(PAGE);
    let hole = Mapping::nothing(PAGE);
    let word = map.word(0);
    let waiter = Waiter::start(word, 0);
    let (good, bad) = (word_at(map.addr()), word_at(hole.addr()));
    for request in TWO_WORDS {
        for (first, second) in [(good, bad), (bad, good)] {
            assert_eq!(call_on_both(request, first, second), EFAULT, "{request:#x}");
            assert_eq!(nr_waiters(word), 1, "{request:#x}");
        }
    }
    assert_eq!(map.read(0, 8), [0; 8]);
    assert_eq!(fx().wake_one(word), Ok(1));
    waiter.woken();
}

/// In each place, as either word. Ours takes two kinds of words in one call; futex(2) does not.
fn same_errors_as_futex() {
    let map = Mapping::shared(PAGE);
    let good = word_at(map.addr());
    for (name, place, _memory) in super::futex::places() {
        for offset in [0, 1, 4, 4092] {
            for flags in [0, RFUTEX_WORD_PRIVATE] {
                let private = flags != 0;
                let good = rfutex_word { flags, ..good };
                let word = rfutex_word {
                    flags,
                    ..word_at(place + offset)
                };
                for [first, second] in [[word, good], [good, word], [word, word]] {
                    let addrs = [first.addr, second.addr];
                    let what = format!("{name}, {addrs:x?}, private: {private}");
                    for val in [None, Some(0), Some(1)] {
                        let ours = call(
                            RFUTEX_REQUEUE,
                            rfutex_requeue {
                                from: first,
                                to: second,
                                val: val.unwrap_or(0).into(),
                                flags: val.map_or(0, |_| RFUTEX_REQUEUE_CMP),
                                ..requeue_at(0)
                            },
                        );
                        let theirs = futex::requeue(addrs, val, [1, 1], private);
                        let theirs = theirs.map_or_else(|error| error as i32, |_| 0);
                        assert_eq!(errno(ours), theirs, "requeue if {val:?}: {what}");
                    }
                    // What is changed becomes what it is.
                    let op = libc::FUTEX_OP(libc::FUTEX_OP_OR, 0, libc::FUTEX_OP_CMP_EQ, 0);
                    // SAFETY: No bit is changed.
                    let theirs = unsafe { futex::wake_op(addrs, op, [1, 1], private) };
                    let theirs = theirs.map_or_else(|error| error as i32, |_| 0);
                    let ours = call_on_both(RFUTEX_WAKE_OP, first, second);
                    assert_eq!(ours, theirs, "wake_op: {what}");

                    let entries = [first, second].map(|word| rfutex_waitv_entry {
                        word,
                        ..entry_at(0)
                    });
                    let ours = errno(call(RFUTEX_WAITV, waitv_of(&entries)));
                    let entries = addrs.map(|addr| futex::waitv_entry(addr, 0, private));
                    let past = libc::timespec {
                        tv_sec: 0,
                        tv_nsec: 0,
                    };
                    let theirs = futex::waitv(&entries, Some((past, libc::CLOCK_MONOTONIC)));
                    let theirs = theirs.map_or_else(|error| error as i32, |_| 0);
                    assert_eq!(ours, theirs, "waitv: {what}");
                }
            }
        }
    }
}
