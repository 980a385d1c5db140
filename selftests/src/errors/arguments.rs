// SPDX-License-Identifier: GPL-2.0
//! Fields that are wrong: `EINVAL`.

use super::*;
use crate::harness::{Mapping, PAGE};
use libc::{EAGAIN, EFAULT, EINVAL, ETIMEDOUT};

trials![
    flags,
    sizes,
    alignment,
    padding,
    values,
    masks,
    clocks,
    deadlines,
    before_memory,
    numbers_of_waiters,
];

fn flags() {
    let map = Mapping::private(PAGE);
    for request in WORD_COMMANDS {
        for bit in 0..32 {
            let flags = 1 << bit;
            let known = flags == RFUTEX_WORD_PRIVATE;
            let word = rfutex_word {
                flags,
                ..word_at(map.addr())
            };
            let expected = if known { success(request) } else { EINVAL };
            assert_eq!(call_on(request, word), expected, "{request:#x}, bit {bit}");
            let word = rfutex_word {
                flags: flags | RFUTEX_WORD_PRIVATE,
                ..word
            };
            assert_eq!(
                call_on(request, word),
                expected,
                "{request:#x}, bit {bit}, private"
            );
        }
    }
}

fn sizes() {
    let map = Mapping::private(PAGE);
    let sizes = (0..=130)
        .chain((8..32).map(|bit| 1 << bit))
        .chain((3..32).map(|bit| 1 << bit | 4))
        .chain([u32::MAX, i32::MAX as u32, u32::MAX - 3]);
    for size in sizes {
        for request in WORD_COMMANDS {
            for flags in [0, RFUTEX_WORD_PRIVATE] {
                let word = rfutex_word {
                    addr: map.addr(),
                    size,
                    flags,
                };
                let expected = match size {
                    1 | 2 | 4 | 8 => success(request),
                    _ => EINVAL,
                };
                assert_eq!(
                    call_on(request, word),
                    expected,
                    "{request:#x}, size {size}"
                );
            }
        }
    }
}

fn alignment() {
    let map = Mapping::private(PAGE);
    for size in [1, 2, 4, 8] {
        for offset in (0..16).chain(PAGE as u64 - 8..PAGE as u64) {
            for request in WORD_COMMANDS {
                for flags in [0, RFUTEX_WORD_PRIVATE] {
                    let word = rfutex_word {
                        addr: map.addr() + offset,
                        size,
                        flags,
                    };
                    let aligned = offset % u64::from(size) == 0;
                    let expected = if aligned { success(request) } else { EINVAL };
                    assert_eq!(
                        call_on(request, word),
                        expected,
                        "{request:#x}, {size} at {offset}"
                    );
                }
            }
        }
    }
    // Without a size every address is aligned.
    for request in ADDR_COMMANDS {
        for offset in 0..16 {
            assert_eq!(
                command::call_addr(fx(), request, map.addr() + offset),
                Ok(0)
            );
        }
    }
}

fn padding() {
    let map = Mapping::private(PAGE);
    let (wait, wake) = (wait_at(map.addr()), wake_at(map.addr()));
    for bit in 0..32 {
        let pad = 1 << bit;
        assert_eq!(
            errno(call(RFUTEX_WAKE, rfutex_wake { pad, ..wake })),
            EINVAL,
            "{bit}"
        );
        // What is reserved in a wait has no meaning either; nor has an owner without a kind, or a
        // kind without an owner.
        for reserved in [
            rfutex_wait { flags: pad, ..wait },
            rfutex_wait { cond: pad, ..wait },
            rfutex_wait { owner: pad, ..wait },
            rfutex_wait {
                owner_id: u64::from(pad) << 32,
                ..wait
            },
        ] {
            assert_eq!(errno(call(RFUTEX_WAIT, reserved)), EINVAL, "{bit}");
        }
    }
    // Of KEY_INFO it is output, whatever it was.
    let mut info = rfutex_key_info {
        pad: !0,
        ..info_at(map.addr())
    };
    assert_eq!(command::call(fx(), RFUTEX_KEY_INFO, &mut info), Ok(0));
    assert_eq!(info.pad, 0);
}

fn values() {
    let map = Mapping::private(PAGE);
    for size in [1, 2, 4, 8] {
        for bit in 0..64 {
            let word = rfutex_word {
                size,
                ..word_at(map.addr())
            };
            let wait = rfutex_wait {
                word,
                val: 1 << bit,
                ..wait_at(0)
            };
            let expected = if bit < 8 * size { EAGAIN } else { EINVAL };
            assert_eq!(
                errno(call(RFUTEX_WAIT, wait)),
                expected,
                "bit {bit} of {size} bytes"
            );
        }
        let word = rfutex_word {
            size,
            ..word_at(map.addr())
        };
        let wait = rfutex_wait {
            word,
            val: u64::MAX,
            ..wait_at(0)
        };
        let expected = if size == 8 { EAGAIN } else { EINVAL };
        assert_eq!(
            errno(call(RFUTEX_WAIT, wait)),
            expected,
            "all of {size} bytes"
        );
    }
}

