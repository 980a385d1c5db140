// SPDX-License-Identifier: GPL-2.0
//! Every error of every command.
//!
//! Which error wins when there are several, as these tests have it:
//! 1. `ENOTTY`: the command is looked at first, before its argument.
//! 2. `EFAULT`: the struct cannot be read.
//! 3. `E2BIG`: what the module does not know of the struct is not zero.
//! 4. `EINVAL`: a field of the struct.
//! 5. `EFAULT`: the word has no key, or cannot be read.
//! 6. `EAGAIN`, then `ETIMEDOUT`: the word and the clock.

mod arguments;
mod commands;
mod futex;
mod memory;
mod multi;
pub mod random;
mod sizes;

use crate::harness::{command, errno, fx};
use libtest_mimic::Trial;
use rfutex::raw::{self, Struct, bytes_of, uapi::*};
use rfutex::{Error, Word};
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU32;

/// The tests of these modules.
pub fn trials() -> Vec<Trial> {
    [
        arguments::trials(),
        commands::trials(),
        futex::trials(),
        memory::trials(),
        multi::trials(),
        random::trials(),
        sizes::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The commands that take a struct with a word at its start.
const WORD_COMMANDS: [u32; 6] = [
    RFUTEX_WAIT,
    RFUTEX_WAKE,
    RFUTEX_KEY_INFO,
    RFUTEX_REQUEUE,
    RFUTEX_WAKE_OP,
    RFUTEX_SWAP,
];

/// The commands whose argument is an address: shared, then private.
const ADDR_COMMANDS: [u32; 4] = [
    RFUTEX_WAKE_ONE,
    RFUTEX_WAKE_ALL,
    RFUTEX_WAKE_ONE_PRIVATE,
    RFUTEX_WAKE_ALL_PRIVATE,
];

/// The 32-bit word at `addr`.
fn word_at(addr: u64) -> rfutex_word {
    rfutex_word {
        addr,
        size: 4,
        flags: 0,
    }
}

/// A wait that would be right, and times out at once if the word is 0.
fn wait_at(addr: u64) -> rfutex_wait {
    rfutex_wait {
        word: word_at(addr),
        val: 0,
        mask: RFUTEX_MASK_ANY,
        deadline: 0,
        clock: RFUTEX_CLOCK_MONOTONIC,
        ..Default::default()
    }
}

/// A wake of one that would be right.
fn wake_at(addr: u64) -> rfutex_wake {
    rfutex_wake {
        word: word_at(addr),
        mask: RFUTEX_MASK_ANY,
        nr: 1,
        pad: 0,
    }
}

/// A question for the key that would be right.
fn info_at(addr: u64) -> rfutex_key_info {
    rfutex_key_info {
        word: word_at(addr),
        ..Default::default()
    }
}

/// A word that is always right, where a command wants two.
static OTHER: AtomicU32 = AtomicU32::new(0);

fn other() -> rfutex_word {
    Word::new(&OTHER).into()
}

/// A requeue that would be right.
fn requeue_at(addr: u64) -> rfutex_requeue {
    rfutex_requeue {
        from: word_at(addr),
        to: other(),
        nr_wake: 1,
        nr_move: 1,
        ..Default::default()
    }
}

/// A change of the other word to what it is, with a wake, that would be right.
fn wake_op_at(addr: u64) -> rfutex_wake_op {
    rfutex_wake_op {
        word: word_at(addr),
        target: other(),
        nr: 1,
        nr_target: 1,
        op: RFUTEX_OP_OR,
        ..Default::default()
    }
}

/// A swap that would be right, and times out at once if the word is 0.
fn swap_at(addr: u64) -> rfutex_swap {
    wait_at(addr).swap(other())
}

/// An entry for a [`waitv_of`] that would be right.
fn entry_at(addr: u64) -> rfutex_waitv_entry {
    rfutex_waitv_entry {
        word: word_at(addr),
        val: 0,
        mask: RFUTEX_MASK_ANY,
        ..Default::default()
    }
}

/// A wait for these that times out at once if the words are right.
fn waitv_of(entries: &[rfutex_waitv_entry]) -> rfutex_waitv {
    rfutex_waitv {
        entries: entries.as_ptr().addr() as u64,
        nr: entries.len() as u32,
        entry_size: size_of::<rfutex_waitv_entry>() as u32,
        deadline: 0,
        clock: RFUTEX_CLOCK_MONOTONIC,
        flags: 0,
    }
}

fn call<T: Struct>(request: u32, mut arg: T) -> Result<u32, Error> {
    command::call(fx(), request, &mut arg)
}

/// Calls one of [`WORD_COMMANDS`] on `word`, all else being right. The errno.
fn call_on(request: u32, word: rfutex_word) -> i32 {
    errno(match request {
        RFUTEX_WAIT => call(request, rfutex_wait { word, ..wait_at(0) }),
        RFUTEX_WAKE => call(request, rfutex_wake { word, ..wake_at(0) }),
        RFUTEX_KEY_INFO => call(request, rfutex_key_info { word, ..info_at(0) }),
        RFUTEX_REQUEUE => call(
            request,
            rfutex_requeue {
                from: word,
                ..requeue_at(0)
            },
        ),
        RFUTEX_WAKE_OP => call(
            request,
            rfutex_wake_op {
                word,
                ..wake_op_at(0)
            },
        ),
        RFUTEX_SWAP => call(request, rfutex_swap { word, ..swap_at(0) }),
        _ => unreachable!("no command on a word"),
    })
}

/// What [`call_on`] gives on a word that is 0 and usable.
fn success(request: u32) -> i32 {
    if [RFUTEX_WAIT, RFUTEX_SWAP].contains(&request) {
        libc::ETIMEDOUT
    } else {
        0
    }
}
