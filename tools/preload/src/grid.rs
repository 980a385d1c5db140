// SPDX-License-Identifier: GPL-2.0
//! Calls of futex with every kind of argument, good and bad, none of which can
//! sleep: a wait either finds another value or has a deadline in the past.
//!
//! The tests of this library compare what it makes of them with what the
//! kernel says; `rfutex-preload-check` compares the results of both.

use crate::kernel::{Args, Futex, SYS_FUTEX_REQUEUE, SYS_FUTEX_WAIT, SYS_FUTEX_WAKE};
use libc::{c_int, c_long, timespec};

/// What all words hold.
pub(crate) const VALUE: u32 = 7;

/// The number of words.
const WORDS: usize = 4;

/// The size of a page, in bytes.
const PAGE: usize = 4096;

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) number: c_long,
    pub(crate) args: Args,
}

/// The memory that the calls are about. It is never unmapped.
pub(crate) struct Memory {
    words: *mut u32,
    /// A page that can only be read, and has never been written.
    read_only: u64,
    /// Where no memory is, behind a page that is.
    hole: u64,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let map = |len, protection| {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: New memory.
            let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
            assert_ne!(at, libc::MAP_FAILED);
            at
        };
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        let pages = map(2 * PAGE, writable);
        let hole = pages.wrapping_byte_add(PAGE);
        // SAFETY: This page was just mapped, and nothing is on it.
        assert_eq!(unsafe { libc::mprotect(hole, PAGE, libc::PROT_NONE) }, 0);
        let memory = Self {
            words: map(PAGE, writable).cast(),
            read_only: map(PAGE, libc::PROT_READ) as u64,
            hole: hole as u64,
        };
        memory.reset();
        memory
    }

    /// Gives all words their value.
    pub(crate) fn reset(&self) {
        for index in 0..WORDS {
            // SAFETY: The words are ours, and no thread's but this one's.
            unsafe { self.words.add(index).write_volatile(VALUE) };
        }
    }

    /// What the words hold.
    pub(crate) fn values(&self) -> [u32; WORDS] {
        // SAFETY: As above.
        std::array::from_fn(|index| unsafe { self.words.add(index).read_volatile() })
    }

    /// The address of a word.
    pub(crate) fn word(&self, index: usize) -> u64 {
        assert!(index < WORDS);
        self.words.wrapping_add(index) as u64
    }

    /// Addresses of words, good and bad.
    fn addresses(&self) -> Vec<(&'static str, u64)> {
        let word = self.word(0);
        vec![
            ("word", word),
            ("word+1", word + 1),
            ("word+2", word + 2),
            ("null", 0),
            ("one", 1),
            ("hole", self.hole),
            ("read-only", self.read_only),
            ("last", 0x7fff_ffff_effc),
            ("past-last", 0x7fff_ffff_f000),
            ("non-canonical", 1 << 60),
            ("kernel", 0xffff_8000_0000_0000),
            ("top", u64::MAX - 3),
        ]
    }

    /// Puts `value` somewhere and returns the address; it is never freed.
    fn put<T>(value: T) -> u64 {
        Box::leak(Box::new(value)) as *mut T as u64
    }

    /// Addresses of deadlines that have passed, or are none.
    fn deadlines(&self) -> Vec<(&'static str, u64)> {
        let time = |tv_sec, tv_nsec| Self::put(timespec { tv_sec, tv_nsec });
        let bytes = [0_u8; 24];
        vec![
            ("now", time(0, 0)),
            ("early", time(0, 1)),
            ("odd", Self::put(bytes) + 1),
            ("second", time(0, 1_000_000_000)),
            ("nanosecond", time(0, -1)),
            ("before", time(-1, 0)),
            ("before-all", time(i64::MIN, 0)),
            ("far-and-wrong", time(i64::MAX, i64::MAX)),
            ("unreadable", self.hole),
            ("half", self.hole - 8),
            ("one", 1),
            ("kernel", 0xffff_8000_0000_0000),
            ("top", u64::MAX - 7),
        ]
    }

    /// Deadlines for a wait that does not sleep anyway.
    fn late(&self) -> Vec<(&'static str, u64)> {
        let time = |tv_sec, tv_nsec| Self::put(timespec { tv_sec, tv_nsec });
        let mut late = self.deadlines();
        late.extend([
            ("never", 0),
            ("late", time(1 << 40, 999_999_999)),
            ("last", time(i64::MAX / 1_000_000_000, 0)),
            ("past-last", time(i64::MAX, 0)),
        ]);
        late
    }
}

/// All of them.
pub(crate) fn cases(memory: &Memory) -> Vec<Case> {
    let mut cases = Vec::new();
    futex(memory, &mut cases);
    wake_op(memory, &mut cases);
    futex2(memory, &mut cases);
    arrays(memory, &mut cases);
    cases
}

