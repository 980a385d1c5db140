// SPDX-License-Identifier: GPL-2.0
//! Draws calls.

use super::calls::{Arg, Calls, SHARED, STEPS, Step, THREADS};
use crate::errors::random::{self, Places, number};
use crate::harness::PAGE;
use fastrand::Rng;
use rfutex::raw::{self, bytes_of, uapi::*};

/// The commands, those that make what others need more than once.
const COMMANDS: &[u32] = &[
    RFUTEX_QUERY,
    RFUTEX_WAKE,
    RFUTEX_KEY_INFO,
    RFUTEX_REQUEUE,
    RFUTEX_WAKE_OP,
    RFUTEX_WAIT,
    RFUTEX_WAIT,
    RFUTEX_SWAP,
    RFUTEX_WAITV,
    RFUTEX_WAKEV,
    RFUTEX_LIST,
    RFUTEX_TABLE_CREATE,
    RFUTEX_TABLE_CREATE,
    RFUTEX_OWNER_ID,
    RFUTEX_JOIN,
    RFUTEX_WATCHES_CREATE,
    RFUTEX_WATCHES_CREATE,
    RFUTEX_WATCH_ADD,
    RFUTEX_WATCH_ADD,
    RFUTEX_WATCH_REMOVE,
    RFUTEX_WAKE_ONE,
    RFUTEX_WAKE_ALL,
    RFUTEX_WAKE_ONE_PRIVATE,
    RFUTEX_WAKE_ALL_PRIVATE,
    RFUTEX_WAKE_ONE_ARENA,
    RFUTEX_WAKE_ALL_ARENA,
    RFUTEX_SET_RESOLVER,
];

/// Some calls.
pub fn calls(rng: &mut Rng) -> Calls {
    let places = Places::at(SHARED);
    let nr = rng.usize(1..=THREADS);
    let threads = (0..nr).map(|_| {
        let mut steps = Vec::new();
        for _ in 0..rng.usize(1..16) {
            step(&places, rng, &mut steps);
        }
        steps.truncate(STEPS);
        steps
    });
    Calls {
        threads: threads.collect(),
    }
}

/// A step, with what it needs before it.
fn step(places: &Places, rng: &mut Rng, steps: &mut Vec<Step>) {
    let file = rng.u8(..6);
    let step = match rng.u8(..16) {
        0 => Step::Read {
            file,
            len: rng.u16(..512),
        },
        1 => Step::Poll { file },
        2 => Step::Close { file },
        3 => Step::Map {
            file,
            pages: rng.u8(..3),
        },
        4 => {
            let mut bytes = vec![0; 1 << rng.u32(..4)];
            bytes.fill_with(|| rng.u8(..3));
            Step::Write {
                map: rng.u8(..2),
                at: rng.u16(..2 * PAGE as u16) & !7,
                bytes,
            }
        }
        _ => {
            let request = COMMANDS[rng.usize(..COMMANDS.len())];
            let arg = arg(places, rng, request, steps);
            Step::Ioctl { file, request, arg }
        }
    };
    steps.push(step);
}

