// SPDX-License-Identifier: GPL-2.0
//! The operations on /dev/rfutex, below any net.

use super::armed::ABSURD;
use super::own;
use crate::harness::{command::call_addr, fx};
use crate::oracle::call::{At, Call, Deadline, Device, Means, Op, Wait};
use crate::oracle::owner::Named;
use crate::oracle::script::{Resolver, Size};
use rfutex::raw::{self, uapi};
use rfutex::{Rfutex, Table, WakeEntry, WatchId, WatchOptions, Watches, Word};
use std::ops::Deref;
use std::os::fd::AsFd;
use std::ptr;
use std::sync::{Arc, OnceLock};

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

/// An open file.
pub enum File {
    /// Of the device, opened once for each resolver.
    Shared(&'static Rfutex),
    /// Of the table of this process.
    Own(Arc<Table>),
}

impl Deref for File {
    type Target = Rfutex;

    fn deref(&self) -> &Rfutex {
        match self {
            Self::Shared(device) => device,
            Self::Own(table) => table,
        }
    }
}

/// The file on which calls are made.
pub fn file(device: Device) -> File {
    static BY_VMA: OnceLock<Rfutex> = OnceLock::new();
    match device {
        Device::Shared(Resolver::Page) => File::Shared(fx()),
        Device::Shared(Resolver::Vma) => File::Shared(BY_VMA.get_or_init(|| {
            let device = Rfutex::open().expect("/dev/rfutex opens");
            let resolver = device.set_resolver(rfutex::Resolver::Vma);
            resolver.expect("a resolver of every build");
            device
        })),
        Device::Own => File::Own(own::table()),
    }
}

/// Calls a command that reads a struct, but writes none.
fn command<T>(device: Device, request: u32, argument: &T) -> i64 {
    let addr = ptr::from_ref(argument).expose_provenance() as u64;
    // SAFETY: The commands used here have no output; a target is one of the words of the stage.
    result(unsafe { raw::ioctl(file(device).as_fd(), request, addr) })
}

fn result(result: Result<u32, rfutex::Error>) -> i64 {
    result.map_or_else(|error| -i64::from(error.errno()), i64::from)
}

fn word(at: At, size: Size) -> uapi::rfutex_word {
    named(at, size).into()
}

/// The same, for safe calls.
fn named(at: At, size: Size) -> Word<'static> {
    match at.offset {
        _ if at.private => Word::at(at.addr, size.bytes()).private(),
        Some(offset) => Word::in_arena(offset, size.bytes()),
        None => Word::at(at.addr, size.bytes()),
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

/// A wait as the device is told of it. It names no owner.
pub fn wait(wait: &Wait, size: Size) -> uapi::rfutex_wait {
    let (clock, deadline) = clock(wait.deadline);
    uapi::rfutex_wait {
        word: word(wait.at, size),
        val: size.widen(wait.val),
        mask: mask(wait.mask),
        deadline,
        clock,
        ..Default::default()
    }
}

/// The same wait, which also ends with an owner.
fn owned(wait: uapi::rfutex_wait, owner: Named) -> uapi::rfutex_wait {
    uapi::rfutex_wait {
        flags: owner.kind,
        owner: owner.number,
        owner_id: owner.id,
        ..wait
    }
}

/// Adds a watch.
///
/// # Errors
///
/// A negative errno.
pub fn watch(set: &Watches, wait: &Wait, size: Size) -> Result<WatchId, i64> {
    let options = WatchOptions::default().mask(mask(wait.mask));
    set.add(named(wait.at, size), size.widen(wait.val), 0, options)
        .map_err(|error| -i64::from(error.errno()))
}

/// How many wait on these words; or a negative errno, if one of them is none.
pub fn count(words: &[At], means: Means) -> i64 {
    let counts = words.iter().map(|at| {
        let info = file(means.device).key_info(named(*at, means.size));
        info.map(|info| info.nr_waiters)
    });
    result(counts.sum())
}

/// Carries out an operation.
pub fn call(call: &Call, means: Means) -> i64 {
    let Means {
        size,
        device,
        owner,
        ..
    } = means;
    match call {
        Call::Wait { wait, .. } => {
            let wait = owned(self::wait(wait, size), owner);
            command(device, uapi::RFUTEX_WAIT, &wait)
        }
        Call::Wake { at, nr, mask, .. } => command(
            device,
            uapi::RFUTEX_WAKE,
            &uapi::rfutex_wake {
                word: word(*at, size),
                mask: self::mask(*mask),
                nr: *nr,
                pad: 0,
            },
        ),
        Call::Short { at, all } => {
            let word = named(*at, size);
            let request = if *all {
                raw::wake_all(word)
            } else {
                raw::wake_one(word)
            };
            result(call_addr(&file(device), request, word.addr()))
        }
        Call::Wakev { entries } => wakev(entries, means),
        Call::Requeue {
            from,
            to,
            val,
            nr_wake,
            nr_move,
            ..
        } => command(
            device,
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
            device,
            uapi::RFUTEX_SWAP,
            &owned(self::wait(wait, size), owner).swap(word(*wake, size)),
        ),
        _ => unreachable!("no operation of rfutex"),
    }
}

fn wakev(entries: &[(At, u64, u32)], Means { size, device, .. }: Means) -> i64 {
    let entries = entries
        .iter()
        .map(|(at, mask, nr)| WakeEntry::new(named(*at, size), *nr).mask(self::mask(*mask)));
    let entries: Vec<_> = entries.collect();
    let mut woken = vec![0; entries.len()];
    match file(device).wake_each(&entries, &mut woken) {
        Ok(sum) if sum != woken.iter().sum() => ABSURD,
        other => result(other),
    }
}

fn wake_op(
    [word, target]: [uapi::rfutex_word; 2],
    [nr, nr_target]: [u32; 2],
    op: Op,
    Means { size, device, .. }: Means,
) -> i64 {
    let operand = if op.shift {
        1 << (op.operand & 31)
    } else {
        i32::from(op.operand) as u32
    };
    command(
        device,
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
    Means {
        size,
        device,
        owner,
        ..
    }: Means,
) -> i64 {
    let entries: Vec<_> = entries
        .iter()
        .map(|(at, val)| uapi::rfutex_waitv_entry {
            word: word(*at, size),
            val: size.widen(*val),
            mask: uapi::RFUTEX_MASK_ANY,
            flags: owner.kind,
            owner: owner.number,
            owner_id: owner.id,
            ..Default::default()
        })
        .collect();
    let (clock, deadline) = clock(deadline);
    command(
        device,
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