/// futex(2) without the operations that change a word.
fn futex(memory: &Memory, cases: &mut Vec<Case>) {
    let mut add = |name: String, args: Args| {
        cases.push(Case {
            name: format!("futex {name}"),
            number: libc::SYS_futex,
            args,
        });
    };
    const FLAGS: [c_int; 4] = [
        0,
        libc::FUTEX_PRIVATE_FLAG,
        libc::FUTEX_CLOCK_REALTIME,
        libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME,
    ];
    let word2 = memory.word(1) as c_long;
    for flags in FLAGS {
        for (where_, addr) in memory.addresses() {
            let addr = addr as c_long;
            for (op, what) in [
                (libc::FUTEX_WAIT, "wait"),
                (libc::FUTEX_WAIT_BITSET, "wait-bitset"),
            ] {
                for mask in [0, 1, -1] {
                    for (when, timeout) in memory.deadlines() {
                        let args = [
                            addr,
                            (op | flags).into(),
                            VALUE.into(),
                            timeout as c_long,
                            0,
                            mask,
                        ];
                        add(
                            format!("{what} flags {flags} {where_} {when} mask {mask}"),
                            args,
                        );
                    }
                    for (when, timeout) in memory.late() {
                        let args = [addr, (op | flags).into(), 8, timeout as c_long, 0, mask];
                        add(
                            format!("{what} flags {flags} {where_} {when} other mask {mask}"),
                            args,
                        );
                    }
                }
            }
            for op in [libc::FUTEX_WAKE, libc::FUTEX_WAKE_BITSET] {
                for nr in [0, 1, 2, -1, i32::MAX, i32::MIN] {
                    for mask in [0, 1, -1] {
                        let args = [addr, (op | flags).into(), nr.into(), 0, 0, mask];
                        add(
                            format!("wake {op} flags {flags} {where_} nr {nr} mask {mask}"),
                            args,
                        );
                    }
                }
            }
            for op in [libc::FUTEX_REQUEUE, libc::FUTEX_CMP_REQUEUE] {
                for (nr, nr2) in [(0, 0), (1, 1), (-1, 1), (1, -1), (i32::MAX, i32::MAX)] {
                    for val in [VALUE, 8] {
                        for (from, to) in [(addr, word2), (word2, addr), (addr, addr)] {
                            let args = [
                                from,
                                (op | flags).into(),
                                nr.into(),
                                nr2.into(),
                                to,
                                val.into(),
                            ];
                            add(
                                format!(
                                    "requeue {op} flags {flags} {where_} {from:#x} {to:#x} nr {nr} {nr2} val {val}"
                                ),
                                args,
                            );
                        }
                    }
                }
            }
            // FUTEX_FD, and what does not exist.
            for op in [2, 14, 15, 63, 127] {
                let args = [addr, (op | flags).into(), 1, 0, word2, 0];
                add(format!("op {op} flags {flags} {where_}"), args);
            }
        }
    }
}

/// `FUTEX_WAKE_OP`
fn wake_op(memory: &Memory, cases: &mut Vec<Case>) {
    let (word, word2) = (memory.word(0) as c_long, memory.word(1) as c_long);
    let mut add =
        |name: String, [addr, addr2]: [c_long; 2], flags: c_int, nrs: [i32; 2], packed: u32| {
            let op = libc::FUTEX_WAKE_OP | flags;
            cases.push(Case {
                name: format!("wake-op {name} flags {flags} nr {nrs:?} packed {packed:#x}"),
                number: libc::SYS_futex,
                args: [
                    addr,
                    op.into(),
                    nrs[0].into(),
                    nrs[1].into(),
                    addr2,
                    packed.into(),
                ],
            });
        };
    // Shift, operation, comparison, operand, comparand.
    for op in 0..16 {
        for cmp in 0..16 {
            for operand in [0, 1, 5, 31, 32, 0x7ff, 0x800, 0xfff] {
                let packed = op << 28 | cmp << 24 | operand << 12 | VALUE;
                add("word".to_owned(), [word, word2], 0, [1, 1], packed);
            }
        }
    }
    for flags in [0, libc::FUTEX_PRIVATE_FLAG, libc::FUTEX_CLOCK_REALTIME] {
        for (where_, addr) in memory.addresses() {
            for pair in [
                [addr as c_long, word2],
                [word2, addr as c_long],
                [addr as c_long; 2],
            ] {
                for nrs in [[1, 1], [0, 0], [-1, -1], [i32::MAX, i32::MIN]] {
                    // An addition, and a comparison that does not exist.
                    for packed in [1 << 28 | 1 << 12, 0xf << 24] {
                        add(where_.to_owned(), pair, flags, nrs, packed);
                    }
                }
            }
        }
    }
}

/// Flags of futex2: sizes, privacy, nodes, and bits without a meaning.
const FLAGS2: [u32; 12] = [
    0x02,
    0x82,
    0x00,
    0x01,
    0x03,
    0x80,
    0x81,
    0x83,
    0x10,
    0x12,
    0x102,
    0x8000_0002,
];