fn masks() {
    let map = Mapping::private(PAGE);
    let (wait, wake) = (wait_at(map.addr()), wake_at(map.addr()));
    assert_eq!(
        errno(call(RFUTEX_WAIT, rfutex_wait { mask: 0, ..wait })),
        EINVAL
    );
    assert_eq!(
        errno(call(RFUTEX_WAKE, rfutex_wake { mask: 0, ..wake })),
        EINVAL
    );
    // Also where nobody would be woken, or the value is another.
    assert_eq!(
        errno(call(
            RFUTEX_WAKE,
            rfutex_wake {
                mask: 0,
                nr: 0,
                ..wake
            }
        )),
        EINVAL
    );
    assert_eq!(
        errno(call(
            RFUTEX_WAIT,
            rfutex_wait {
                mask: 0,
                val: 1,
                ..wait
            }
        )),
        EINVAL
    );
    for bit in 0..64 {
        let mask = 1 << bit;
        assert_eq!(
            errno(call(RFUTEX_WAIT, rfutex_wait { mask, ..wait })),
            ETIMEDOUT
        );
        assert_eq!(call(RFUTEX_WAKE, rfutex_wake { mask, ..wake }), Ok(0));
    }
}

fn clocks() {
    let map = Mapping::private(PAGE);
    let wait = rfutex_wait {
        val: 1,
        ..wait_at(map.addr())
    };
    let clocks = (0..64).chain((6..32).map(|bit| 1 << bit)).chain([u32::MAX]);
    for clock in clocks {
        let known = [
            RFUTEX_CLOCK_NONE,
            RFUTEX_CLOCK_MONOTONIC,
            RFUTEX_CLOCK_REALTIME,
            RFUTEX_CLOCK_BOOTTIME,
        ]
        .contains(&clock);
        let expected = if known { EAGAIN } else { EINVAL };
        assert_eq!(
            errno(call(RFUTEX_WAIT, rfutex_wait { clock, ..wait })),
            expected,
            "{clock}"
        );
    }
}

fn deadlines() {
    let map = Mapping::private(PAGE);
    let wait = rfutex_wait {
        val: 1,
        ..wait_at(map.addr())
    };
    for deadline in [-1, -1_000_000_000, i64::MIN, i64::MIN + 1] {
        for clock in RFUTEX_CLOCK_NONE..=RFUTEX_CLOCK_BOOTTIME {
            let wait = rfutex_wait {
                deadline,
                clock,
                ..wait
            };
            assert_eq!(
                errno(call(RFUTEX_WAIT, wait)),
                EINVAL,
                "{deadline} on {clock}"
            );
        }
    }
    for deadline in [1, 1_000_000_000, i64::MAX] {
        let none = rfutex_wait {
            deadline,
            clock: RFUTEX_CLOCK_NONE,
            ..wait
        };
        assert_eq!(
            errno(call(RFUTEX_WAIT, none)),
            EINVAL,
            "{deadline} on no clock"
        );
        for clock in RFUTEX_CLOCK_MONOTONIC..=RFUTEX_CLOCK_BOOTTIME {
            let wait = rfutex_wait {
                deadline,
                clock,
                ..wait
            };
            assert_eq!(
                errno(call(RFUTEX_WAIT, wait)),
                EAGAIN,
                "{deadline} on {clock}"
            );
        }
    }
}

/// A wrong field is told before memory is looked at.
fn before_memory() {
    let map = Mapping::private(PAGE);
    map.unmap_part(0, PAGE);
    for request in WORD_COMMANDS {
        let word = word_at(map.addr());
        assert_eq!(call_on(request, word), EFAULT);
        assert_eq!(
            call_on(
                request,
                rfutex_word {
                    addr: word.addr + 1,
                    ..word
                }
            ),
            EINVAL
        );
        assert_eq!(call_on(request, rfutex_word { size: 3, ..word }), EINVAL);
        assert_eq!(call_on(request, rfutex_word { flags: 2, ..word }), EINVAL);
    }
    let (wait, wake) = (wait_at(map.addr()), wake_at(map.addr()));
    assert_eq!(
        errno(call(RFUTEX_WAIT, rfutex_wait { mask: 0, ..wait })),
        EINVAL
    );
    assert_eq!(
        errno(call(
            RFUTEX_WAIT,
            rfutex_wait {
                val: 1 << 32,
                ..wait
            }
        )),
        EINVAL
    );
    assert_eq!(
        errno(call(RFUTEX_WAIT, rfutex_wait { clock: 9, ..wait })),
        EINVAL
    );
    assert_eq!(
        errno(call(RFUTEX_WAKE, rfutex_wake { mask: 0, ..wake })),
        EINVAL
    );
}

/// Every number is right; futex(2) had bugs with negative ones.
fn numbers_of_waiters() {
    let map = Mapping::private(PAGE);
    for nr in [
        0,
        1,
        i32::MAX as u32,
        i32::MAX as u32 + 1,
        u32::MAX - 1,
        u32::MAX,
    ] {
        for flags in [0, RFUTEX_WORD_PRIVATE] {
            let word = rfutex_word {
                flags,
                ..word_at(map.addr())
            };
            let wake = rfutex_wake {
                word,
                nr,
                ..wake_at(0)
            };
            assert_eq!(call(RFUTEX_WAKE, wake), Ok(0), "{nr}");
        }
    }
}