/// An argument for a command.
fn arg(places: &Places, rng: &mut Rng, request: u32, steps: &mut Vec<Step>) -> Arg {
    if raw::size(request) == 0 {
        return Arg::Number(match request {
            RFUTEX_WAKE_ONE
            | RFUTEX_WAKE_ALL
            | RFUTEX_WAKE_ONE_PRIVATE
            | RFUTEX_WAKE_ALL_PRIVATE => places.addr(rng),
            RFUTEX_WAKE_ONE_ARENA | RFUTEX_WAKE_ALL_ARENA => rng.u64(..3) * 8,
            _ => rng.u64(..4),
        });
    }
    let mut bytes = match request {
        RFUTEX_TABLE_CREATE => bytes_of(&rfutex_table_create {
            flags: rng.u32(..2),
            resolver: rng.u32(..4),
            hold: rng.u32(..3),
            nr_buckets: rng.u32(..8),
            arena_size: [0, PAGE as u64, 2 * PAGE as u64, number(rng)][rng.usize(..4)],
            robust_size: [0, 0, 64, PAGE as u64, number(rng)][rng.usize(..5)],
        })
        .to_vec(),
        RFUTEX_WATCHES_CREATE => bytes_of(&rfutex_watches_create {
            // A read that waits is not interrupted where the file has no events.
            flags: 2 | rng.u32(..2),
            pad: 0,
        })
        .to_vec(),
        RFUTEX_WATCH_ADD => bytes_of(&rfutex_watch_add {
            word: word(places, rng),
            val: [0, 0, 0, number(rng)][rng.usize(..4)],
            mask: number(rng),
            cookie: rng.u64(..4),
            id: 0,
            flags: rng.u32(..2),
            cond: u32::from(rng.u8(..16) == 0),
        })
        .to_vec(),
        RFUTEX_WATCH_REMOVE => bytes_of(&rfutex_watch_remove {
            id: rng.u64(..6),
            flags: 0,
            pad: 0,
        })
        .to_vec(),
        RFUTEX_QUERY | RFUTEX_OWNER_ID => vec![0; raw::size(request)],
        RFUTEX_WAKEV => {
            return Arg::Struct {
                at: 0,
                bytes: wakev(places, rng, steps),
            };
        }
        _ => random::bytes(places, rng, request & 0xff),
    };
    if request == RFUTEX_WAITV {
        // The entries, which were drawn into the memory.
        let entries = places.maps[1].read(0, 4 * size_of::<rfutex_waitv_entry>());
        steps.push(Step::Write {
            map: 1,
            at: 0,
            bytes: entries,
        });
    } else if rng.bool() && has_word(request) {
        let word = word(places, rng);
        bytes[..8].copy_from_slice(&word.addr.to_ne_bytes());
        bytes[8..12].copy_from_slice(&word.size.to_ne_bytes());
        bytes[12..16].copy_from_slice(&word.flags.to_ne_bytes());
    }
    Arg::Struct {
        at: if rng.u8(..8) == 0 {
            2 * PAGE as u16 - rng.u16(..96)
        } else {
            0
        },
        bytes,
    }
}

/// Whether the struct of a command begins with a word.
fn has_word(request: u32) -> bool {
    matches!(
        request,
        RFUTEX_WAKE | RFUTEX_KEY_INFO | RFUTEX_REQUEUE | RFUTEX_WAKE_OP | RFUTEX_WAIT | RFUTEX_SWAP
    )
}

/// A word that can be right, on one of a few places: in the arena, if the table has one, or in
/// memory.
fn word(places: &Places, rng: &mut Rng) -> rfutex_word {
    let size = 1 << rng.u32(..4);
    let offset = 8 * rng.u64(..3);
    if rng.bool() {
        return rfutex_word {
            addr: offset,
            size,
            flags: RFUTEX_WORD_ARENA,
        };
    }
    rfutex_word {
        addr: places.maps[rng.usize(..3)].addr() + offset,
        size,
        flags: rng.u32(..2),
    }
}

/// Wakes of several words.
fn wakev(places: &Places, rng: &mut Rng, steps: &mut Vec<Step>) -> Vec<u8> {
    let nr = rng.u32(..6);
    let entries = (0..nr).flat_map(|_| {
        let entry = rfutex_wakev_entry {
            word: word(places, rng),
            mask: number(rng),
            nr: rng.u32(..4),
            flags: 0,
        };
        bytes_of(&entry).to_vec()
    });
    let bytes = entries.collect();
    steps.push(Step::Write {
        map: 1,
        at: 1024,
        bytes,
    });
    let array = places.maps[1].addr();
    bytes_of(&rfutex_wakev {
        entries: array + 1024,
        results: [0, array + 2048, places.addr(rng)][rng.usize(..3)],
        nr,
        entry_size: [32, 32, 32, 24, 40][rng.usize(..5)],
        flags: u32::from(rng.u8(..16) == 0),
        pad: 0,
    })
    .to_vec()
}