/// futex_wait(2) and futex_wake(2).
fn futex2(memory: &Memory, cases: &mut Vec<Case>) {
    const WIDE: c_long = 1 << 32;
    let mut add = |number, name: String, args: Args| cases.push(Case { name, number, args });
    for flags in FLAGS2 {
        for (where_, addr) in memory.addresses() {
            let addr = addr as c_long;
            for mask in [0, 1, u32::MAX.into(), WIDE, WIDE | 1, -1] {
                for nr in [0, 1, -1, i32::MAX] {
                    let name =
                        format!("futex_wake flags {flags:#x} {where_} mask {mask:#x} nr {nr}");
                    add(
                        SYS_FUTEX_WAKE,
                        name,
                        [addr, mask, nr.into(), flags.into(), 0, 0],
                    );
                }
                for (val, deadlines) in [
                    (VALUE.into(), memory.deadlines()),
                    (8, memory.late()),
                    (WIDE | 7, memory.late()),
                ] {
                    for (when, timeout) in deadlines {
                        for clock in [
                            libc::CLOCK_MONOTONIC,
                            libc::CLOCK_REALTIME,
                            libc::CLOCK_TAI,
                            -1,
                        ] {
                            let name = format!(
                                "futex_wait flags {flags:#x} {where_} mask {mask:#x} val {val:#x} {when} clock {clock}"
                            );
                            let args = [
                                addr,
                                val,
                                mask,
                                flags.into(),
                                timeout as c_long,
                                clock.into(),
                            ];
                            add(SYS_FUTEX_WAIT, name, args);
                        }
                    }
                }
            }
        }
    }
}

/// futex_waitv(2) and futex_requeue(2).
fn arrays(memory: &Memory, cases: &mut Vec<Case>) {
    let early = Memory::put(timespec {
        tv_sec: 0,
        tv_nsec: 1,
    }) as c_long;
    let mut add = |number, name: String, args: Args| cases.push(Case { name, number, args });
    let good = Futex {
        val: VALUE.into(),
        uaddr: memory.word(0),
        flags: 0x02,
        reserved: 0,
    };
    // The last element differs from the others.
    let mut odd = vec![("good".to_owned(), good)];
    for val in [8, 1 << 32] {
        odd.push((format!("val {val:#x}"), Futex { val, ..good }));
    }
    for (where_, uaddr) in memory.addresses() {
        for flags in [0x02, 0x82] {
            odd.push((
                format!("{where_} flags {flags:#x}"),
                Futex {
                    uaddr,
                    flags,
                    ..good
                },
            ));
        }
    }
    for flags in FLAGS2 {
        odd.push((format!("flags {flags:#x}"), Futex { flags, ..good }));
    }
    odd.push((
        "reserved".to_owned(),
        Futex {
            reserved: 1,
            ..good
        },
    ));
    for (name, last) in odd {
        for nr in [1, 2, 3, 128, 129] {
            let mut futexes = vec![good; nr];
            futexes[nr - 1] = last;
            let at = Vec::leak(futexes).as_ptr() as c_long;
            for (clock, flags) in [(1, 0), (0, 0), (11, 0), (1, 1)] {
                let args = [at, nr as c_long, flags, early, clock, 0];
                add(
                    libc::SYS_futex_waitv,
                    format!("futex_waitv last of {nr}: {name} clock {clock} flags {flags}"),
                    args,
                );
            }
        }
        for pair in [[good, last], [last, good], [last, last]] {
            let at = Memory::put(pair) as c_long;
            for (nr, nr2, flags) in [(0, 0, 0), (1, 1, 0), (-1, 0, 0), (0, -1, 0), (1, 1, 1)] {
                add(
                    SYS_FUTEX_REQUEUE,
                    format!("futex_requeue {name} of {pair:?} nr {nr} {nr2} flags {flags}"),
                    [at, flags, nr, nr2, 0, 0],
                );
            }
        }
    }
    let size = size_of::<Futex>() as u64;
    for (name, at) in [
        ("null", 0),
        ("one", 1),
        ("hole", memory.hole),
        ("half", memory.hole - size - size / 2),
        ("behind", memory.hole - size + 1),
        ("kernel", 0xffff_8000_0000_0000),
        ("top", u64::MAX - 7),
    ] {
        for nr in [0, 1, 2, 128, 129, -1, c_long::from(u32::MAX) + 1] {
            // What is readable there is zeros, and no futex.
            let name = format!("futex_waitv array {name} nr {nr}");
            add(
                libc::SYS_futex_waitv,
                name,
                [at as c_long, nr, 0, early, 1, 0],
            );
        }
        add(
            SYS_FUTEX_REQUEUE,
            format!("futex_requeue array {name}"),
            [at as c_long, 0, 1, 1, 0, 0],
        );
    }
    for (when, timeout) in memory.deadlines() {
        for clock in [0, 1, 11] {
            let at = Memory::put(good) as c_long;
            let name = format!("futex_waitv until {when} clock {clock}");
            add(
                libc::SYS_futex_waitv,
                name,
                [at, 1, 0, timeout as c_long, clock, 0],
            );
        }
    }
}
