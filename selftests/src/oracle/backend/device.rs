// SPDX-License-Identifier: GPL-2.0
//! The operations on /dev/rfutex, below any net.

use crate::harness::{command::call_addr, fx};
use crate::oracle::call::{At, Call, Deadline, Means, Op, Wait};
use crate::oracle::script::{Resolver, Size};
use rfutex::raw::{self, uapi};
use rfutex::{Rfutex, Word};
use std::os::fd::AsFd;
use std::ptr;
use std::sync::OnceLock;

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

/// The device, opened once for each resolver.
fn device(resolver: Resolver) -> &'static Rfutex {
    static BY_VMA: OnceLock<Rfutex> = OnceLock::new();
    match resolver {
        Resolver::Page => fx(),
        Resolver::Vma => BY_VMA.get_or_init(|| {
            let device = Rfutex::open().expect("/dev/rfutex opens");
            let resolver = device.set_resolver(rfutex::Resolver::Vma);
            resolver.expect("a resolver of every build");
            device
        }),
    }
}

/// Calls a command that reads a struct, but writes none.
fn command<T>(resolver: Resolver, request: u32, argument: &T) -> i64 {
    let addr = ptr::from_ref(argument).expose_provenance() as u64;
    // SAFETY: The commands used here have no output; a target is one of the words of the stage.
    result(unsafe { raw::ioctl(device(resolver).as_fd(), request, addr) })
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
        flags: 0,
        cond: 0,
        pad: 0,
    }
}

/// How many wait on these words; or a negative errno, if one of them is none.
pub fn count(words: &[At], means: Means) -> i64 {
    let counts = words.iter().map(|at| {
        let word = Word::at(at.addr, means.size.bytes());
        let word = if at.private { word.private() } else { word };
        let info = device(means.resolver).key_info(word);
        info.map(|info| info.nr_waiters)
    });
    result(counts.sum())
}

/// Carries out an operation.
pub fn call(call: &Call, means: Means) -> i64 {
    let Means { size, resolver, .. } = means;
    match call {
        Call::Wait { wait, .. } => command(resolver, uapi::RFUTEX_WAIT, &self::wait(wait, size)),
        Call::Wake { at, nr, mask, .. } => command(
            resolver,
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
            result(call_addr(device(resolver), request, at.addr))
        }
        Call::Requeue {
            from,
            to,
            val,
            nr_wake,
            nr_move,
            ..
        } => command(
            resolver,
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
        } => {
            let words = [*at, *target].map(|at| word(at, size));
            wake_op(words, [*nr, *nr_target], *op, means)
        }
        Call::Waitv { entries, deadline } => waitv(entries, *deadline, means),
        Call::Swap { wait, wake } => command(
            resolver,
            uapi::RFUTEX_SWAP,
            &self::wait(wait, size).swap(word(*wake, size)),
        ),
        _ => unreachable!("no operation of rfutex"),
    }
}

fn wake_op(
    [word, target]: [uapi::rfutex_word; 2],
    [nr, nr_target]: [u32; 2],
    op: Op,
    Means { size, resolver, .. }: Means,
) -> i64 {
    let operand = if op.shift {
        1 << (op.operand & 31)
    } else {
        i32::from(op.operand) as u32
    };
    command(
        resolver,
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

fn waitv(
    entries: &[(At, u32)],
    deadline: Option<Deadline>,
    Means { size, resolver, .. }: Means,
) -> i64 {
    let entries: Vec<_> = entries
        .iter()
        .map(|(at, val)| uapi::rfutex_waitv_entry {
            word: word(*at, size),
            val: size.widen(*val),
            mask: uapi::RFUTEX_MASK_ANY,
            flags: 0,
            cond: 0,
        })
        .collect();
    let (clock, deadline) = clock(deadline);
    command(
        resolver,
        uapi::RFUTEX_WAITV,
        &uapi::rfutex_waitv {
            entries: entries.as_ptr().expose_provenance() as u64,
            nr: entries.len() as u32,
            entry_size: size_of::<uapi::rfutex_waitv_entry>() as u32,
            deadline,
            clock,
            flags: 0,
        },
    )
}
