// SPDX-License-Identifier: GPL-2.0
//! The operations on /dev/rfutex, below any net.

use crate::harness::{command::call_addr, fx};
use crate::oracle::call::{At, Call, Deadline, Op, Wait};
use crate::oracle::script::Size;
use rfutex::raw::{self, uapi};
use std::os::fd::AsFd;
use std::ptr;

const OPS: [u32; 5] = [
    uapi::RFUTEX_OP_SET,
    uapi::RFUTEX_OP_ADD,
    uapi::RFUTEX_OP_OR,
    uapi::RFUTEX_OP_ANDN,
    uapi::RFUTEX_OP_XOR,
];

/// In the order of futex(2)'s numbers.
const COMPARISONS: [u32; 6] = [
    uapi::RFUTEX_CMP_EQ,
    uapi::RFUTEX_CMP_NE,
    uapi::RFUTEX_CMP_LT,
    uapi::RFUTEX_CMP_LE,
    uapi::RFUTEX_CMP_GT,
    uapi::RFUTEX_CMP_GE,
];

/// What rfutex has not.
const UNKNOWN: u32 = 77;

/// Calls a command that reads a struct, but writes none.
fn command<T>(request: u32, argument: &T) -> i64 {
    let addr = ptr::from_ref(argument).expose_provenance() as u64;
    // SAFETY: The commands used here have no output; a target is one of the words of the stage.
    result(unsafe { raw::ioctl(fx().as_fd(), request, addr) })
}

fn result(result: Result<u32, rfutex::Error>) -> i64 {
    result.map_or_else(|error| -i64::from(error.errno()), i64::from)
}

fn word(at: At, size: Size) -> uapi::rfutex_word {
    uapi::rfutex_word {
        addr: at.addr,
        size: size.bytes(),
        flags: if at.private {
            uapi::RFUTEX_WORD_PRIVATE
        } else {
            0
        },
    }
}

fn clock(deadline: Option<Deadline>) -> (u32, i64) {
    let Some(deadline) = deadline else {
        return (uapi::RFUTEX_CLOCK_NONE, 0);
    };
    let clock = match deadline.clock {
        libc::CLOCK_MONOTONIC => uapi::RFUTEX_CLOCK_MONOTONIC,
        libc::CLOCK_REALTIME => uapi::RFUTEX_CLOCK_REALTIME,
        libc::CLOCK_BOOTTIME => uapi::RFUTEX_CLOCK_BOOTTIME,
        _ => UNKNOWN,
    };
    (clock, deadline.ns)
}

/// Every bit of futex(2) is every bit here.
fn mask(mask: u64) -> u64 {
    if mask == u32::MAX.into() {
        uapi::RFUTEX_MASK_ANY
    } else {
        mask
    }
}

fn wait(wait: &Wait, size: Size) -> uapi::rfutex_wait {
    let (clock, deadline) = clock(wait.deadline);
    uapi::rfutex_wait {
        word: word(wait.at, size),
        val: size.widen(wait.val),
        mask: mask(wait.mask),
        deadline,
        clock,
        pad: 0,
    }
}

/// Carries out an operation.
pub fn call(call: &Call, size: Size) -> i64 {
    match call {
        Call::Wait { wait, .. } => command(uapi::RFUTEX_WAIT, &self::wait(wait, size)),
        Call::Wake { at, nr, mask, .. } => command(
            uapi::RFUTEX_WAKE,
            &uapi::rfutex_wake {
                word: word(*at, size),
                mask: self::mask(*mask),
                nr: *nr,
                pad: 0,
            },
        ),
        Call::Short { at, all } => {
            let request = match (all, at.private) {
                (false, false) => uapi::RFUTEX_WAKE_ONE,
                (true, false) => uapi::RFUTEX_WAKE_ALL,
                (false, true) => uapi::RFUTEX_WAKE_ONE_PRIVATE,
                (true, true) => uapi::RFUTEX_WAKE_ALL_PRIVATE,
            };
            result(call_addr(fx(), request, at.addr))
        }
        Call::Requeue {
            from,
            to,
            val,
            nr_wake,
            nr_move,
            ..
        } => command(
            uapi::RFUTEX_REQUEUE,
            &uapi::rfutex_requeue {
                from: word(*from, size),
                to: word(*to, size),
                val: val.map_or(0, |val| size.widen(val)),
                nr_wake: *nr_wake,
                nr_move: *nr_move,
                flags: val.map_or(0, |_| uapi::RFUTEX_REQUEUE_CMP),
                pad: 0,
            },
        ),
        Call::WakeOp {
            word: at,
            target,
            nr,
            nr_target,
            op,
        } => wake_op(
            word(*at, size),
            word(*target, size),
            *nr,
            *nr_target,
            *op,
            size,
        ),
        Call::Waitv { entries, deadline } => waitv(entries, *deadline, size),
        Call::Swap { wait, wake } => command(
            uapi::RFUTEX_SWAP,
            &uapi::rfutex_swap {
                wait: self::wait(wait, size),
                wake: word(*wake, size),
            },
        ),
        _ => unreachable!("no operation of rfutex"),
    }
}

fn wake_op(
    word: uapi::rfutex_word,
    target: uapi::rfutex_word,
    nr: u32,
    nr_target: u32,
    op: Op,
    size: Size,
) -> i64 {
    let operand = if op.shift {
        1 << (op.operand & 31)
    } else {
        i32::from(op.operand) as u32
    };
    command(
        uapi::RFUTEX_WAKE_OP,
        &uapi::rfutex_wake_op {
            word,
            target,
            operand: size.widen(operand),
            comparand: size.widen(i32::from(op.comparand) as u32),
            nr,
            nr_target,
            op: *OPS.get(usize::from(op.op)).unwrap_or(&UNKNOWN),
            cmp: *COMPARISONS.get(usize::from(op.cmp)).unwrap_or(&UNKNOWN),
        },
    )
}

fn waitv(entries: &[(At, u32)], deadline: Option<Deadline>, size: Size) -> i64 {
    let entries: Vec<_> = entries
        .iter()
        .map(|(at, val)| uapi::rfutex_waitv_entry {
            word: word(*at, size),
            val: size.widen(*val),
            mask: uapi::RFUTEX_MASK_ANY,
        })
        .collect();
    let (clock, deadline) = clock(deadline);
    command(
        uapi::RFUTEX_WAITV,
        &uapi::rfutex_waitv {
            entries: entries.as_ptr().expose_provenance() as u64,
            nr: entries.len() as u32,
            entry_size: size_of::<uapi::rfutex_waitv_entry>() as u32,
            deadline,
            clock,
            pad: 0,
        },
    )
}
